"""Every move of a preview request, by callers, workers and the clock. Pure: a request goes in, another comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument
from services.chassis.names import check_etag
from services.trainer.models.job import Attempt, JobError, Lease, Outcome
from services.trainer.models.preview_request import ENDED, DrawnCell, PreviewRequest, PreviewState

MAX_ATTEMPTS = 3
"""Tries of a request before it is given up."""
ATTENDED_FOR = timedelta(seconds=30)
"""How long an attended request lives on when nobody watches it."""

_LOST = JobError("WORKER_LOST", "The workers that drew it fell silent.", "Ask again; tell the operator if it persists.")


def acquire(
    request: PreviewRequest, *, worker_id: str, token: str, now: datetime, lease: timedelta, pretends: bool
) -> PreviewRequest:
    """A worker takes a waiting request."""
    attempt = Attempt(len(request.attempts) + 1, worker_id, token, now, pretended=pretends)
    return _changed(
        request,
        state=PreviewState.RUNNING,
        attempts=(*request.attempts, attempt),
        lease=Lease(token, worker_id, now + lease),
        start_time=request.start_time or now,
    )


def report(
    request: PreviewRequest, cells: Sequence[DrawnCell], *, token: str, now: datetime, lease: timedelta
) -> PreviewRequest:
    """Adds cells and renews the lease. Raises Aborted(reason=LEASE_LOST), InvalidArgument for cells that are none."""
    held = _held(request, token)
    count = len(request.drawing.cells)
    wrong = next((cell.index for cell in cells if cell.index >= count), None)
    if wrong is not None:
        raise InvalidArgument(f"Cell {wrong} is none of {count}", field="cells", remedy="Report cells of the request.")
    renewed = replace(request, lease=replace(held, expires_at=now + lease))
    if not cells:
        return renewed
    all_cells = {cell.index: cell for cell in (*request.cells, *cells)}
    return _changed(renewed, cells=tuple(all_cells[index] for index in sorted(all_cells)))


def complete(
    request: PreviewRequest, outcome: Outcome, error: JobError | None, *, token: str, now: datetime, keep: timedelta
) -> PreviewRequest:
    """Ends a try. Raises Aborted(reason=LEASE_LOST), InvalidArgument when cells or the reason of a failure lack."""
    _held(request, token)
    if outcome is Outcome.SUCCEEDED:
        if len(request.cells) < len(request.drawing.cells):
            raise InvalidArgument("Not every cell is drawn", field="cells", remedy="Report each cell first.")
        return _ended(_let_go(request, now, outcome), PreviewState.SUCCEEDED, now, keep)
    if outcome is Outcome.FAILED:
        if error is None or not error.reason:
            raise InvalidArgument("A failed try must say why", field="error", remedy="Fill in reason and message.")
        failed = _let_go(request, now, outcome, error.message)
        if error.retryable and _tries(failed) < MAX_ATTEMPTS:
            return _changed(failed, state=PreviewState.QUEUED)
        return _ended(failed, PreviewState.FAILED, now, keep, error)
    # Given back: whoever takes it next draws what lacks.
    return _changed(_let_go(request, now, Outcome.RELEASED), state=PreviewState.QUEUED)


def cancel(request: PreviewRequest, now: datetime, keep: timedelta, error: JobError | None = None) -> PreviewRequest:
    """Ends a request at once; its worker hears of it at the next report.

    Raises FailedPrecondition(reason=PREVIEW_REQUEST_STATE) when it has ended otherwise.
    """
    if request.state is PreviewState.CANCELLED:
        return request
    if request.state in ENDED:
        raise FailedPrecondition(
            f"The preview request is {request.state} and cannot be cancelled",
            field="name",
            reason="PREVIEW_REQUEST_STATE",
            remedy="It has ended; nothing is left to cancel.",
            metadata={"state": request.state.value},
        )
    return _ended(_let_go(request, now, Outcome.CANCELLED), PreviewState.CANCELLED, now, keep, error)


def expire_lease(request: PreviewRequest, now: datetime, keep: timedelta) -> PreviewRequest:
    """Takes a request off a worker that fell silent."""
    if request.lease is None or request.lease.expires_at > now:
        return request
    lost = _let_go(request, now, Outcome.LEASE_LOST)
    if _tries(lost) >= MAX_ATTEMPTS:
        return _ended(lost, PreviewState.FAILED, now, keep, _LOST)
    return _changed(lost, state=PreviewState.QUEUED)


def abandon(request: PreviewRequest, now: datetime, keep: timedelta) -> PreviewRequest:
    """Cancels an attended request that nobody watches any more."""
    if request.state in ENDED or request.wanted_until is None or request.wanted_until > now:
        return request
    error = JobError("CALLER_GONE", "Nobody watched it any more.", "Ask again, and watch it to its end.")
    return cancel(request, now, keep, error)


def job_ended(request: PreviewRequest, now: datetime, keep: timedelta) -> PreviewRequest:
    """Fails a waiting request for a job as it stands now: the job is not at work any more."""
    if request.state is not PreviewState.QUEUED:
        return request
    error = JobError("JOB_NOT_AT_WORK", "The job was let go before it was drawn.", "Ask for one of its epochs.")
    return _ended(request, PreviewState.FAILED, now, keep, error)


def watched(request: PreviewRequest, now: datetime) -> PreviewRequest:
    """Keeps an attended request alive."""
    if request.state in ENDED or request.wanted_until is None:
        return request
    return replace(request, wanted_until=now + ATTENDED_FOR)


def check_delete(request: PreviewRequest, etag: str) -> None:
    """Raises Aborted, and FailedPrecondition(reason=PREVIEW_REQUEST_STATE) unless it has ended."""
    check_etag(etag, request.etag)
    if request.state not in ENDED:
        raise FailedPrecondition(
            f"The preview request is {request.state} and cannot be deleted",
            field="name",
            reason="PREVIEW_REQUEST_STATE",
            remedy="Cancel it first, or wait for its end.",
            metadata={"state": request.state.value},
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A waiting request in the queue."""

    name: str
    project: str
    create_time: datetime


