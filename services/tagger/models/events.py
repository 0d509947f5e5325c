"""What happened to a tag job. Each is stored in the transaction of the change that it tells of."""

from __future__ import annotations

from dataclasses import dataclass

from services.tagger.models.jobs import JobState


@dataclass(frozen=True)
class Created:
    """The job was queued for the first time."""


@dataclass(frozen=True)
class StateChanged:
    """The job moved. previous: the state before."""

    previous: JobState


@dataclass(frozen=True)
class Deleted:
    """The job is gone."""


TagJobEvent = Created | StateChanged | Deleted
