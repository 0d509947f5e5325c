"""Every move that a user, or the clock, makes with a job. Pure: a job goes in, a `Change` comes out.

An illegal move raises FailedPrecondition(reason=JOB_STATE) that names the state and what is allowed in it. Moves that
repeat what was asked already change nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.chassis.errors import FailedPrecondition
from services.trainer.models.change import Change
from services.trainer.models.events import Created, StateChanged
from services.trainer.models.job import (
    LEASED,
    TERMINAL,
    Attempt,
    JobError,
    JobState,
    Outcome,
    Progress,
    TrainingJob,
)
from services.trainer.recipe.parameters import TrainingParameters


def create(job: TrainingJob) -> Change:
    """A new job enters the queue."""
    return Change(job, (Created(),))


def cancel(job: TrainingJob, now: datetime) -> Change:
    """Ends the job: at once when it waits, by way of CANCELLING when a worker has it."""
    if job.state in (JobState.CANCELLING, JobState.CANCELLED):
        return Change(job)
    if job.state in (JobState.QUEUED, JobState.PAUSED):
        return moved(job, JobState.CANCELLED, now, "Cancelled on request.")
    if job.state in LEASED:
        return moved(job, JobState.CANCELLING, now, "Asked to cancel.")
    raise _illegal(job, "cancelled")


def pause(job: TrainingJob, now: datetime) -> Change:
    """Takes the job out of the queue, or off its worker by way of PAUSING."""
    if job.state in (JobState.PAUSING, JobState.PAUSED):
        return Change(job)
    if job.state is JobState.QUEUED:
        return moved(job, JobState.PAUSED, now, "Paused on request.")
    if job.state in (JobState.PREPARING, JobState.RUNNING):
        return moved(job, JobState.PAUSING, now, "Asked to pause.")
    raise _illegal(job, "paused")


def resume(job: TrainingJob, now: datetime) -> Change:
    """Queues a paused job again; it goes on from its last finished epoch."""
    if job.state is not JobState.PAUSED:
        raise _illegal(job, "resumed")
    return requeued(job, now, "Resumed on request.", queued_at=now)


def stop(job: TrainingJob, now: datetime) -> Change:
    """Ends the job as succeeded: after the epoch at hand, or at once when it waits and has a finished epoch."""
    if job.state is JobState.STOPPING:
        return Change(job)
    if job.state in (JobState.PREPARING, JobState.RUNNING):
        return moved(job, JobState.STOPPING, now, "Asked to stop after this epoch.", stop_requested=True)
    if job.state in (JobState.QUEUED, JobState.PAUSED) and job.epochs_completed:
        return moved(job, JobState.SUCCEEDED, now, "Stopped on request.")
    raise _illegal(job, "stopped")


def retry(job: TrainingJob, now: datetime) -> Change:
    """Queues a failed or cancelled job again with a fresh retry budget."""
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise _illegal(job, "retried")
    if job.epochs_completed >= job.parameters.num_epochs:
        return moved(job, JobState.SUCCEEDED, now, "All epochs were done already.", error=None)
    return requeued(job, now, "Retried on request.", queued_at=now, fresh=True)


def extend(job: TrainingJob, parameters: TrainingParameters, now: datetime) -> Change:
    """Queues a succeeded job again for more epochs. parameters: the job's own with the new `num_epochs`."""
    if job.state is not JobState.SUCCEEDED:
        raise _illegal(job, "extended")
    message = f"Extended to {parameters.num_epochs} epochs."
    return requeued(replace(job, parameters=parameters), now, message, queued_at=now, fresh=True)


def expire(job: TrainingJob, now: datetime, *, max_losses: int) -> Change:
    """Takes the job from a worker that was not heard of in time; does nothing while the lease holds."""
    if job.lease is None or job.lease.expires_at > now:
        return Change(job)
    lost = replace(job, losses=job.losses + 1)
    message = f"Worker {job.lease.worker_id} was not heard of in time."
    if lost.losses >= max_losses and job.state not in (JobState.CANCELLING, JobState.PAUSING):
        error = JobError(
            "WORKER_LOST_REPEATEDLY",
            f"{lost.losses} workers in a row were lost with this job before an epoch was finished.",
            "Lower batch_size or resolution in case the job exhausts a worker's memory; else look at the workers.",
            retryable=True,
        )
        return moved(attempt_ended(lost, now, Outcome.LEASE_LOST, message), JobState.FAILED, now, message, error=error)
    return left(lost, now, Outcome.LEASE_LOST, message)


