"""What workers call: acquire, heartbeat, report an epoch, complete an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.chassis.errors import InvalidArgument, NotFound
from services.chassis.signals import Signals, wait
from services.trainer.models import worker_moves
from services.trainer.models.change import Change
from services.trainer.models.epoch import Epoch, EpochFile, Metric
from services.trainer.models.job import Directive, JobError, JobState, Outcome, Progress, TrainingJob
from services.trainer.models.own_base_model import OwnBaseModel
from services.trainer.models.placement import WorkerKind
from services.trainer.models.preview_request import epoch_of
from services.trainer.models.pulse import Pulse
from services.trainer.ports import QUEUE, Artifacts, JobStore, WorkerAsk, object_prefix
from services.trainer.ports.base_models import BaseModelStore
from services.trainer.use_cases.budgeting import JobBudgets
from services.trainer.use_cases.checking_base_models import BaseModelCheck, BaseModelChecks
from services.trainer.use_cases.drawing import PreviewAssignment, PreviewWork
from services.trainer.use_cases.placing import Placing

LOOK_AGAIN_S = 2.0
"""Jobs that another process queued are seen after at most so long."""
SHARED_LOOK_AGAIN_S = 15.0
"""The same while other processes tell of their jobs, one of which may get lost."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job for a worker. checkpoint: files to resume from, if any. prefix: where it writes objects. interval: between
    its reports. own: its base model, where that is one of the project's own. initial: the file of the epoch that it
    goes on from, while that is there and no checkpoint."""

    job: TrainingJob
    token: str
    lease: timedelta
    checkpoint: tuple[EpochFile, ...]
    prefix: str
    interval: timedelta
    own: OwnBaseModel | None = None
    initial: EpochFile | None = None


@dataclass(slots=True)
class _Turn:
    """Workers that can do the same look one after the other.

    in_vain: the signal under which one of them found none, at `looked_at` on the loop's clock.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_vain: asyncio.Event | None = None
    looked_at: float = 0.0


