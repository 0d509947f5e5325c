"""What happened to a job. Each is stored in the transaction of the change that it tells of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.trainer.models.epoch import Epoch, Preview
from services.trainer.models.job import JobError, JobState, Progress


@dataclass(frozen=True, slots=True)
class Created:
    """The job was queued for the first time."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The job moved. message: why, a sentence. attempt: the one it belongs to, 0 for none. seconds: that it was in the
    previous state; None for a job that does not know."""

    previous: JobState
    state: JobState
    message: str
    error: JobError | None
    attempt: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """The job got on."""

    progress: Progress
    total_steps: int


@dataclass(frozen=True, slots=True)
class EpochCompleted:
    """An epoch can be saved."""

    epoch: Epoch
    recommended: bool


@dataclass(frozen=True, slots=True)
class BasePreviewsCompleted:
    """The base model's own previews are there."""

    previews: tuple[Preview, ...]


@dataclass(frozen=True, slots=True)
class Noticed:
    """The job helped itself and goes on. text: how, a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Updated:
    """Name, priority or labels of the job are others."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The job is gone, with so many epochs."""

    epoch_count: int


JobEvent = Created | StateChanged | Progressed | EpochCompleted | BasePreviewsCompleted | Noticed | Updated | Deleted


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event out of the log. sequence: from 1 within the job. payload: the event in its published form, JSON."""

    sequence: int
    payload: str
    create_time: datetime
