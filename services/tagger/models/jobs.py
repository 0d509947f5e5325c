"""Tag jobs and their moves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.chassis.errors import FailedPrecondition
from services.chassis.names import check_etag, etag_of
from services.tagger.models.tags import TagOptions


class JobState(StrEnum):
    """States of a tag job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more unless someone retries the job."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class ImageState(StrEnum):
    """Where one image of a job stands. LEFT: the job was cancelled before its turn."""

    PENDING = "pending"
    TAGGED = "tagged"
    SKIPPED = "skipped"
    FAILED = "failed"
    LEFT = "left"


@dataclass(frozen=True)
class ImageOutcome:
    """What became of one image. message: why it failed. added, removed: labels, as they were or would be changed.

    outside_domain: no model of the tagger knows such pictures, so that at most measured tags were given. calls: that
    were made to a captioner's server, over all tries. rescored: kept scores were used. caption: that was, or would be,
    written.
    """

    image: str
    state: ImageState
    message: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    outside_domain: bool = False
    calls: int = 0
    rescored: bool = False
    caption: str = ""


@dataclass(frozen=True)
class TagJob:
    """A run of a tagger over a dataset. revision counts its changes; outcomes holds every image in the job's order.

    request_id, principal: of the caller, so that what the job does carries the same identity. traceparent: of the call
    that created it; "" where none is known.
    """

    name: str
    dataset: str
    options: TagOptions
    created_at: datetime
    state: JobState = JobState.QUEUED
    dry_run: bool = False
    error: str = ""
    note: str = ""
    ended_at: datetime | None = None
    revision: int = 1
    request_id: str = ""
    principal: str = ""
    outcomes: tuple[ImageOutcome, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    traceparent: str = ""

    @property
    def etag(self) -> str:
        """Changes with every change of the job."""
        return etag_of(self.name, self.revision)

    def count(self, state: ImageState) -> int:
        """How many images stand in this state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def calls(self) -> int:
        """Requests to a captioner's server that it has cost so far."""
        return sum(outcome.calls for outcome in self.outcomes)


def cancelled(job: TagJob, now: datetime) -> TagJob:
    """The job, stopped; images whose turn had not come are left. Raises FailedPrecondition when it has ended."""
    if job.state.ended:
        raise FailedPrecondition(
            f"The tag job has ended ({job.state}) and cannot be cancelled",
            field="name",
            reason="TAG_JOB_ENDED",
            remedy="Nothing needs to be stopped.",
            metadata={"state": job.state},
        )
    return replace(
        job,
        state=JobState.CANCELLED,
        ended_at=now,
        outcomes=_moved(job.outcomes, ImageState.PENDING, ImageState.LEFT),
    )


def retried(job: TagJob) -> TagJob:
    """The job, queued again for its failed images. Raises FailedPrecondition when it goes on or nothing failed."""
    if not job.state.ended:
        raise FailedPrecondition(
            f"The tag job has not ended ({job.state})",
            field="name",
            reason="TAG_JOB_ACTIVE",
            remedy="Wait for its end or cancel it first.",
            metadata={"state": job.state},
        )
    if not job.count(ImageState.FAILED):
        raise FailedPrecondition(
            "No image of this tag job failed",
            field="name",
            reason="NOTHING_TO_RETRY",
            remedy="Start a new tag job to tag the dataset again.",
        )
    return replace(
        job,
        state=JobState.QUEUED,
        error="",
        ended_at=None,
        outcomes=_moved(job.outcomes, ImageState.FAILED, ImageState.PENDING),
    )


def check_delete(job: TagJob, etag: str) -> None:
    """Raises Aborted for an old etag, and FailedPrecondition(reason=TAG_JOB_ACTIVE) until the job has ended."""
    check_etag(etag, job.etag)
    if not job.state.ended:
        raise FailedPrecondition(
            f"The tag job is {job.state} and cannot be deleted",
            field="name",
            reason="TAG_JOB_ACTIVE",
            remedy="Cancel it first, or wait for its end.",
            metadata={"state": job.state},
        )


def completed(job: TagJob, now: datetime) -> TagJob:
    """The job after its last image: succeeded, or failed when not one image could be handled."""
    failed = [outcome for outcome in job.outcomes if outcome.state == ImageState.FAILED]
    if failed and len(failed) == len(job.outcomes):
        return given_up(job, f"No image could be tagged; the first failed so: {failed[0].message}", now)
    return replace(job, state=JobState.SUCCEEDED, ended_at=now)


def given_up(job: TagJob, error: str, now: datetime) -> TagJob:
    """The job, failed as a whole; images whose turn had not come fail with it, so that a retry takes them up again."""
    outcomes = tuple(
        replace(outcome, state=ImageState.FAILED, message=error) if outcome.state == ImageState.PENDING else outcome
        for outcome in job.outcomes
    )
    return replace(job, state=JobState.FAILED, error=error, ended_at=now, outcomes=outcomes)


def _moved(outcomes: tuple[ImageOutcome, ...], old: ImageState, new: ImageState) -> tuple[ImageOutcome, ...]:
    return tuple(
        ImageOutcome(outcome.image, new, calls=outcome.calls) if outcome.state == old else outcome
        for outcome in outcomes
    )


def project_of(name: str) -> str:
    """The project of a resource name: `acme` of `projects/acme/datasets/cats`."""
    return name.split("/")[1]