class JobWork:
    """The queue's other end. Reports raise NotFound, or Aborted(reason=LEASE_LOST) for a token that is not current."""

    def __init__(
        self,
        store: JobStore,
        signals: Signals,
        artifacts: Artifacts,
        *,
        clock: Callable[[], datetime],
        new_token: Callable[[], str],
        lease: timedelta,
        max_failures: int,
        placing: Placing,
        pulse: Pulse,
        budgets: JobBudgets | None = None,
        previews: PreviewWork | None = None,
        base_models: BaseModelStore | None = None,
        checks: BaseModelChecks | None = None,
    ) -> None:
        """previews: what workers draw between jobs; None for nothing. base_models: of projects, and checks of these."""
        self._base_models = base_models
        self._checks = checks
        self._budgets = budgets or JobBudgets()
        self._previews = previews
        self._store = store
        self._signals = signals
        self._artifacts = artifacts
        self._clock = clock
        self._new_token = new_token
        self._lease = lease
        self._max_failures = max_failures
        self._placing = placing
        self._pulse = pulse
        self._turns: dict[tuple[bool, WorkerKind], _Turn] = {}

    async def acquire(
        self, ask: WorkerAsk, within: timedelta
    ) -> Assignment | PreviewAssignment | BaseModelCheck | None:
        """The next job, preview request or check for this worker; None when none came in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within.total_seconds()
        found = await self._take(ask)
        if found is None:
            await self._store.seen(ask, self._clock())
        while found is None and (left := deadline - loop.time()) > 0:
            queued = self._signals.next(QUEUE)
            found = await self._look(ask, queued)
            if found is None:
                await wait(queued, min(left, self._pause_s()))
        return found

    async def _look(
        self, ask: WorkerAsk, queued: asyncio.Event
    ) -> Assignment | PreviewAssignment | BaseModelCheck | None:
        """Looks for a job, unless another worker that takes the same ones has looked in vain just now: a thousand idle
        workers look as often as one. queued: the signal at hand; a new one means that a job came."""
        turn = self._turns.setdefault((ask.draws, ask.kind), _Turn())
        async with turn.lock:
            now = asyncio.get_running_loop().time()
            if turn.in_vain is queued and now < turn.looked_at + self._pause_s():
                return None
            found = await self._take(ask)
            turn.in_vain, turn.looked_at = (queued if found is None else None), now
            return found

    def _pause_s(self) -> float:
        return SHARED_LOOK_AGAIN_S if self._signals.shared else LOOK_AGAIN_S

    async def heartbeat(
        self,
        name: str,
        token: str,
        progress: Progress,
        metrics: Sequence[Metric],
        *,
        running: bool,
        notices: Sequence[str] = (),
        back_to_step: int | None = None,
    ) -> tuple[Directive, timedelta]:
        """Renews the lease and says what to do, and after how long to report again."""

        def move(job: TrainingJob) -> Change:
            return worker_moves.heartbeat(
                job,
                token=token,
                progress=progress,
                running=running,
                metrics=metrics,
                now=self._clock(),
                lease=self._lease,
                notices=notices,
                back_to_step=back_to_step,
            )

        directive = worker_moves.directive_of(await self._store.heartbeat(name, move))
        return directive, self._pulse.beat(token, self._clock())

    async def report_epoch(
        self, name: str, token: str, epoch: Epoch, *, recommended_epoch: int, recommendation_reason: str
    ) -> Directive:
        """Adds a finished epoch whose files are stored; the same epoch may be reported again."""
        job = await self._store.get(name)
        attempt = next((attempt.number for attempt in job.attempts if attempt.token == token), 0)
        prefix = object_prefix(name, attempt)
        for file in (*epoch.files, *epoch.checkpoint):
            if attempt and not file.object_key.startswith(prefix):
                raise InvalidArgument(
                    f"The file {file.file_id} lies outside the attempt's folder",
                    field="epoch.files",
                    remedy=f"Store it under {prefix}.",
                )
        await self._artifacts.check((*epoch.files, *epoch.checkpoint))

        def move(current: TrainingJob) -> Change:
            return worker_moves.report_epoch(
                current,
                epoch,
                token=token,
                recommended_epoch=recommended_epoch,
                recommendation_reason=recommendation_reason,
                now=self._clock(),
                lease=self._lease,
            )

        return worker_moves.directive_of(await self._store.change(name, move))

    async def complete(self, name: str, token: str, outcome: Outcome, error: JobError | None) -> JobState:
        """Ends the attempt and says where the job stands now."""

        def move(job: TrainingJob) -> Change:
            return worker_moves.complete(
                job,
                token=token,
                outcome=outcome,
                error=error,
                now=self._clock(),
                max_failures=self._max_failures,
            )

        return (await self._store.change(name, move)).state

    async def _take(self, ask: WorkerAsk) -> Assignment | PreviewAssignment | BaseModelCheck | None:
        """What is short and somebody waits for goes first, a preview request before a check; but not twice in a row
        before a job."""
        if ask.drew and (job := await self._take_job(ask)) is not None:
            return job
        return await self._take_short(ask) or (None if ask.drew else await self._take_job(ask))

    async def _take_short(self, ask: WorkerAsk) -> PreviewAssignment | BaseModelCheck | None:
        drawn = await self._previews.take(ask) if self._previews is not None and ask.draws else None
        return drawn or (await self._checks.take(ask) if self._checks is not None else None)

    async def _take_job(self, ask: WorkerAsk) -> Assignment | None:
        starting = self._budgets.starting(self._clock())
        ask = await self._placing.asking(ask)
        while (job := await self._store.acquire(ask, lambda waiting: self._taken(waiting, ask), starting)) is not None:
            try:
                return await self._assignment(job)
            except NotFound:
                # It was queued again while its base model was deleted.
                remedy = "Start a new job on another base model."
                error = JobError("BASE_MODEL_NOT_FOUND", f"The base model '{job.base_model}' was deleted.", remedy)
                await self.complete(job.name, job.attempts[-1].token, Outcome.FAILED, error)
        return None

    def _taken(self, job: TrainingJob, ask: WorkerAsk) -> Change:
        return worker_moves.acquire(
            job,
            worker_id=ask.worker_id,
            token=self._new_token(),
            now=self._clock(),
            lease=self._lease,
            pretends=ask.pretends,
        )

    async def _assignment(self, job: TrainingJob) -> Assignment:
        own = await self._base_models.get(job.base_model) if job.entry and self._base_models is not None else None
        checkpoint: tuple[EpochFile, ...] = ()
        if job.epochs_completed:
            checkpoint = (await self._store.epoch(job.name, job.epochs_completed)).checkpoint
        number = job.attempts[-1].number
        token = job.attempts[-1].token
        interval = self._pulse.beat(token, self._clock())
        initial = None if checkpoint else await self._initial(job)
        return Assignment(job, token, self._lease, checkpoint, object_prefix(job.name, number), interval, own, initial)

    async def _initial(self, job: TrainingJob) -> EpochFile | None:
        lora = job.initial_lora
        epoch = epoch_of(lora.name) if lora else None
        if lora is None or epoch is None:
            return None
        try:
            files = (await self._store.epoch(*epoch)).artifacts
        except NotFound:
            # The worker says so: to take a job and to end it are two things.
            return None
        return next((file for file in files if file.file_id == lora.form), None)
