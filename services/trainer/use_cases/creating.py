"""CreateTrainingJob."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from services.chassis.errors import AlreadyExists, NotFound
from services.chassis.requests.keys import RequestKey
from services.trainer.models import moves
from services.trainer.models.job import TrainingJob
from services.trainer.models.placement import needed
from services.trainer.ports import JobStore
from services.trainer.recipe.calibration import Range
from services.trainer.use_cases.auditing import refuse_blocked
from services.trainer.use_cases.budgeting import JobBudgets
from services.trainer.use_cases.mixing import trained
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner
from services.trainer.use_cases.reading import JobReading, JobView


class JobCreator:
    """Plans jobs, and puts them into the queue."""

    def __init__(
        self,
        store: JobStore,
        planner: Planner,
        reading: JobReading,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        memory: Callable[[JobRequest, PlannedJob], Awaitable[Range]],
        budgets: JobBudgets | None = None,
    ) -> None:
        """memory: the estimate of what a planned job needs."""
        self._memory = memory
        self._budgets = budgets or JobBudgets()
        self._store = store
        self._reading = reading
        self._planner = planner
        self._clock = clock
        self._new_id = new_id

    async def create(self, request: JobRequest, key: RequestKey, *, validate_only: bool) -> JobView:
        """Queues a job; a repeat with the same request id gives the first one. validate_only: stores nothing at all.

        Raises InvalidArgument, NotFound and FailedPrecondition with the field of the request that is wrong,
        AlreadyExists when the id is taken, and ResourceExhausted(BUDGET_USED_UP) when too many of the project wait.
        """
        made = await self._store.recall(key)
        if made is not None:
            return await self._reading.view(made)
        name = f"projects/{request.project}/trainingJobs/{request.job_id or self._new_id('job')}"
        admit = self._budgets.admit(request.project, field="parent")
        if admit is not None:
            # Before the dataset is frozen for nothing; the store decides in the end.
            now = self._clock()
            admit((await self._store.usage(request.project, since=now, now=now)).waiting)
        check = partial(refuse_blocked, request, least=self._planner.least_images)
        if validate_only:
            planned = await self._planner.plan(request, store=False, check=check)
            return await self._reading.unstored(await self._job(name, request, planned))
        if request.job_id and not key.request_id:
            await self._refuse_taken(name)
        planned = await self._planner.plan(request, store=True, check=check)
        change = moves.create(await self._job(name, request, planned))
        return await self._reading.view(await self._store.create(change, key, admit))

    async def _job(self, name: str, request: JobRequest, planned: PlannedJob) -> TrainingJob:
        middle, low = needed(await self._memory(request, planned))
        return _job(name, request, planned, self._clock(), middle, low)

    async def _refuse_taken(self, name: str) -> None:
        """Says that an id is taken before the dataset is frozen for nothing; the store decides in the end."""
        try:
            await self._store.get(name)
        except NotFound:
            return
        raise AlreadyExists(
            f"The training job '{name}' already exists",
            field="training_job_id",
            reason="JOB_EXISTS",
            remedy="Choose another id, or leave it empty to get a generated one.",
        )


def _job(name: str, request: JobRequest, planned: PlannedJob, now: datetime, middle: int, low: int) -> TrainingJob:
    return TrainingJob(
        name=name,
        project=request.project,
        display_name=request.display_name,
        base_model=request.base_model,
        entry=f"baseModels/{planned.model.based_on}" if planned.model.based_on else "",
        dataset_version=planned.data.version or trained(planned.datasets)[0].asked.name,
        dataset_digest=planned.data.digest,
        image_count=len(planned.data.images),
        trigger_word=planned.data.trigger_word,
        parameters=planned.parameters,
        steps_per_epoch=planned.steps.steps_per_epoch,
        samples_per_step=samples_per_step(planned),
        priority=request.priority,
        labels=dict(request.labels),
        memory_bytes=middle,
        memory_low_bytes=low,
        initial_lora=planned.initial_lora,
        datasets=tuple(each.kept for each in planned.datasets) if request.datasets else (),
        create_time=now,
        update_time=now,
        queued_at=now,
        state_time=now,
    )


def samples_per_step(planned: PlannedJob) -> int:
    """Pictures behind one optimizer step, on average."""
    return max(1, round(planned.steps.samples_per_epoch / planned.steps.steps_per_epoch))
