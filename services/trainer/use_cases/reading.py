"""Base models, jobs with their place in the queue, points, epochs and files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis.errors import NotFound
from services.trainer.models.base import OfferedModel
from services.trainer.models.epoch import Epoch, EpochFile, Metric
from services.trainer.models.job import LEASED, JobState, TrainingJob
from services.trainer.models.queue import QueueLoad, expected_end, overall_position
from services.trainer.ports import Artifacts, JobPage, JobQuery, JobStore
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.families import families
from services.trainer.recipe.families.readers import file_notes
from services.trainer.use_cases.planning import Planner

WORKER_MEMORY = timedelta(seconds=150)
"""How long after its last request for a job a worker counts as there; requests wait a minute at most."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as callers see it. Positions count from 1, 0 when it does not wait. expected_end: None when not known."""

    job: TrainingJob
    position_in_project: int = 0
    position: int = 0
    expected_end: datetime | None = None


class JobReading:
    """All that is read of jobs."""

    def __init__(
        self,
        store: JobStore,
        artifacts: Artifacts,
        catalogue: Mapping[str, BaseModel],
        planner: Planner,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._catalogue = catalogue
        self._planner = planner
        self._clock = clock

    async def base_models(self) -> list[OfferedModel]:
        """Every base model of the catalogue, in its order."""
        loadable = await self._store.loadable(self._clock() - WORKER_MEMORY)
        return [
            OfferedModel(model, loadable is None or f"baseModels/{identifier}" in loadable)
            for identifier, model in self._catalogue.items()
        ]

    async def base_model(self, name: str) -> OfferedModel:
        """One base model. NotFound."""
        wanted = self._planner.base_model(name, field="name")
        return next(offered for offered in await self.base_models() if offered.model.id == wanted.id)

    async def get(self, name: str) -> JobView:
        """One job. NotFound."""
        return await self.view(await self._store.get(name))

    async def list(self, query: JobQuery) -> tuple[JobPage, list[JobView]]:
        """A page of jobs."""
        page = await self._store.list(query)
        load = await self._store.load() if any(job.state is JobState.QUEUED for job in page.jobs) else None
        return page, [await self.view(job, load) for job in page.jobs]

    async def view(self, job: TrainingJob, load: QueueLoad | None = None) -> JobView:
        """The job with its place in the queue and when it should end."""
        now = self._clock()
        if job.state in LEASED:
            known = job.progress.eta_seconds > 0
            return JobView(job, expected_end=now + timedelta(seconds=job.progress.eta_seconds) if known else None)
        if job.state is not JobState.QUEUED:
            return JobView(job)
        load = load or await self._store.load()
        in_project = await self._store.position_in_project(job)
        if not any(queue.project == job.project for queue in load.projects):
            # A worker took it between the two reads; the next read will say so.
            return JobView(job, in_project, in_project)
        overall = overall_position(load.projects, job.project, in_project)
        end = expected_end(
            now,
            jobs_ahead=overall - 1,
            samples_left=(job.total_steps - job.steps_saved) * job.samples_per_step,
            mean_samples=load.mean_samples,
            workers=load.workers,
            seconds_per_sample=await self._store.pace(job.base_model),
        )
        return JobView(job, in_project, overall, end)

    async def metrics(
        self, job: str, key: str, *, since_step: int, stride: int, limit: int
    ) -> tuple[Sequence[Metric], int]:
        """Points of one key after a step, and the step to ask on from; 0 when there is no more now."""
        await self._store.get(job)
        points = await self._store.metrics(job, key, since_step=since_step, stride=stride, limit=limit + 1)
        more = len(points) > limit
        return points[:limit], points[limit - 1].step if more else 0

    async def epoch(self, job: str, number: int) -> tuple[Epoch, TrainingJob]:
        """A finished epoch and its job. NotFound."""
        return await self._store.epoch(job, number), await self._store.get(job)

    async def epochs(self, name: str, *, after: int, limit: int) -> tuple[Sequence[Epoch], bool, TrainingJob]:
        """Finished epochs in order, whether more follow, and their job. NotFound when there is no such job."""
        job = await self._store.get(name)
        found = await self._store.epochs(name, after=after, limit=limit + 1)
        return found[:limit], len(found) > limit, job

    def file_notes(self, job: TrainingJob) -> tuple[str, ...]:
        """What to know before a job's files are used elsewhere; nothing when its base model is no longer offered."""
        model = self._catalogue.get(job.base_model.removeprefix("baseModels/"))
        return file_notes(families()[model.family], job.parameters.adapter) if model else ()

    async def file(self, job: str, number: int, file_id: str) -> tuple[EpochFile, AsyncIterator[bytes]]:
        """A file of an epoch and its bytes. NotFound names the files that there are; DataLoss at a wrong digest."""
        epoch = await self._store.epoch(job, number)
        for file in epoch.files:
            if file.file_id == file_id:
                return file, self._artifacts.read(file)
        known = ", ".join(file.file_id for file in epoch.files)
        raise NotFound(
            f"Epoch {number} has no file '{file_id}'",
            field="file_id",
            reason="FILE_NOT_FOUND",
            remedy=f"Choose one of: {known}.",
        )
