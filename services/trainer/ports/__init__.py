"""What the use cases need of the world outside. Adapters implement these; fakes stand in for them in unit tests.

Every method may raise Unavailable when the server behind it does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.chassis.listing.fields import choice, moment, number, reference, text, text_map
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.requests.keys import RequestKey
from services.trainer.models.base import TrainingSet
from services.trainer.models.change import Change
from services.trainer.models.epoch import Epoch, EpochFile, Metric
from services.trainer.models.events import StoredEvent
from services.trainer.models.job import JobState, TrainingJob
from services.trainer.models.lifetimes import Leftover, Lifetimes
from services.trainer.models.placement import ANY_ROOM, Room, WorkerKind
from services.trainer.models.queue import ProjectUse, QueueLoad, Starting
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.calibration import Measurement

Move = Callable[[TrainingJob], Change]
"""A pure move, applied to the job as it is when the change is stored; when it raises, nothing is. It may be called
again, when someone else changed the job meanwhile."""


Admit = Callable[[int], None]
"""Raises when a project has so many jobs waiting that no other may."""


@dataclass(frozen=True, slots=True)
class WorkerAsk:
    """A worker that asks for a job. base_models: that it can load; empty for all. warm_base_model: in memory, or "".

    device_memory_bytes: 0 when it does not say. pretends: it does not really train. families: of base models that its
    program knows. mixed_precisions: number formats of its device, empty for all. room: what it may take just now.
    draws: it draws preview requests. drew: that was the last thing that it did. takes_own: it trains on base models of
    projects, which it fetches, and checks them. skill: of its program.
    """

    worker_id: str
    base_models: tuple[str, ...]
    warm_base_model: str
    device: str
    device_memory_bytes: int = 0
    pretends: bool = False
    families: tuple[str, ...] = ()
    mixed_precisions: tuple[str, ...] = ()
    room: Room = ANY_ROOM
    draws: bool = False
    drew: bool = False
    takes_own: bool = False
    skill: int = 0

    @property
    def kind(self) -> WorkerKind:
        """What it can do."""
        return WorkerKind(
            self.device,
            self.device_memory_bytes,
            self.base_models,
            self.mixed_precisions,
            self.skill,
            self.takes_own,
        )

    def takes(self, base_model: str, entry: str) -> bool:
        """Whether it can load a base model; entry: of the catalogue, for one of a project's own, else ""."""
        if entry and not self.takes_own:
            return False
        return not self.base_models or (entry or base_model) in self.base_models


JOBS: Listing[TrainingJob] = Listing(
    "ListTrainingJobs",
    fields={
        "state": choice(list(JobState), prefix="STATE_"),
        "base_model": reference("baseModels/"),
        "dataset_version": text(),
        "display_name": text(),
        "priority": number(),
        "labels": text_map(),
        "create_time": moment(),
        "update_time": moment(),
        "start_time": moment(),
        "end_time": moment(),
    },
    sortable={"create_time": datetime, "update_time": datetime, "priority": int},
    key=("name", str),
    default_order=[Order("create_time", descending=True)],
)
EPOCHS: Listing[Epoch] = Listing(
    "ListEpochs",
    fields={"step": number(), "loss": number(), "labels": text_map(), "create_time": moment()},
    sortable={"create_time": datetime, "step": int},
    key=("number", int),
    default_size=100,
)