def left(job: TrainingJob, now: datetime, outcome: Outcome, message: str) -> Change:
    """The worker is gone before the job was done: where the job goes depends on what was asked of it meanwhile."""
    ended = attempt_ended(job, now, outcome, message)
    if job.state is JobState.CANCELLING:
        return moved(ended, JobState.CANCELLED, now, "Cancelled on request.")
    if job.state is JobState.PAUSING:
        return moved(ended, JobState.PAUSED, now, "Paused on request.")
    if job.stop_requested and job.epochs_completed:
        return moved(ended, JobState.SUCCEEDED, now, "Stopped on request.")
    # It keeps its age: losing a worker must not send a job to the end of the queue.
    return requeued(ended, now, message, queued_at=job.queued_at)


def moved(job: TrainingJob, state: JobState, now: datetime, message: str, **changes: object) -> Change:
    """The job in another state with the event that says so. Terminal states close the job's clock and lease."""
    if state in TERMINAL:
        changes = {"end_time": now, "lease": None, "stop_requested": False, **changes}
        changes["progress"] = replace(job.progress, eta_seconds=0.0, phase="")
    if state is JobState.PAUSED:
        changes = {"lease": None, "progress": rewound(job), **changes}
    # mypy cannot check ** of mixed types against the dataclass; the callers in this package name real fields.
    changes |= {"state": state, "state_time": now, "update_time": now, "revision": job.revision + 1}
    after = replace(job, **changes)  # type: ignore[arg-type]
    seconds = None if job.state_time is None else (now - job.state_time).total_seconds()
    return Change(after, (StateChanged(job.state, state, message, after.error, len(after.attempts), seconds),))


def requeued(job: TrainingJob, now: datetime, message: str, *, queued_at: datetime, fresh: bool = False) -> Change:
    """The job waits for a worker again, at its last finished epoch. fresh: with a new retry budget."""
    budget: dict[str, object] = {"failures": 0, "losses": 0, "stop_requested": False} if fresh else {}
    return moved(
        job,
        JobState.QUEUED,
        now,
        message,
        queued_at=queued_at,
        lease=None,
        error=None,
        end_time=None,
        progress=rewound(job),
        **budget,
    )


def attempt_ended(job: TrainingJob, now: datetime, outcome: Outcome, message: str) -> TrainingJob:
    """The job with its running attempt closed and without a lease."""
    running: Attempt = job.attempts[-1]
    closed = replace(running, end_time=now, outcome=outcome, message=message)
    return replace(job, attempts=(*job.attempts[:-1], closed), lease=None)


def rewound(job: TrainingJob) -> Progress:
    """Progress at the last finished epoch, from where any later attempt goes on."""
    return Progress(step=job.steps_saved, epoch=job.epochs_completed, loss=job.progress.loss)


def allowed_verbs(job: TrainingJob) -> tuple[str, ...]:
    """What a user may do with the job now."""
    waiting = ("cancel", "stop") if job.epochs_completed else ("cancel",)
    table: dict[JobState, tuple[str, ...]] = {
        JobState.QUEUED: ("pause", *waiting),
        JobState.PREPARING: ("pause", "cancel", "stop"),
        JobState.RUNNING: ("pause", "cancel", "stop"),
        JobState.PAUSING: ("pause", "cancel"),
        JobState.PAUSED: ("pause", "resume", *waiting),
        JobState.STOPPING: ("stop", "cancel"),
        JobState.CANCELLING: ("cancel",),
        JobState.SUCCEEDED: ("extend",),
        JobState.FAILED: ("retry",),
        JobState.CANCELLED: ("cancel", "retry"),
    }
    return table[job.state]


def _illegal(job: TrainingJob, participle: str) -> FailedPrecondition:
    allowed = ", ".join(allowed_verbs(job))
    return FailedPrecondition(
        f"The job is {job.state} and cannot be {participle}",
        reason="JOB_STATE",
        remedy=f"In this state it allows: {allowed}.",
        metadata={"state": job.state.value, "allowed": allowed},
    )
