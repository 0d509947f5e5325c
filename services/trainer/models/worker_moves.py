"""Every move that a worker makes with a job. Pure, like `moves`.

Each report carries the lease token of its attempt. One that is not the job's current token is refused with
Aborted(reason=LEASE_LOST): the job belongs to someone else by now, and that worker must drop it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument
from services.trainer.models.change import Change
from services.trainer.models.epoch import ARTIFACT_FORMS, Epoch, Metric
from services.trainer.models.events import BasePreviewsCompleted, EpochCompleted, Noticed, Progressed
from services.trainer.models.job import (
    Attempt,
    Directive,
    JobError,
    JobState,
    Lease,
    Outcome,
    Progress,
    TrainingJob,
)
from services.trainer.models.moves import attempt_ended, left, moved

PROGRESS_PAUSE = timedelta(milliseconds=500)
"""Progress is told at most twice a second."""

MOST_NOTICES = 20
"""Of a job; later ones are dropped."""

_DIRECTIVES = {
    JobState.PAUSING: Directive.PAUSE,
    JobState.STOPPING: Directive.STOP,
    JobState.CANCELLING: Directive.CANCEL,
}


def directive_of(job: TrainingJob) -> Directive:
    """What the worker that holds the job should do now."""
    return _DIRECTIVES.get(job.state, Directive.CONTINUE)


def acquire(
    job: TrainingJob, *, worker_id: str, token: str, now: datetime, lease: timedelta, pretends: bool = False
) -> Change:
    """A worker takes a waiting job; the points of steps that it will train anew are forgotten.

    pretends: it will not really train.
    """
    if job.state is not JobState.QUEUED:
        raise FailedPrecondition(
            f"The job is {job.state} and cannot be acquired", reason="JOB_STATE", remedy="Acquire another job."
        )
    number = len(job.attempts) + 1
    attempt = Attempt(number, worker_id, token, start_time=now, first_step=job.steps_saved, pretended=pretends)
    state = JobState.STOPPING if job.stop_requested else JobState.PREPARING
    change = moved(
        job,
        state,
        now,
        f"Worker {worker_id} took it.",
        attempts=(*job.attempts, attempt),
        lease=Lease(token, worker_id, now + lease),
        start_time=job.start_time or now,
    )
    return replace(change, forget_metrics_after=job.steps_saved)


def heartbeat(
    job: TrainingJob,
    *,
    token: str,
    progress: Progress,
    running: bool,
    metrics: Sequence[Metric],
    now: datetime,
    lease: timedelta,
    notices: Sequence[str] = (),
    back_to_step: int | None = None,
) -> Change:
    """A sign of life: renews the lease, brings progress and points, and may turn PREPARING into RUNNING.

    notices: those that the job has change nothing. back_to_step: points of later steps are forgotten before those of
    this report are added; None when the attempt did not go back.
    """
    held = _held(job, token)
    kept = replace(held, expires_at=now + lease)
    # A worker in a long phase says the same twice a second; only what is new is told.
    news = job.progress_told_at is None or progress.sign != job.progress.told
    due = job.progress_told_at is None or now - job.progress_told_at >= PROGRESS_PAUSE
    progress = replace(progress, told=progress.sign if news and due else job.progress.told)
    told_at = now if news and due else job.progress_told_at
    job = replace(job, lease=kept, progress=progress, progress_told_at=told_at, update_time=now)
    change = Change(job)
    if running and job.state is JobState.PREPARING:
        change = moved(job, JobState.RUNNING, now, "Training began.")
    if news and due:
        change = replace(change, events=(*change.events, Progressed(progress, job.total_steps)))
    new = [text for text in dict.fromkeys(notices) if text not in job.notices]
    new = new[: max(0, MOST_NOTICES - len(job.notices))]
    if new:
        told = replace(change.job, notices=(*job.notices, *new))
        change = Change(told, (*change.events, *(Noticed(text) for text in new)))
    return replace(change, metrics=tuple(metrics), forget_metrics_after=back_to_step)


def report_epoch(
    job: TrainingJob,
    epoch: Epoch,
    *,
    token: str,
    recommended_epoch: int,
    recommendation_reason: str,
    now: datetime,
    lease: timedelta,
) -> Change:
    """An epoch is finished and its files are stored. Epochs come in order; a known one changes nothing."""
    held = _held(job, token)
    job = replace(job, lease=replace(held, expires_at=now + lease), update_time=now)
    epoch = replace(epoch, attempt=len(job.attempts), pretended=job.pretended)
    if epoch.number == 0:
        if job.base_previews:
            return Change(job)
        return Change(replace(job, base_previews=epoch.previews), (BasePreviewsCompleted(epoch.previews),), epoch=epoch)
    if epoch.number <= job.epochs_completed:
        return Change(job)
    expected = job.epochs_completed + 1
    if epoch.number != expected or epoch.number > job.parameters.num_epochs:
        raise FailedPrecondition(
            f"Epoch {epoch.number} was reported where epoch {expected} of {job.parameters.num_epochs} was expected",
            reason="EPOCH_OUT_OF_ORDER",
            remedy="Report every epoch once, in order.",
        )
    _check_artifacts(epoch)
    after = replace(
        job,
        epochs_completed=epoch.number,
        recommended_epoch=recommended_epoch,
        recommendation_reason=recommendation_reason,
        progress=replace(job.progress, step=max(job.progress.step, epoch.step), epoch=epoch.number),
        losses=0,
    )
    return Change(after, (EpochCompleted(epoch, recommended_epoch == epoch.number),), epoch=epoch)


def complete(
    job: TrainingJob, *, token: str, outcome: Outcome, error: JobError | None, now: datetime, max_failures: int
) -> Change:
    """The attempt is over. A repeat of the report that ended it changes nothing."""
    if _ended_so_already(job, token, outcome):
        return Change(job)
    _held(job, token)
    if outcome is Outcome.SUCCEEDED:
        return _succeed(job, now)
    if outcome is Outcome.FAILED:
        return _fail(job, error, now, max_failures)
    if outcome is Outcome.RELEASED:
        return left(job, now, outcome, "The worker was told to go and gave the job back.")
    if outcome is Outcome.PAUSED:
        return left(job, now, outcome, "The worker let go.")
    if outcome is Outcome.CANCELLED and job.state is JobState.CANCELLING:
        return left(job, now, outcome, "Cancelled on request.")
    raise InvalidArgument(
        f"An attempt at a job that is {job.state} cannot end as {outcome}",
        field="outcome",
        remedy="Follow the directive of the last answer.",
    )


def _succeed(job: TrainingJob, now: datetime) -> Change:
    ended = attempt_ended(job, now, Outcome.SUCCEEDED, "")
    if job.state is JobState.CANCELLING:
        return moved(ended, JobState.CANCELLED, now, "Cancelled on request.")
    finished = job.epochs_completed >= job.parameters.num_epochs
    if not finished and not (job.stop_requested and job.epochs_completed):
        raise FailedPrecondition(
            f"{job.epochs_completed} of {job.parameters.num_epochs} epochs were reported",
            reason="EPOCHS_MISSING",
            remedy="Report every epoch before the end of the attempt.",
        )
    message = "All epochs are done." if finished else "Stopped on request."
    return moved(ended, JobState.SUCCEEDED, now, message, seconds_per_sample=_pace(ended, now))


def _fail(job: TrainingJob, error: JobError | None, now: datetime, max_failures: int) -> Change:
    if error is None or not error.reason:
        raise InvalidArgument(
            "A failed attempt must say why", field="error", remedy="Fill in reason, message and remedy."
        )
    if job.state is JobState.CANCELLING:
        return left(job, now, Outcome.FAILED, error.message)
    failed = replace(job, failures=job.failures + 1)
    if error.retryable and failed.failures < max_failures:
        return left(failed, now, Outcome.FAILED, error.message)
    ended = attempt_ended(failed, now, Outcome.FAILED, error.message)
    return moved(ended, JobState.FAILED, now, error.message, error=error)


def _held(job: TrainingJob, token: str) -> Lease:
    if job.lease is None or job.lease.token != token:
        raise Aborted(
            "This lease is no longer valid",
            field="lease_token",
            reason="LEASE_LOST",
            remedy="Drop the job and acquire another.",
            metadata={"training_job": job.name},
        )
    return job.lease


def _ended_so_already(job: TrainingJob, token: str, outcome: Outcome) -> bool:
    return any(attempt.token == token and attempt.outcome is outcome for attempt in job.attempts)


def _check_artifacts(epoch: Epoch) -> None:
    if not epoch.artifacts:
        raise InvalidArgument(
            "The epoch has no LoRA file",
            field="epoch.files",
            remedy=f"Store the LoRA as one of {', '.join(ARTIFACT_FORMS)} before reporting the epoch.",
        )


def _pace(job: TrainingJob, now: datetime) -> float:
    """Seconds for each training sample, everything included, in the attempt that just ended; 0 when it trained none."""
    attempt = job.attempts[-1]
    if attempt.pretended:
        return 0.0
    samples = (job.steps_saved - attempt.first_step) * job.samples_per_step
    return (now - attempt.start_time).total_seconds() / samples if samples > 0 else 0.0
