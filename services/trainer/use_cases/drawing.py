"""What workers call for preview requests: take one, report cells, end a try."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.chassis.errors import Aborted, InvalidArgument, NotFound
from services.chassis.signals import Signals, wait
from services.trainer.models import preview_moves
from services.trainer.models.epoch import EpochFile
from services.trainer.models.job import JobError, Outcome
from services.trainer.models.own_base_model import OwnBaseModel
from services.trainer.models.preview_request import DrawnCell, PreviewRequest, epoch_of
from services.trainer.ports import Artifacts, JobStore, WorkerAsk, object_prefix
from services.trainer.ports.base_models import BaseModelStore
from services.trainer.ports.previews import PreviewStore, previews_signal
from services.trainer.use_cases.budgeting import JobBudgets
from services.trainer.use_cases.requesting_previews import FORM

LOOK_AGAIN_S = 2.0
"""Requests for a job as it stands now that another process stored are seen after at most so long."""


@dataclass(frozen=True, slots=True)
class PreviewAssignment:
    """A request for a worker. weights: the LoRA of each source that is an epoch. prefix: where it writes objects.
    own: the base model, where that is one of the project's own."""

    request: PreviewRequest
    token: str
    lease: timedelta
    weights: tuple[tuple[str, EpochFile], ...]
    prefix: str
    own: OwnBaseModel | None = None


class PreviewWork:
    """The workers' end of the queue. Reports raise NotFound, or Aborted(reason=LEASE_LOST) for an old token."""

    def __init__(
        self,
        store: PreviewStore,
        jobs: JobStore,
        artifacts: Artifacts,
        signals: Signals,
        *,
        clock: Callable[[], datetime],
        new_token: Callable[[], str],
        lease: timedelta,
        keep: timedelta,
        budgets: JobBudgets | None = None,
        base_models: BaseModelStore | None = None,
    ) -> None:
        self._store = store
        self._base_models = base_models
        self._jobs = jobs
        self._artifacts = artifacts
        self._signals = signals
        self._clock = clock
        self._new_token = new_token
        self._lease = lease
        self._keep = keep
        self._budgets = budgets or JobBudgets()

    async def take(self, ask: WorkerAsk) -> PreviewAssignment | None:
        """The request whose turn it is. One whose epoch was deleted meanwhile fails, and the next one is looked at."""
        while True:
            starting = self._budgets.starting(self._clock())
            request = await self._store.acquire(ask, lambda waiting: self._taken(waiting, ask), starting)
            if request is None:
                return None
            try:
                return await self._assignment(request)
            except NotFound as error:
                remedy = "Ask again without it."
                await self._end(request, JobError("SOURCE_GONE", f"A source was deleted: {error.message}", remedy))

    async def take_of_job(
        self, job: str, token: str, within: timedelta, *, worker_id: str, pretends: bool
    ) -> PreviewAssignment | None:
        """A request for the job that a worker holds, as it stands now; waited for so long.

        Raises NotFound, and Aborted(reason=LEASE_LOST) unless the token is that of the job's lease.
        """
        ask = WorkerAsk(worker_id, (), "", "", pretends=pretends, draws=True)
        deadline = asyncio.get_running_loop().time() + within.total_seconds()
        while True:
            asked = self._signals.next(previews_signal(job))
            lease = (await self._jobs.get(job)).lease
            if lease is None or lease.token != token:
                raise Aborted(
                    "This lease is no longer valid",
                    field="lease_token",
                    reason="LEASE_LOST",
                    remedy="Drop the job and acquire another.",
                )
            request = await self._store.acquire(ask, lambda waiting: self._taken(waiting, ask), job=job)
            if request is not None:
                return await self._assignment(request)
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            await wait(asked, min(left, LOOK_AGAIN_S))

    async def report(
        self, name: str, token: str, cells: Sequence[DrawnCell], outcome: Outcome | None, error: JobError | None
    ) -> None:
        """Adds cells whose pictures are stored, renews the lease, and ends the try where there is an outcome."""
        if cells:
            request = await self._store.get(name)
            number = next((attempt.number for attempt in request.attempts if attempt.token == token), 0)
            prefix = object_prefix(name, number)
            files = [cell.file for cell in cells]
            for file in files if number else ():
                if not file.object_key.startswith(prefix):
                    raise InvalidArgument(
                        f"The file {file.file_id} lies outside the folder of the try",
                        field="cells",
                        remedy=f"Store it under {prefix}.",
                    )
            await self._artifacts.check(files)

        def move(found: PreviewRequest) -> PreviewRequest:
            now = self._clock()
            reported = preview_moves.report(found, cells, token=token, now=now, lease=self._lease)
            if outcome is None:
                return reported
            return preview_moves.complete(reported, outcome, error, token=token, now=now, keep=self._keep)

        await self._store.change(name, move)

    def _taken(self, request: PreviewRequest, ask: WorkerAsk) -> PreviewRequest:
        return preview_moves.acquire(
            request,
            worker_id=ask.worker_id,
            token=self._new_token(),
            now=self._clock(),
            lease=self._lease,
            pretends=ask.pretends,
        )

    async def _assignment(self, request: PreviewRequest) -> PreviewAssignment:
        weights = []
        for source in request.drawing.sources:
            epoch = epoch_of(source)
            if epoch is not None:
                files = (await self._jobs.epoch(*epoch)).files
                weights.append((source, next(file for file in files if file.file_id == FORM)))
        last, own = request.attempts[-1], None
        if request.entry and self._base_models is not None:
            own = await self._base_models.get(request.base_model)
        return PreviewAssignment(
            request, last.token, self._lease, tuple(weights), object_prefix(request.name, last.number), own
        )

    async def _end(self, request: PreviewRequest, error: JobError) -> None:
        token = request.attempts[-1].token

        def move(found: PreviewRequest) -> PreviewRequest:
            if found.lease is None or found.lease.token != token:
                return found
            return preview_moves.complete(
                replace(found), Outcome.FAILED, error, token=token, now=self._clock(), keep=self._keep
            )

        await self._store.change(request.name, move)
