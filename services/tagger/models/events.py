"""What happened to a tag job. Each is stored in the transaction of the change that it tells of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.tagger.models.jobs import JobState

PROGRESS_PAUSE = timedelta(seconds=1)
"""Between two events that tell of progress."""


@dataclass(frozen=True)
class Created:
    """The job was queued for the first time."""


@dataclass(frozen=True)
class StateChanged:
    """The job moved. previous: the state before."""

    previous: JobState


@dataclass(frozen=True)
class Progressed:
    """More images are done. Counts of images, in all and by what became of them."""

    total: int
    tagged: int
    skipped: int
    failed: int

    @property
    def done(self) -> int:
        """Images whose turn has been."""
        return self.tagged + self.skipped + self.failed


@dataclass(frozen=True)
class Deleted:
    """The job is gone."""


TagJobEvent = Created | StateChanged | Progressed | Deleted


def progress_due(told_at: datetime | None, now: datetime) -> bool:
    """Whether progress may be told again. told_at: when it was last; None before any."""
    return told_at is None or now - told_at >= PROGRESS_PAUSE
