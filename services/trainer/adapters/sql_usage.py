"""What projects use of the queue and of the GPUs, counted where nobody comes between.

The row of a project's share is the lock under which its jobs are counted. Lock a job's row first; only who takes a job
from the queue locks the share before, and passes over jobs that others hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, and_, case, func, literal, or_, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.outbox import Outbox
from services.chassis.sql import UtcDateTime
from services.chassis.usage_events import usage_event
from services.trainer.adapters.sql_tables import attempts, base_models, jobs, previews, shares
from services.trainer.models.job import Attempt, TrainingJob
from services.trainer.models.own_base_model import OwnBaseModel
from services.trainer.models.preview_request import PreviewRequest
from services.trainer.models.queue import ProjectUse


@dataclass(frozen=True, slots=True)
class ProjectJobs:
    """How many of a project's jobs wait, and how many a worker holds."""

    waiting: int
    running: int


_times = attempts.c
_MICROSECONDS = 1_000_000


async def lock_share(conn: AsyncConnection, project: str) -> ProjectJobs:
    """The project's jobs as they stay until the transaction ends, but for what it does itself: whoever adds to them or
    takes one waits from here on. Adds the project's row, unless it is there; two transactions may race."""
    own = shares.c.project == project
    statement = select(shares.c.waiting, shares.c.running).where(own).with_for_update()
    row = (await conn.execute(statement)).one_or_none()
    if row is None:
        dialect_insert: Any = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        await conn.execute(dialect_insert(shares).values(project=project, served_at=None).on_conflict_do_nothing())
        row = (await conn.execute(statement)).one()
    return ProjectJobs(row.waiting, row.running)


async def unfinished_previews(conn: AsyncConnection, project: str) -> int:
    """Preview requests of the project that have not ended."""
    mine = previews.c.project == project, previews.c.end_time.is_(None)
    return await conn.scalar(select(func.count()).select_from(previews).where(*mine)) or 0


async def base_model_bytes(conn: AsyncConnection, project: str) -> int:
    """Bytes of the project's own base models, announced ones included; a failed one's file is removed."""
    mine = base_models.c.project == project, base_models.c.state != "FAILED"
    return int(await conn.scalar(select(func.sum(base_models.c.size_bytes)).where(*mine)) or 0)


async def gpu_seconds(conn: AsyncConnection, project: str, *, since: datetime, now: datetime) -> float:
    """Seconds that the project's attempts were at work between two moments, those that go on included."""
    begun = case((_times.start_time < since, literal(since, UtcDateTime)), else_=_times.start_time)
    ended = func.coalesce(_times.end_time, literal(now, UtcDateTime))
    spans = func.sum(type_coerce(ended, BigInteger) - type_coerce(begun, BigInteger))
    # One without an end whose job nobody holds was ended by a replica of the release before, which notes nothing here.
    held = select(jobs.c.name).where(jobs.c.name == _times.job, jobs.c.lease_token.is_not(None)).exists()
    within = or_(and_(_times.end_time.is_(None), held), _times.end_time > since)
    found = await conn.scalar(select(spans).where(_times.project == project, within))
    return max(0.0, float(found or 0) / _MICROSECONDS)


async def usage_of(conn: AsyncConnection, project: str, *, since: datetime, now: datetime) -> ProjectUse:
    """All of it."""
    seconds = await gpu_seconds(conn, project, since=since, now=now)
    unfinished = await unfinished_previews(conn, project)
    stored = await base_model_bytes(conn, project)
    own = select(shares.c.waiting, shares.c.running).where(shares.c.project == project)
    row = (await conn.execute(own)).one_or_none()
    waiting, running = (row.waiting, row.running) if row is not None else (0, 0)
    return ProjectUse(waiting, running, seconds, unfinished, stored)


def begun_attempt(before: TrainingJob, after: TrainingJob) -> dict[str, Any] | None:
    """The row of the attempt that a move has begun, at work from its start on."""
    return _row(after, after.attempts[-1]) if len(after.attempts) > len(before.attempts) else None


def ended_attempt(before: TrainingJob, after: TrainingJob) -> Attempt | None:
    """The attempt that a move has ended."""
    if not before.attempts or before.attempts[-1].end_time is not None:
        return None
    closed = after.attempts[len(before.attempts) - 1]
    return closed if closed.end_time is not None else None


async def end_attempt(conn: AsyncConnection, outbox: Outbox, job: TrainingJob, attempt: Attempt) -> None:
    """Notes its end, and tells what it used."""
    await _end(conn, outbox, job, attempt, {"training_job": job.name})


async def begin_preview(conn: AsyncConnection, request: PreviewRequest) -> None:
    """Notes that the request's last try is at work. A job as it stands now is drawn within the time of its attempt."""
    if not request.drawing.live_job:
        await conn.execute(attempts.insert().values(_row(request, request.attempts[-1])))


async def end_preview(conn: AsyncConnection, outbox: Outbox, request: PreviewRequest) -> None:
    """Notes the end of the request's last try, and tells what it used."""
    if not request.drawing.live_job:
        of = {"training_job": "", "preview_request": request.name}
        await _end(conn, outbox, request, request.attempts[-1], of)


async def begin_check(conn: AsyncConnection, model: OwnBaseModel) -> None:
    """Notes that the last try at the check of a base model is at work."""
    await conn.execute(attempts.insert().values(_row(model, model.attempts[-1])))


async def end_check(conn: AsyncConnection, outbox: Outbox, model: OwnBaseModel) -> None:
    """Notes the end of the last try at its check, and tells what it used."""
    await _end(conn, outbox, model, model.attempts[-1], {"training_job": ""})


async def _end(
    conn: AsyncConnection,
    outbox: Outbox,
    job: TrainingJob | PreviewRequest | OwnBaseModel,
    attempt: Attempt,
    named: dict[str, str],
) -> None:
    assert attempt.end_time is not None
    row = _row(job, attempt)
    own = (_times[name] == row[name] for name in ("job", "number", "start_time"))
    if not (await conn.execute(update(attempts).where(*own).values(end_time=attempt.end_time))).rowcount:
        # A replica of the release before let it begin.
        await conn.execute(attempts.insert().values(row))
    seconds = max(0.0, (attempt.end_time - attempt.start_time).total_seconds())
    data = {
        "gpu_seconds": round(seconds, 3),
        **named,
        "attempt": attempt.number,
        "outcome": attempt.outcome.value if attempt.outcome else "",
        "base_model": job.base_model,
        "worker_id": attempt.worker_id,
    }
    # The start tells a job from a deleted one of the same name.
    of = f"attempts/{attempt.number}/{attempt.start_time.isoformat()}"
    event = usage_event("trainer", "gpu_seconds", project=job.project, source=job.name, of=of, data=data)
    await outbox.append(conn, **event)


def _row(job: TrainingJob | PreviewRequest | OwnBaseModel, attempt: Attempt) -> dict[str, Any]:
    times = {"start_time": attempt.start_time, "end_time": attempt.end_time}
    return {"job": job.name, "number": attempt.number, "project": job.project, **times}
