"""What a move does: the job after it, and all that must be stored with it or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from services.trainer.models.epoch import Epoch, Metric
from services.trainer.models.events import JobEvent
from services.trainer.models.job import TrainingJob


@dataclass(frozen=True, slots=True)
class Change:
    """The result of a move.

    epoch: a finished epoch to add. metrics: points to add. forget_metrics_after: points of later steps go, because the
    job trains those steps anew; None leaves all.
    """

    job: TrainingJob
    events: tuple[JobEvent, ...] = ()
    epoch: Epoch | None = None
    metrics: tuple[Metric, ...] = ()
    forget_metrics_after: int | None = None
