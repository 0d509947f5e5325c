"""A preview request: what is drawn, where it stands, and which cells are there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.chassis.errors import NotFound
from services.chassis.names import etag_of
from services.trainer.models.epoch import EpochFile
from services.trainer.models.job import Attempt, JobError, Lease
from services.trainer.recipe.preview_cells import Cell, cells_of

_JOB = re.compile(r"projects/[^/]+/trainingJobs/[^/]+")
_EPOCH = re.compile(r"(projects/[^/]+/trainingJobs/[^/]+)/epochs/([0-9]+)")


class PreviewState(StrEnum):
    """Where a request stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ENDED = frozenset({PreviewState.SUCCEEDED, PreviewState.FAILED, PreviewState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw. width, height: pixels. guidance: classifier-free."""

    sources: tuple[str, ...]
    strengths: tuple[float, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Everything that is to be drawn, in order."""
        return cells_of(self.sources, self.strengths, self.prompts, self.seeds)

    @property
    def live_job(self) -> str:
        """The job that is drawn as it stands now; "" for epochs and versions."""
        return self.sources[0] if _JOB.fullmatch(self.sources[0]) else ""


@dataclass(frozen=True, slots=True)
class DrawnCell:
    """A cell that is drawn. step: optimizer steps done, of a job as it stands now; else 0. width, height: pixels."""

    index: int
    file: EpochFile
    width: int
    height: int
    step: int = 0


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """A request.

    Attributes:
        name: `projects/{project}/previewRequests/{preview_request}`.
        entry: of the catalogue, which a worker must load where the base model is one of the project's own; else "".
        wanted_until: when it ends unless somebody watches it; None for one that nobody needs to watch.
        cells: drawn so far, by index.
        attempts: tries, oldest first; number, worker and token of each.
        expire_time: when it is removed; pushed on at its end.
        revision: counts the changes that callers see.
    """

    name: str
    project: str
    base_model: str
    drawing: Drawing
    create_time: datetime
    expire_time: datetime
    wanted_until: datetime | None = None
    state: PreviewState = PreviewState.QUEUED
    cells: tuple[DrawnCell, ...] = ()
    error: JobError | None = None
    attempts: tuple[Attempt, ...] = ()
    lease: Lease | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    revision: int = 1
    entry: str = ""

    @property
    def etag(self) -> str:
        """Changes with state and cells."""
        return etag_of(self.name, self.revision)

    @property
    def pretended(self) -> bool:
        """Whether some of it may come from a worker that only pretends to train."""
        return any(attempt.pretended for attempt in self.attempts)


def epoch_of(source: str) -> tuple[str, int] | None:
    """Job and number of a source that is an epoch."""
    found = _EPOCH.fullmatch(source)
    return (found.group(1), int(found.group(2))) if found else None


def is_version(source: str) -> bool:
    """Whether a source is a model version."""
    return "/models/" in source


def preview_not_found(name: str) -> NotFound:
    """No request has this name, or no longer."""
    return NotFound(
        f"There is no preview request '{name}'",
        field="name",
        reason="PREVIEW_REQUEST_NOT_FOUND",
        remedy="Requests are kept for a day; list the project's, or ask anew.",
    )
