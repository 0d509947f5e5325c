"""What the tagger speaks about: pictures, raw scores, tags with their origin, and jobs with their moves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from services.chassis.errors import DomainError, FailedPrecondition
from services.chassis.names import check_etag, etag_of

DEFAULT_MAX_TAGS = 30
MAX_TAGS_PER_IMAGE = 200
"""What the dataset service keeps for one image; a longer list is refused there."""
OBJECT = "object"
"""The category of nouns for what a picture shows; subjects are suggested out of it."""
KIND = "kind"
"""The category of what a noun's thing is more exactly: the corgi of `dog`."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    rgb: uint8 (height, width, 3), upright, in sRGB, transparency on white; it may be smaller than the original, never
    below 768 pixels on the shorter side unless the original is. alpha: uint8 (height, width), None when the picture is
    opaque. width, height: of the original in pixels, upright.
    """

    rgb: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8] | None
    width: int
    height: int


@dataclass(frozen=True)
class Category:
    """A group of labels. threshold: scores below it are dropped by default. exclusive: only the best label counts."""

    name: str
    threshold: float
    exclusive: bool = False
    adaptive_floor: float = 0.0
    """The least threshold that MCut may choose."""


@dataclass(frozen=True)
class TaggerInfo:
    """What a backend says of itself. Its name is `taggers/{id}`.

    domain: the kind of pictures it knows; outside it it stays silent. model_sha256: "" where nothing was learnt.
    batch_size: how many pictures `infer` likes at once. measures_only: True when nothing was learnt.
    """

    id: str
    display_name: str
    description: str
    domain: str
    vocabulary: tuple[str, ...]
    categories: tuple[Category, ...]
    model_sha256: str
    device: str
    batch_size: int = 1
    measures_only: bool = False

    @property
    def name(self) -> str:
        """Resource name."""
        return f"taggers/{self.id}"


@dataclass(frozen=True)
class Score:
    """A label with its raw score, 0 to 1, and the backend that gave it. measured: computed, not predicted.

    broader: wider nouns that it counts for as well, the nearest first.
    """

    label: str
    category: str
    score: float
    measured: bool
    tagger: str
    model_sha256: str = ""
    broader: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scores:
    """All raw scores of one picture, or why there are none. outside_domain: the backend does not know such pictures."""

    scores: tuple[Score, ...] = ()
    error: DomainError | None = None
    outside_domain: bool = False


class TagSource(StrEnum):
    """Where a tag comes from."""

    MANUAL = "manual"
    AUTO = "auto"
    MEASURED = "measured"


@dataclass(frozen=True)
class Tag:
    """One label of a stored image; score, tagger, model_sha256 and category are empty for a manual tag."""

    label: str
    source: TagSource = TagSource.MANUAL
    score: float = 0.0
    tagger: str = ""
    model_sha256: str = ""
    category: str = ""


@dataclass(frozen=True)
class ImageRecord:
    """An image of a dataset as it was read; `etag` guards the change that follows.

    width, height: pixels, upright. content_area: left, top, right, bottom of the picture inside its bars, as shares.
    """

    name: str
    tags: tuple[Tag, ...]
    etag: str
    width: int = 0
    height: int = 0
    content_area: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset as it was read."""

    name: str
    trigger_word: str
    image_count: int
    subject: str = ""


class TagMode(StrEnum):
    """What to do where an image has tags already."""

    SKIP = "skip"
    APPEND = "append"
    OVERWRITE_AUTO = "overwrite_auto"


@dataclass(frozen=True)
class TagOptions:
    """How raw scores become tags. threshold: for every category; None means each category's own.

    category_thresholds win over threshold. replace: pairs of old and new label. See tagger.proto for the rest.
    """

    tagger: str = ""
    threshold: float | None = None
    max_tags: int = DEFAULT_MAX_TAGS
    exclude: tuple[str, ...] = ()
    prepend_trigger_word: bool = False
    mode: TagMode = TagMode.APPEND
    prepend: tuple[str, ...] = ()
    category_thresholds: tuple[tuple[str, float], ...] = ()
    adaptive_threshold: bool = False
    replace: tuple[tuple[str, str], ...] = ()
    keep_overlapping: bool = False


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

    outside_domain: no model of the tagger knows such pictures, so that at most measured tags were given.
    """

    image: str
    state: ImageState
    message: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    outside_domain: bool = False


@dataclass(frozen=True)
class TagJob:
    """A run of a tagger over a dataset. revision counts its changes; outcomes holds every image in the job's order.

    request_id, principal: of the caller, so that what the job does carries the same identity.
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

    @property
    def etag(self) -> str:
        """Changes with every change of the job."""
        return etag_of(self.name, self.revision)

    def count(self, state: ImageState) -> int:
        """How many images stand in this state."""
        return sum(outcome.state == state for outcome in self.outcomes)


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
    return tuple(ImageOutcome(outcome.image, new) if outcome.state == old else outcome for outcome in outcomes)


def project_of(name: str) -> str:
    """The project of a resource name: `acme` of `projects/acme/datasets/cats`."""
    return name.split("/")[1]