def turns(waiting: Sequence[Waiting], running: Mapping[str, int], served: Mapping[str, datetime]) -> list[Waiting]:
    """The order in which waiting requests are taken: the projects with the fewest at work first, then those that were
    served longest ago; within a project the oldest. running, served: by project, where there is something."""

    def place(one: Waiting) -> tuple[int, float, datetime, str]:
        last = served.get(one.project)
        return running.get(one.project, 0), last.timestamp() if last else 0.0, one.create_time, one.name

    return sorted(waiting, key=place)


def _held(request: PreviewRequest, token: str) -> Lease:
    if request.lease is None or request.lease.token != token:
        raise Aborted(
            "This lease is no longer valid",
            field="lease_token",
            reason="LEASE_LOST",
            remedy="Drop the preview request and acquire another.",
            metadata={"preview_request": request.name},
        )
    return request.lease


def _let_go(request: PreviewRequest, now: datetime, outcome: Outcome, message: str = "") -> PreviewRequest:
    if request.lease is None:
        return request
    closed = replace(request.attempts[-1], end_time=now, outcome=outcome, message=message)
    return replace(request, lease=None, attempts=(*request.attempts[:-1], closed))


def _tries(request: PreviewRequest) -> int:
    return sum(attempt.outcome is not Outcome.RELEASED for attempt in request.attempts)


def _ended(
    request: PreviewRequest, state: PreviewState, now: datetime, keep: timedelta, error: JobError | None = None
) -> PreviewRequest:
    return _changed(request, state=state, error=error, end_time=now, expire_time=now + keep)


def _changed(request: PreviewRequest, **changes: object) -> PreviewRequest:
    return replace(request, revision=request.revision + 1, **changes)  # type: ignore[arg-type]
