"""How long what jobs leave behind is kept, counted from the end of the job. Pure.

Three kinds, and each thing is of one kind only. What an epoch or a job holds goes with it: the LoRA, its previews, the
checkpoint, points and log. A job that goes on has no end, so nothing of it is due. The newest and the recommended epoch
are what a delete refuses as well (`models.deleting`): they stay as long as their job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.trainer.models.job import TERMINAL, JobState, TrainingJob


class Kind(StrEnum):
    """Epochs that are neither newest nor recommended; jobs that failed or were cancelled; jobs that succeeded."""

    EPOCHS = "epochs"
    UNSUCCESSFUL_JOBS = "unsuccessful-jobs"
    SUCCESSFUL_JOBS = "successful-jobs"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """After so long each kind may go; None: never."""

    epochs: timedelta | None = None
    unsuccessful_jobs: timedelta | None = None
    successful_jobs: timedelta | None = None

    def of(self, kind: Kind) -> timedelta | None:
        """The lifetime of a kind."""
        found = {
            Kind.EPOCHS: self.epochs,
            Kind.UNSUCCESSFUL_JOBS: self.unsuccessful_jobs,
            Kind.SUCCESSFUL_JOBS: self.successful_jobs,
        }
        return found[kind]

    def at_most(self, age: timedelta | None) -> Lifetimes:
        """Shorter ones for who needs room now; None changes nothing. Jobs that succeeded keep their own: their
        recommended epoch is what the training was for."""
        if age is None:
            return self
        return replace(
            self,
            epochs=age if self.epochs is None else min(age, self.epochs),
            unsuccessful_jobs=age if self.unsuccessful_jobs is None else min(age, self.unsuccessful_jobs),
        )

    def job_is_due(self, job: TrainingJob, now: datetime) -> bool:
        """Whether the job may go with all that it holds."""
        return _over(job, self.of(kind_of(job)), now)

    def epoch_is_due(self, job: TrainingJob, number: int, now: datetime) -> bool:
        """Whether one of its epochs may go, while the job stays."""
        pinned = number in (0, job.epochs_completed, job.recommended_epoch)
        return not pinned and _over(job, self.epochs, now)


def kind_of(job: TrainingJob) -> Kind:
    """The kind of an ended job."""
    return Kind.SUCCESSFUL_JOBS if job.state is JobState.SUCCEEDED else Kind.UNSUCCESSFUL_JOBS


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something whose time is over. number: of the epoch; 0 for the job as a whole. size_bytes: of its files.
    since: when its job ended."""

    kind: Kind
    project: str
    job: str
    number: int
    size_bytes: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a kind, or removed. size_bytes: of the files. oldest: end of the job that ended first; None for
    nothing."""

    kind: Kind
    lifetime: timedelta | None
    count: int = 0
    size_bytes: int = 0
    oldest: datetime | None = None

    def with_one(self, leftover: Leftover) -> Found:
        """One more."""
        oldest = leftover.since if self.oldest is None else min(self.oldest, leftover.since)
        size = self.size_bytes + leftover.size_bytes
        return replace(self, count=self.count + 1, size_bytes=size, oldest=oldest)


def _over(job: TrainingJob, lifetime: timedelta | None, now: datetime) -> bool:
    ended = job.state in TERMINAL and job.end_time is not None
    return ended and lifetime is not None and job.end_time is not None and job.end_time + lifetime <= now
