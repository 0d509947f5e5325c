"""The trainer's verbs over a job store in memory, with a clock that only the test moves."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis.budgets import Budgets
from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.requests.keys import RequestKey
from services.trainer.models import worker_moves
from services.trainer.models.base import TrainingImage, TrainingSet
from services.trainer.models.change import Change
from services.trainer.models.epoch import Epoch, EpochFile
from services.trainer.models.job import Outcome, Progress, TrainingJob
from services.trainer.ports import WorkerAsk
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.calibration import NOTHING, Range
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.budgeting import JobBudgets
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.placing import Placing
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner
from services.trainer.use_cases.reading import JobReading
from services.trainer.use_cases.steering import JobSteering, SteeringRequest
from tests.fakes.job_store import FakeJobStore
from tests.fixtures.lists import TOKENS
from tests.unit.trainer.jobs import NOW, make_epoch

MODEL: BaseModel = load_catalogue()["fiveshot-tiny"]
BASE_MODEL = f"baseModels/{MODEL.id}"
DATASET = "projects/acme/datasets/dog"
VERSION = f"{DATASET}/versions/1"
LEASE = timedelta(seconds=30)
NO_KEY = RequestKey("acme", "CreateTrainingJob", "", "")
REQUEST = JobRequest(
    project="acme",
    job_id="",
    display_name="A dog",
    base_model=BASE_MODEL,
    dataset=DATASET,
    parameters={"num_epochs": 2, "num_repeats": 4, "batch_size": 4},
    priority=0,
)
"""Five pictures, four times each, in batches of four: five steps an epoch."""


class FakeDatasets:
    """Implements `ports.Datasets` with one dataset of five pictures. pinned: names that were frozen, in order."""

    def __init__(self) -> None:
        images = tuple(TrainingImage(PictureSize(64, 64), f"sks dog, scene {number}") for number in range(5))
        self.set = TrainingSet(VERSION, "d" * 64, "sks", images)
        self.pinned: list[str] = []

    async def look(self, name: str) -> TrainingSet:
        self._check(name)
        return self.set if "/versions/" in name else replace(self.set, version="", digest="")

    async def pin(self, name: str) -> TrainingSet:
        self._check(name)
        if not self.set.images:
            raise FailedPrecondition("empty", reason="DATASET_EMPTY", remedy="Upload a picture.")
        self.pinned.append(name)
        return self.set

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        return b"a picture"

    def _check(self, name: str) -> None:
        if not name.startswith(DATASET):
            raise NotFound(name, field="name", remedy="List the datasets.")


class FakeArtifacts:
    """Implements `ports.Artifacts`: each file holds its own key, and nothing is left over."""

    async def read(self, file: EpochFile, part: range | None = None) -> AsyncIterator[bytes]:
        content = file.object_key.encode()
        yield content if part is None else content[part.start : part.stop]

    async def check(self, files: Sequence[EpochFile]) -> None:
        return None

    async def delete(self, files: Sequence[EpochFile]) -> None:
        return None

    async def attempts(self) -> AsyncIterator[tuple[str, int]]:
        nothing: tuple[tuple[str, int], ...] = ()
        for attempt in nothing:
            yield attempt

    async def sweep(self, job: str, attempt: int, *, keep: Collection[str], older_than: datetime) -> int:
        return 0


class Verbs:
    """Everything around one test."""

    def __init__(self, **limits: int) -> None:
        """limits: budgets of every project."""
        budgets = JobBudgets(Budgets(lambda project: limits))
        self.now = NOW
        self.store = FakeJobStore()
        self.datasets = FakeDatasets()
        base_models = BaseModels({MODEL.id: MODEL})
        planner = Planner(base_models, self.datasets, min_images=1)
        ids = itertools.count(1)
        self.steering = JobSteering(self.store, base_models, clock=self.clock, budgets=budgets)
        self.reading = JobReading(
            self.store,
            FakeArtifacts(),
            base_models,
            TOKENS,
            clock=self.clock,
            placing=Placing(self.store, clock=self.clock, look_again=timedelta()),
            budgets=budgets,
        )
        self.creator = JobCreator(
            self.store,
            planner,
            self.reading,
            clock=self.clock,
            new_id=lambda prefix: f"{prefix}-{next(ids)}",
            memory=self.memory,
            budgets=budgets,
        )
        self.needs = NOTHING

    async def memory(self, request: JobRequest, planned: PlannedJob) -> Range:
        """What every job needs."""
        return self.needs

    def clock(self) -> datetime:
        """Now."""
        return self.now

    async def create(self, **changes: object) -> TrainingJob:
        """A job as in REQUEST, changed."""
        request = replace(REQUEST, **changes)  # type: ignore[arg-type]
        made = await self.creator.create(request, replace(NO_KEY, project=request.project), validate_only=False)
        return made.job

    async def take(self, worker_id: str = "worker-1") -> TrainingJob:
        """The next job, in the hands of a worker that can load everything."""

        def move(job: TrainingJob) -> Change:
            return worker_moves.acquire(job, worker_id=worker_id, token="token", now=self.now, lease=LEASE)

        taken = await self.store.acquire(WorkerAsk(worker_id, (), "", "cpu"), move)
        assert taken is not None
        return taken

    async def train(self, name: str, *, step: int, eta_s: float = 0.0) -> TrainingJob:
        """A heartbeat of the worker that holds the job."""
        progress = Progress(step=step, epoch=1, phase="training", eta_seconds=eta_s)
        return await self.store.change(
            name,
            lambda job: worker_moves.heartbeat(
                job, token="token", progress=progress, running=True, metrics=(), now=self.now, lease=LEASE
            ),
        )

    async def finish_epoch(self, name: str, number: int) -> Epoch:
        """The report of an epoch."""
        epoch = make_epoch(number, job=name)
        await self.store.change(
            name,
            lambda job: worker_moves.report_epoch(
                job, epoch, token="token", recommended_epoch=number, recommendation_reason="", now=self.now, lease=LEASE
            ),
        )
        return epoch

    async def end(self, name: str, outcome: Outcome = Outcome.SUCCEEDED) -> TrainingJob:
        """The end of the attempt."""
        return await self.store.change(
            name,
            lambda job: worker_moves.complete(
                job, token="token", outcome=outcome, error=None, now=self.now, max_failures=3
            ),
        )

    async def finished(self) -> TrainingJob:
        """A job that has trained its two epochs, a minute long."""
        job = await self.create()
        await self.take()
        for number in (1, 2):
            await self.finish_epoch(job.name, number)
        self.now += timedelta(minutes=1)
        return await self.end(job.name)


def order(job: TrainingJob, *, etag: str = "", request_id: str = "", digest: str = "d") -> SteeringRequest:
    """What a caller sends to steer a job."""
    return SteeringRequest(job.name, etag, RequestKey(job.project, "Steer", request_id, digest))
