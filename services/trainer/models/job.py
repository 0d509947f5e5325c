"""A training job: where it stands, who works on it, and what became of each attempt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.chassis.names import etag_of
from services.trainer.models.epoch import Preview
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.skills import needed_skill, unskilled


class JobState(StrEnum):
    """Where a job stands; see design §4 for the picture."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    STOPPING = "STOPPING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


LEASED = frozenset({JobState.PREPARING, JobState.RUNNING, JobState.PAUSING, JobState.STOPPING, JobState.CANCELLING})
"""States in which exactly one worker holds the job."""

TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""States that only RetryTrainingJob and ExtendTrainingJob lead out of."""


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    LEASE_LOST = "LEASE_LOST"
    RELEASED = "RELEASED"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"


class Directive(StrEnum):
    """What a worker is told when it reports."""

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed. reason: stable UPPER_SNAKE word. remedy: what to change before trying again."""

    reason: str
    message: str
    remedy: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class EarlierLora:
    """A LoRA that a job goes on from. name: of a model version, by its number, or of an epoch.

    form: that a worker reads it in. sha256: of the file that it is stored as, which may be of another form.
    """

    name: str
    form: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TrainedDataset:
    """One of several datasets of a job. version: its name; digest: over its contents. weight: of its steps beside the
    others. regularization: its pictures keep the base model in place, and have no weight."""

    version: str
    digest: str
    weight: float = 1.0
    regularization: bool = False
    image_count: int = 0
    trigger_word: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a worker took the job.

    number: from 1. token: of its lease, kept so that a repeated report of its end is recognised. first_step: optimizer
    steps that were done when it began. outcome: None while it goes on. pretended: the worker does not really train.
    """

    number: int
    worker_id: str
    token: str
    start_time: datetime
    first_step: int = 0
    end_time: datetime | None = None
    outcome: Outcome | None = None
    message: str = ""
    pretended: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to report on the job, until `expires_at`; the token is the fence."""

    token: str
    worker_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the attempt at hand is. step: optimizer steps of the whole job. epoch: at hand, from 1; 0 before.

    told: `sign` of the one that the last event told of; "" before any.
    """

    step: int = 0
    epoch: int = 0
    phase: str = ""
    loss: float = 0.0
    images_per_second: float = 0.0
    eta_seconds: float = 0.0
    learning_rate: float = 0.0
    told: str = ""

    @property
    def sign(self) -> str:
        """Short, and another for anything else that can be said of it."""
        said = (self.step, self.epoch, self.phase, self.loss, self.images_per_second, self.eta_seconds)
        return hashlib.blake2b(repr((*said, self.learning_rate)).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A fine-tune of one base model on frozen dataset versions.

    Attributes:
        name: `projects/{project}/trainingJobs/{training_job}`.
        dataset_version: name of the frozen version, the first that is trained; `dataset_digest` is over its contents.
        datasets: all of them, regularisation pictures included; () where one is trained alone.
        steps_per_epoch: exact, from the one planning function; samples_per_step: pictures behind one optimizer step.
        attempts: oldest first. failures: attempts that spent the retry budget. losses: workers lost in a row since the
            last finished epoch; hardware does not spend the budget, but a job that kills every worker must end.
        stop_requested: end as succeeded after the epoch at hand, also when another worker has to finish it.
        queued_at: its age in the queue; a job that lost its worker keeps its place.
        progress_told_at: when the last progress event was written.
        seconds_per_sample: measured by the attempt that finished the job; 0 before.
        labels: the caller's own.
        state_time: when it came into its state; None for a job of before that was kept.
        notices: what it did to help itself, a sentence each, oldest first.
        memory_bytes: that it should need of a worker's device by the estimate at its creation, and memory_low_bytes at
            the least; 0 when nothing is known.
        entry: of the catalogue, which a worker must load where the base model is one of the project's own; else "".
        revision: counts the changes of state and of what a caller may edit.
        initial_lora: that it goes on from, if any.
        traceparent: of the call that created it, to which all that becomes of it belongs; "" where none is known.
    """

    name: str
    project: str
    display_name: str
    base_model: str
    dataset_version: str
    dataset_digest: str
    image_count: int
    trigger_word: str
    parameters: TrainingParameters
    steps_per_epoch: int
    samples_per_step: int
    priority: int
    create_time: datetime
    update_time: datetime
    queued_at: datetime
    state: JobState = JobState.QUEUED
    progress: Progress = field(default_factory=Progress)
    epochs_completed: int = 0
    error: JobError | None = None
    recommended_epoch: int = 0
    recommendation_reason: str = ""
    attempts: tuple[Attempt, ...] = ()
    lease: Lease | None = None
    failures: int = 0
    losses: int = 0
    stop_requested: bool = False
    base_previews: tuple[Preview, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    progress_told_at: datetime | None = None
    seconds_per_sample: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    state_time: datetime | None = None
    revision: int = 1
    notices: tuple[str, ...] = ()
    traceparent: str = ""
    memory_bytes: int = 0
    memory_low_bytes: int = 0
    entry: str = ""
    initial_lora: EarlierLora | None = None
    datasets: tuple[TrainedDataset, ...] = ()

    @property
    def loads(self) -> str:
        """Name of the base model of the catalogue that a worker must be able to load."""
        return self.entry or self.base_model

    @property
    def needs_skill(self) -> int:
        """The least skill of a worker's program."""
        return needed_skill(self.parameters, goes_on=self.initial_lora is not None, mixes=bool(self.datasets))

    def unskilled(self, skill: int) -> str:
        """What of it a program of less skill cannot do, see `recipe.skills`."""
        return unskilled(self.parameters, skill, goes_on=self.initial_lora is not None, mixes=bool(self.datasets))

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return self.steps_per_epoch * self.parameters.num_epochs

    @property
    def job_id(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[1]

    @property
    def etag(self) -> str:
        """Changes with every move; progress leaves it alone."""
        return etag_of(self.name, self.revision)

    @property
    def pretended(self) -> bool:
        """Whether something of it may come from a worker that only pretends to train."""
        return any(attempt.pretended for attempt in self.attempts)

    @property
    def steps_saved(self) -> int:
        """Optimizer steps up to the last finished epoch: where a new attempt goes on."""
        return self.steps_per_epoch * self.epochs_completed

    @property
    def steps_left(self) -> int:
        """Optimizer steps from there to its end, which a stop brings nearer."""
        left = self.total_steps - self.steps_saved
        return min(left, self.steps_per_epoch) if self.stop_requested else left
