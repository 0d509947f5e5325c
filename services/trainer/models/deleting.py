"""What pins jobs and epochs: the rules of deletes, which ask for `force` where others go along. Pure."""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.names import check_etag
from services.trainer.models.epoch import Epoch
from services.trainer.models.job import TERMINAL, TrainingJob


def check_job_delete(job: TrainingJob, *, epochs: int, etag: str, force: bool) -> None:
    """epochs: how many the job has kept. Raises Aborted, and FailedPrecondition(reason=JOB_STATE or JOB_HAS_EPOCHS)."""
    check_etag(etag, job.etag)
    if job.state not in TERMINAL:
        raise FailedPrecondition(
            f"The job is {job.state} and cannot be deleted",
            field="name",
            reason="JOB_STATE",
            remedy="Cancel it first, or wait for its end.",
            metadata={"state": job.state.value},
        )
    if epochs and not force:
        raise FailedPrecondition(
            f"The job has {epochs} finished epoch{'s' if epochs > 1 else ''}",
            field="force",
            reason="JOB_HAS_EPOCHS",
            remedy="Save the epochs that you want to keep into a model, then set force to delete them all.",
            metadata={"epochs": str(epochs)},
        )


def check_epoch_delete(job: TrainingJob, epoch: Epoch, *, etag: str) -> None:
    """Raises Aborted, and FailedPrecondition(reason=EPOCH_PINNED): a job goes on from its newest epoch."""
    check_etag(etag, epoch.etag)
    newest, recommended = epoch.number == job.epochs_completed, epoch.number == job.recommended_epoch
    if newest or recommended:
        why = "is the newest one, from which the job goes on" if newest else "is the one that the job recommends"
        raise FailedPrecondition(
            f"Epoch {epoch.number} {why}",
            field="name",
            reason="EPOCH_PINNED",
            remedy="Delete other epochs, or the job as a whole.",
        )


class NotDueError(Exception):
    """What was to be cleaned up is to be kept longer, after all."""


def check_due(due: bool) -> None:
    """Raises NotDueError of what is to be kept longer."""
    if not due:
        raise NotDueError


def job_not_found(name: str) -> NotFound:
    """No job has this name."""
    return NotFound(
        f"There is no training job '{name}'",
        field="name",
        reason="JOB_NOT_FOUND",
        remedy="List the project's jobs.",
    )


def epoch_not_found(job: str, number: int) -> NotFound:
    """The job has no such epoch, or no longer."""
    return NotFound(
        f"There is no finished epoch '{job}/epochs/{number}'",
        field="name",
        reason="EPOCH_NOT_FOUND",
        remedy="List the job's epochs to see which are finished.",
    )
