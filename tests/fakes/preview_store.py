"""Preview requests in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from services.chassis.listing import memory
from services.chassis.listing.pages import Query
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.trainer.models.preview_moves import Waiting, turns
from services.trainer.models.preview_request import ENDED, PreviewRequest, PreviewState, preview_not_found
from services.trainer.models.queue import Starting
from services.trainer.ports import QUEUE, Admit, WorkerAsk
from services.trainer.ports.previews import PREVIEW_REQUESTS, PreviewMove, previews_signal


class FakePreviewStore:
    """Implements ports.previews.PreviewStore. held: jobs that a worker holds."""

    def __init__(self, signals: Signals | None = None, held: set[str] | None = None) -> None:
        self._signals = signals or Signals()
        self._held = set() if held is None else held
        self._rows: dict[str, PreviewRequest] = {}
        self._known: dict[tuple[str, str, str], tuple[str, str]] = {}

    async def recall(self, key: RequestKey) -> PreviewRequest | None:
        known = self._known.get((key.project, key.method, key.request_id)) if key.request_id else None
        if known is None:
            return None
        key.check_same(known[0])
        return await self.get(known[1])

    async def create(self, request: PreviewRequest, key: RequestKey, admit: Admit | None = None) -> PreviewRequest:
        made = await self.recall(key)
        if made is not None:
            return made
        if admit is not None:
            admit(await self.unfinished(request.project))
        self._rows[request.name] = request
        if key.request_id:
            self._known[key.project, key.method, key.request_id] = (key.digest, request.name)
        self._tell(request)
        return request

    async def get(self, name: str) -> PreviewRequest:
        if name not in self._rows:
            raise preview_not_found(name)
        return self._rows[name]

    async def list(self, project: str, query: Query) -> tuple[Sequence[PreviewRequest], int]:
        mine = (each for each in self._rows.values() if each.project == project)
        return memory.page(mine, query, PREVIEW_REQUESTS)

    async def change(self, name: str, move: PreviewMove) -> PreviewRequest:
        before = await self.get(name)
        self._rows[name] = after = move(before)
        if after.revision != before.revision:
            self._tell(after)
        return after

    async def acquire(
        self, ask: WorkerAsk, move: PreviewMove, starting: Starting | None = None, *, job: str = ""
    ) -> PreviewRequest | None:
        waiting = [
            Waiting(each.name, each.project, each.create_time)
            for each in self._rows.values()
            if each.state is PreviewState.QUEUED
            and each.drawing.live_job == job
            and (job or ask.takes(each.base_model, each.entry))
        ]
        running = Counter(each.project for each in self._rows.values() if each.lease is not None)
        served: dict[str, datetime] = {}
        for each in self._rows.values():
            if each.start_time is not None:
                served[each.project] = max(each.start_time, served.get(each.project, each.start_time))
        for one in turns(waiting, running, served):
            return await self.change(one.name, move)
        return None

    async def unfinished(self, project: str) -> int:
        return sum(each.project == project and each.state not in ENDED for each in self._rows.values())

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        return sorted(name for name, each in self._rows.items() if self._is_due(each, now))[:limit]

    async def delete(self, name: str, check: Callable[[PreviewRequest], None]) -> PreviewRequest:
        request = await self.get(name)
        check(request)
        del self._rows[name]
        return request

    def _is_due(self, request: PreviewRequest, now: datetime) -> bool:
        if request.expire_time <= now:
            return True
        if request.state in ENDED:
            return False
        job = request.drawing.live_job
        return (
            (request.lease is not None and request.lease.expires_at <= now)
            or (request.wanted_until is not None and request.wanted_until <= now)
            or (request.state is PreviewState.QUEUED and job != "" and job not in self._held)
        )

    def _tell(self, request: PreviewRequest) -> None:
        self._signals.notify(request.name)
        if request.state is PreviewState.QUEUED:
            live = request.drawing.live_job
            self._signals.notify(previews_signal(live) if live else QUEUE)