class JobStore(Protocol):
    """The jobs, their queue, epochs, points and event log: one truth, changed in transactions.

    A change of a job, its event, its epoch and its points are stored together or not at all. Several processes may use
    one store; moves of the same job take turns.
    """

    async def recall(self, key: RequestKey) -> TrainingJob | None:
        """The job that this request made before; None for a new one. InvalidArgument when the id was used otherwise."""

    async def create(self, change: Change, key: RequestKey, admit: Admit | None = None) -> TrainingJob:
        """Stores a new job. AlreadyExists when the name is taken; of two equal requests both get the same job.

        admit: is told how many jobs of the project wait beside it; when it raises, nothing is stored. Of two that come
        at once, the second sees the first.
        """

    async def get(self, name: str) -> TrainingJob:
        """The job. NotFound."""

    async def list(self, project: str, query: Query) -> tuple[Sequence[TrainingJob], int]:
        """A page of a project's jobs (see `JOBS`), and how many match in all."""

    async def change(
        self, name: str, move: Move, key: RequestKey | None = None, admit: Admit | None = None
    ) -> TrainingJob:
        """Applies a move and returns the job after it. NotFound, and whatever the move raises.

        key: a request that was carried out before changes nothing. InvalidArgument when its id was used otherwise.
        admit: as for a new job, when the move puts it into the queue.
        """

    async def heartbeat(self, name: str, move: Move) -> TrainingJob:
        """As `change`, for the move that comes most often: it may wait a moment, to be stored together with those of
        other jobs."""

    async def acquire(self, ask: WorkerAsk, move: Move, starting: Starting | None = None) -> TrainingJob | None:
        """Applies a move to the waiting job whose turn it is (see `models.queue`), and notes that the worker is alive;
        does nothing and gives None when none fits the worker.

        starting: a project that may begin no other job is passed over, also when two workers ask at once.
        """

    async def usage(self, project: str, *, since: datetime, now: datetime) -> ProjectUse:
        """What a project uses, its GPU seconds since then."""

    async def seen(self, ask: WorkerAsk, now: datetime) -> None:
        """Notes that a worker is alive and what it can load."""

    async def loadable(self, since: datetime) -> Collection[str] | None:
        """Base models that workers heard of since then, or holding a job, can load; None when one can load all."""

    async def expired(self, now: datetime, limit: int) -> Sequence[str]:
        """Names of jobs whose lease is over."""

    async def position_in_project(self, job: TrainingJob) -> int:
        """Place of a waiting job in its project's queue, from 1."""

    async def load(self) -> QueueLoad:
        """The queue as a whole."""

    async def pace(self, base_model: str) -> float:
        """Median seconds for each training sample over the last finished jobs; 0 when there are none."""

    async def epoch(self, job: str, number: int) -> Epoch:
        """A finished epoch; number 0 holds the base model's previews. NotFound."""

    async def epochs(self, job: str, query: Query | None = None) -> Sequence[Epoch]:
        """A page of the finished epochs (see `EPOCHS`); without a query all in order, and number 0 with them."""

    async def count_epochs(self, job: str, query: Query | None = None) -> int:
        """How many finished epochs the job has kept, or of these match the query, without number 0."""

    async def metrics(
        self, job: str, keys: Collection[str], *, since_step: int, stride: int, limit: int
    ) -> Sequence[Metric]:
        """Points of some keys with a larger step, in order; with a stride only those whose step it divides.

        limit: so many steps at most; a step comes whole.
        """

    async def standing(self, name: str) -> tuple[JobState, int]:
        """Where a job stands, and the number of its newest event; cheap, for those who look often. NotFound."""

    async def snapshot(self, name: str) -> tuple[TrainingJob, int]:
        """The job and the sequence of its newest event, read at one moment. NotFound."""

    async def events(self, name: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Events of the job with a larger sequence, in order."""


class Deletions(Protocol):
    """Removes what nobody needs any more, and labels what is kept. A check that raises leaves everything as it was; no
    move comes in between."""

    async def job(self, name: str, check: Callable[[TrainingJob, int], None]) -> TrainingJob:
        """Removes a job with its epochs, points and events, and returns it. check: gets it and the number of its
        finished epochs. NotFound."""

    async def epoch(self, job: str, number: int, check: Callable[[TrainingJob, Epoch], None]) -> Epoch:
        """Removes a finished epoch and returns it. NotFound."""

    async def label(self, job: str, number: int, change: Callable[[Epoch], Epoch]) -> tuple[Epoch, TrainingJob]:
        """Gives a finished epoch the labels of what `change` makes of it; the epoch and its job. NotFound."""


class Leftovers(Protocol):
    """What jobs left behind."""

    def due(self, lifetimes: Lifetimes, now: datetime, *, project: str = "") -> AsyncIterator[Leftover]:
        """What may go by now, jobs first, of a project or of all. An epoch of a job that may go itself is not told.
        What was told may be removed on the way."""


@dataclass(frozen=True, slots=True)
class PresentWorker:
    """A worker, as `WorkerAsk` says. job: that it holds, or ""."""

    worker_id: str
    device: str
    device_memory_bytes: int
    base_models: tuple[str, ...]
    seen_at: datetime
    job: str
    families: tuple[str, ...] = ()
    mixed_precisions: tuple[str, ...] = ()


class Workforce(Protocol):
    """Who trains."""

    async def present(self, since: datetime) -> Sequence[PresentWorker]:
        """The workers heard of since then, or holding a job, by id."""

    async def kinds(self, since: datetime) -> Sequence[WorkerKind]:
        """What those can do, each kind once."""

    async def forget(self, before: datetime) -> int:
        """Forgets workers that were last heard of before then and hold no job, and returns how many."""


class History(Protocol):
    """What is kept of jobs that ended and of requests that were answered."""

    async def thin(self, ended_before: datetime) -> int:
        """Removes the events of the progress of some jobs that ended by then, and returns of how many jobs; 0 when none
        is left. All other events stay, with their numbers."""

    async def forget_requests(self, before: datetime) -> int:
        """Forgets request ids that are older, and returns how many."""

    async def forget_usage(self, before: datetime) -> int:
        """Forgets when attempts were at work that ended before, and returns how many."""


@dataclass(frozen=True, slots=True)
class PresentDevice:
    """A worker's device. memory_bytes: 0 when not known. mixed_precisions: that it computes in, empty for all."""

    device: str
    memory_bytes: int
    mixed_precisions: tuple[str, ...] = ()


class Measurements(Protocol):
    """What runs took, by device and base model. The last `MEASUREMENTS_KEPT` of each are kept."""

    async def add(self, measurement: Measurement) -> None:
        """Adds one, and forgets the oldest of its device and base model that are too many."""

    async def read(self, devices: Collection[str] | None, limit: int) -> Sequence[Measurement]:
        """The newest first; of some devices, or of all."""

    async def unmeasured(self, device: str, base_models: Sequence[str]) -> Sequence[str]:
        """Those of some base models of which nothing was measured on such a device."""

    async def present(self, base_model: str, since: datetime) -> Sequence[PresentDevice]:
        """Devices of the workers heard of since then, or holding a job, that can load the base model."""


MEASUREMENTS_KEPT = 20

QUEUE = "queue"
"""The signal of jobs and preview requests that enter the queue; a job's or request's own signal has its name."""


class Datasets(Protocol):
    """The dataset service, called with the rights of the caller at hand."""

    async def look(self, name: str) -> TrainingSet:
        """The pictures of a dataset, as they are now, or of a version; stores nothing. NotFound."""

    async def pin(self, name: str) -> TrainingSet:
        """The same, but a dataset is frozen first. NotFound; FailedPrecondition when it holds no image."""

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        """A part of a picture (shares of its upright sides) scaled to a size (width, height), as a JPEG. NotFound.

        mask: that part of its mask instead, as a grey PNG.
        """


class Artifacts(Protocol):
    """The files that workers stored."""

    def read(self, file: EpochFile, part: range | None = None) -> AsyncIterator[bytes]:
        """The file, or a part of it, in chunks of at most 256 KiB. NotFound; DataLoss when its digest is not the
        recorded one; of a part when bytes are missing."""

    async def check(self, files: Sequence[EpochFile]) -> None:
        """Raises FailedPrecondition(reason=FILE_MISSING) unless every file is stored in its recorded size."""

    async def delete(self, files: Sequence[EpochFile]) -> None:
        """Removes the files; absent ones are fine."""

    def attempts(self) -> AsyncIterator[tuple[str, int]]:
        """Every (name of a job or preview request, attempt number) that has objects."""

    async def sweep(self, job: str, attempt: int, *, keep: Collection[str], older_than: datetime) -> int:
        """Removes the attempt's objects whose keys are not kept and that are old enough; returns how many."""


def object_prefix(job: str, attempt: int) -> str:
    """Where an attempt writes its objects, ending in a slash. It holds the job's name, so that orphans can be told."""
    return f"trainer/{job}/attempts/{attempt}/"
