"""Base models, jobs with their place in the queue, points, epochs and files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis.budgets import DOWNLOADS, UNLIMITED, AtOnce
from services.chassis.errors import NotFound
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.names import project_of
from services.trainer.models.base import OfferedModel
from services.trainer.models.epoch import Epoch, EpochFile, Metric, first_steps
from services.trainer.models.job import LEASED, JobState, TrainingJob
from services.trainer.models.queue import QueueLoad, expected_end, overall_position
from services.trainer.ports import EPOCHS, JOBS, Artifacts, JobStore
from services.trainer.recipe.families import families
from services.trainer.recipe.families.readers import file_notes
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.budgeting import JobBudgets
from services.trainer.use_cases.placing import WORKER_MEMORY, Placing

KOHYA = "kohya"


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as callers see it. Positions count from 1, 0 when it does not wait. expected_end: None when not known.

    held_back: why it waits when its turn comes, "" when it does not: no worker that is there can take it, or a budget.
    """

    job: TrainingJob
    position_in_project: int = 0
    position: int = 0
    expected_end: datetime | None = None
    held_back: str = ""


class JobReading:
    """All that is read of jobs."""

    def __init__(
        self,
        store: JobStore,
        artifacts: Artifacts,
        base_models: BaseModels,
        tokens: PageTokens,
        *,
        clock: Callable[[], datetime],
        placing: Placing,
        budgets: JobBudgets | None = None,
        at_once: AtOnce | None = None,
    ) -> None:
        """at_once: counts downloads."""
        self._at_once = at_once or AtOnce(UNLIMITED, DOWNLOADS)
        self._budgets = budgets or JobBudgets()
        self._placing = placing
        self._store = store
        self._artifacts = artifacts
        self._base_models = base_models
        self._tokens = tokens
        self._clock = clock

    async def base_models(self) -> list[OfferedModel]:
        """Every base model of the catalogue, in its order."""
        loadable = await self.loadable()
        return [
            OfferedModel(model, loadable is None or f"baseModels/{identifier}" in loadable)
            for identifier, model in self._base_models.catalogue.items()
        ]

    async def loadable(self) -> Collection[str] | None:
        """Names of those that workers can load now; None for all."""
        return await self._store.loadable(self._clock() - WORKER_MEMORY)

    async def base_model(self, name: str) -> OfferedModel:
        """One base model of the catalogue. NotFound."""
        wanted = await self._base_models.find(name, project="", field="name")
        return next(offered for offered in await self.base_models() if offered.model.id == wanted.id)

    async def get(self, name: str) -> JobView:
        """One job. NotFound."""
        return await self.view(await self._store.get(name))

    async def list(self, request: ListRequest) -> tuple[list[JobView], str, int]:
        """A page of a project's jobs, the token of the next page, and how many match in all. InvalidArgument."""
        asked = JOBS.open(request, self._tokens)
        found, total = await self._store.list(project_of(request.parent), asked.query)
        shown, token = asked.answer(found)
        load, held_back = None, ""
        if any(job.state is JobState.QUEUED for job in shown):
            load = await self._store.load()
            held_back = await self._budgets.held_back(self._store, project_of(request.parent), self._clock())
        return [await self.view(job, load, held_back) for job in shown], token, total

    async def view(self, job: TrainingJob, load: QueueLoad | None = None, held_back: str | None = None) -> JobView:
        """The job with its place in the queue and when it should end. held_back: its project, when that is known."""
        now = self._clock()
        if job.state in LEASED:
            known = job.progress.eta_seconds > 0
            return JobView(job, expected_end=now + timedelta(seconds=job.progress.eta_seconds) if known else None)
        if job.state is not JobState.QUEUED:
            return JobView(job)
        load = load or await self._store.load()
        if held_back is None:
            held_back = await self._budgets.held_back(self._store, job.project, now)
        held_back = await self._placing.why_nowhere(job) or held_back
        in_project = await self._store.position_in_project(job)
        if not any(queue.project == job.project for queue in load.projects):
            # A worker took it between the two reads; the next read will say so.
            return JobView(job, in_project, in_project)
        overall = overall_position(load.projects, job.project, in_project)
        end = expected_end(
            now,
            jobs_ahead=overall - 1,
            samples_left=job.steps_left * job.samples_per_step,
            mean_samples=load.mean_samples,
            workers=load.workers,
            seconds_per_sample=await self._store.pace(job.base_model),
        )
        # What the budget waits for is not known, nor when such a worker comes, so neither is the end.
        return JobView(job, in_project, overall, None if held_back else end, held_back)

    async def unstored(self, job: TrainingJob) -> JobView:
        """A job that was only tried: whether a worker could take it."""
        return JobView(job, held_back=await self._placing.why_nowhere(job))

    async def metrics(
        self, job: str, keys: Sequence[str], *, since_step: int, stride: int, page_size: int
    ) -> tuple[Sequence[Metric], int]:
        """Points of some keys after a step, and the step to ask on from; 0 when there is no more now.

        No key is the loss, a stride of 0 is 1, a page size of 0 is 1000 steps; more than 10,000 are 10,000. NotFound.
        """
        stride, limit = max(1, stride), min(page_size or 1000, 10_000)
        await self._store.get(job)
        found = await self._store.metrics(job, keys or ("loss",), since_step=since_step, stride=stride, limit=limit + 1)
        points = first_steps(found, limit)
        return points, points[-1].step if len(points) < len(found) else 0

    async def epoch(self, job: str, number: int) -> tuple[Epoch, TrainingJob]:
        """A finished epoch and its job. NotFound."""
        return await self._store.epoch(job, number), await self._store.get(job)

    async def epochs(self, request: ListRequest) -> tuple[Sequence[Epoch], str, int, TrainingJob]:
        """A page of a job's finished epochs, the token of the next page, how many there are, and their job.

        NotFound, InvalidArgument.
        """
        asked = EPOCHS.open(request, self._tokens)
        job = await self._store.get(request.parent)
        shown, token = asked.answer(await self._store.epochs(request.parent, asked.query))
        return shown, token, await self._store.count_epochs(request.parent, asked.query), job

    def file_notes(self, job: TrainingJob) -> tuple[str, ...]:
        """What to know before a job's files are used elsewhere; nothing when its base model is no longer offered."""
        model = self._base_models.catalogue.get(job.loads.removeprefix("baseModels/"))
        return file_notes(families()[model.family], job.parameters.adapter) if model else ()

    async def file(self, job: str, number: int, file_id: str) -> tuple[EpochFile, AsyncIterator[bytes]]:
        """A file of an epoch and its bytes; file_id "" is the LoRA for kohya's tools.

        NotFound names the files that there are; the bytes raise ResourceExhausted when too many go out to the project
        already, and DataLoss at a wrong digest.
        """
        epoch = await self._store.epoch(job, number)
        file_id = file_id or KOHYA
        for file in epoch.files:
            if file.file_id == file_id:
                return file, self._at_once.during(project_of(job), self._artifacts.read(file), field="name")
        known = ", ".join(file.file_id for file in epoch.files)
        raise NotFound(
            f"Epoch {number} has no file '{file_id}'",
            field="file_id",
            reason="FILE_NOT_FOUND",
            remedy=f"Choose one of: {known}.",
        )

    def part(self, job: str, file: EpochFile, part: range) -> AsyncIterator[bytes]:
        """Some bytes of an epoch's file; raises what the bytes of `file` raise, but the digest is that of the whole."""
        return self._at_once.during(project_of(job), self._artifacts.read(file, part), field="name")
