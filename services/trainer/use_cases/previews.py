"""Preview requests as callers read, follow and end them, and what the clock does with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

from services.chassis.errors import NotFound, Unavailable
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.chassis.names import project_of
from services.chassis.signals import Signals, wait
from services.trainer.models import preview_moves
from services.trainer.models.epoch import EpochFile
from services.trainer.models.preview_request import ENDED, PreviewRequest
from services.trainer.ports import Artifacts, JobStore
from services.trainer.ports.previews import PREVIEW_REQUESTS, PreviewStore
from services.trainer.use_cases.tending import BATCH, Tending

LOOK_AGAIN_S = 1.0
"""A watch looks again after at most so long; so often at least it keeps an attended request alive."""
_ALIVE_AGAIN = preview_moves.ATTENDED_FOR / 3

log = get_logger(__name__)


class PreviewReading:
    """Reads, lists, follows, cancels, deletes. keep: how long a request is kept after its end."""

    def __init__(
        self,
        store: PreviewStore,
        artifacts: Artifacts,
        signals: Signals,
        tokens: PageTokens,
        *,
        clock: Callable[[], datetime],
        keep: timedelta,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._signals = signals
        self._tokens = tokens
        self._clock = clock
        self._keep = keep

    async def get(self, name: str) -> PreviewRequest:
        """One request. NotFound."""
        return await self._store.get(name)

    async def list(self, request: ListRequest) -> tuple[Sequence[PreviewRequest], str, int]:
        """A page of a project's requests, the token of the next page, and how many match in all. InvalidArgument."""
        asked = PREVIEW_REQUESTS.open(request, self._tokens)
        found, total = await self._store.list(project_of(request.parent), asked.query)
        return *asked.answer(found), total

    async def watch(self, name: str) -> AsyncIterator[PreviewRequest]:
        """The request as it is, and again after each change, until it has ended. NotFound."""
        seen, alive_at = 0, None
        while True:
            changed = self._signals.next(name)
            request = await self._store.get(name)
            if request.wanted_until is not None and (alive_at is None or self._clock() >= alive_at + _ALIVE_AGAIN):
                alive_at = self._clock()
                request = await self._store.change(name, lambda found: preview_moves.watched(found, self._clock()))
            if request.revision != seen:
                seen = request.revision
                yield request
            if request.state in ENDED:
                return
            await wait(changed, LOOK_AGAIN_S)

    async def cancel(self, name: str) -> PreviewRequest:
        """Ends it. NotFound, FailedPrecondition."""
        return await self._store.change(name, lambda request: preview_moves.cancel(request, self._clock(), self._keep))

    async def delete(self, name: str, *, etag: str) -> None:
        """Deletes one that has ended, with its pictures. NotFound, FailedPrecondition, Aborted."""
        request = await self._store.delete(name, lambda found: preview_moves.check_delete(found, etag))
        await remove_pictures(self._artifacts, request, self._clock())

    async def file(self, name: str, file_id: str) -> tuple[EpochFile, AsyncIterator[bytes]]:
        """A picture and its bytes; file_id "" is the first. NotFound, DataLoss at a wrong digest."""
        request = await self._store.get(name)
        for cell in request.cells:
            if not file_id or cell.file.file_id == file_id:
                return cell.file, self._artifacts.read(cell.file)
        known = [cell.file.file_id for cell in request.cells]
        raise NotFound(
            f"The preview request has drawn no '{file_id or 'cell-1'}'",
            field="file_id",
            reason="FILE_NOT_FOUND",
            remedy=f"Choose one of: {', '.join(known[:100])}." if known else "Wait for its first picture.",
        )


class PreviewKeeper(Tending):
    """Queues requests again whose worker fell silent, ends those that nobody watches or whose job is gone, and removes
    old ones."""

    def __init__(
        self,
        store: PreviewStore,
        jobs: JobStore,
        artifacts: Artifacts,
        *,
        clock: Callable[[], datetime],
        lease: timedelta,
        keep: timedelta,
    ) -> None:
        super().__init__(clock=clock, lease=lease, what="keeping preview requests")
        self._store = store
        self._jobs = jobs
        self._artifacts = artifacts
        self._keep = keep

    async def _due(self, now: datetime) -> Sequence[str]:
        return await self._store.due(now, BATCH)

    async def _tend(self, name: str, now: datetime) -> None:
        try:
            request = await self._store.get(name)
            if request.expire_time <= now:
                await self._remove(name, now)
                return
            gone = request.drawing.live_job != "" and not await self._is_held(request.drawing.live_job)

            def move(found: PreviewRequest) -> PreviewRequest:
                found = preview_moves.abandon(preview_moves.expire_lease(found, now, self._keep), now, self._keep)
                return preview_moves.job_ended(found, now, self._keep) if gone else found

            await self._store.change(name, move)
        except NotFound:
            # It was deleted meanwhile.
            return

    async def _remove(self, name: str, now: datetime) -> None:
        request = await self._store.delete(name, lambda _: None)
        log.info("preview_request_expired", preview_request=name)
        await remove_pictures(self._artifacts, request, now)

    async def _is_held(self, job: str) -> bool:
        try:
            return (await self._jobs.get(job)).lease is not None
        except NotFound:
            return False


async def remove_pictures(artifacts: Artifacts, request: PreviewRequest, now: datetime) -> None:
    """Removes all that the tries of a deleted request have stored."""
    try:
        for attempt in request.attempts:
            await artifacts.sweep(request.name, attempt.number, keep=(), older_than=now)
    except Unavailable as error:
        log.warning("files_left_to_the_sweeper", preview_request=request.name, reason=error.reason)
