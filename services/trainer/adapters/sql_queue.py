"""The queue in SQL: whose turn it is, places, workers, speeds. The rules themselves are in `models.queue`."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import RowMapping, Select, and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.trainer.adapters import sql_placement, sql_usage
from services.trainer.adapters.sql_placement import HELD, WAITING
from services.trainer.adapters.sql_tables import jobs, shares, workers
from services.trainer.models.job import TrainingJob
from services.trainer.models.placement import ROOM_HEAD_START, memory_class
from services.trainer.models.queue import WARM_HEAD_START, ProjectQueue, QueueLoad, Starting, StartLimits
from services.trainer.ports import WorkerAsk

_job = jobs.c
_RECENT_JOBS = 20
_FIRST_TURNS = 8


async def next_job(conn: AsyncConnection, ask: WorkerAsk, starting: Starting | None = None) -> RowMapping | None:
    """The row of the job whose turn it is, locked until the transaction ends; None when none fits the worker.

    Rows that another transaction has locked are skipped, so that workers wait for each other only where a project's
    jobs at work are limited.
    """
    async for queue in _turns(conn, ask):
        limits = starting.limits(queue.project) if starting is not None else StartLimits()
        if starting is None or limits == StartLimits():
            found = await _fitting(conn, ask, queue.project)
        else:
            found = await _fitting_within(conn, ask, queue, limits, starting)
        if found is not None:
            return found
    return None


async def _turns(conn: AsyncConnection, ask: WorkerAsk) -> AsyncIterator[ProjectQueue]:
    """Projects that may have a job for the worker, in their order. Nearly always the first of them has: only where
    other workers are taking what the first few have, or these are at their limits, all are read."""
    form = sql_placement.form_of(ask, postgres=conn.dialect.name == "postgresql")
    asked: set[str] = set()
    for most in (_FIRST_TURNS, None):
        rows = (await conn.execute(sql_placement.turns(form, most), sql_placement.values_of(ask))).all()
        for row in rows:
            if row.project not in asked:
                asked.add(row.project)
                yield ProjectQueue(row.project, 1, row.running, row.served_at)
        if len(asked) < _FIRST_TURNS:
            return


async def _fitting(conn: AsyncConnection, ask: WorkerAsk, project: str) -> RowMapping | None:
    """The job of a project that the worker should take, locked."""
    form = sql_placement.form_of(ask, postgres=conn.dialect.name == "postgresql")
    values = {"of_project": project, **sql_placement.values_of(ask)}
    first = await _one(conn, sql_placement.first(form), values)
    if first is None and form.by_class:
        # There is one that fits, but other workers take the first of each class at this moment.
        form = replace(form, by_class=False)
        first = await _one(conn, sql_placement.first(form), values)
    others = ask.room.others
    if first is not None and others > 0 and first["memory_bytes"] <= others:
        only = {"others": others, "lowest_class": memory_class(others), **_near(first, ROOM_HEAD_START)}
        first = await _one(conn, sql_placement.first_only_here(form), values | only) or first
    if first is None or not ask.warm_base_model or first["base_model"] == ask.warm_base_model:
        return first
    # Among those that only such a worker can take, if this is one.
    beyond = others if 0 < others < first["memory_bytes"] else -1
    warm = {"warm": ask.warm_base_model, "beyond": beyond, **_near(first, WARM_HEAD_START)}
    return await _one(conn, sql_placement.first_warm(form), values | warm) or first


def _near(first: RowMapping, head_start: timedelta) -> dict[str, Any]:
    return {"like": first["priority"], "latest": first["queued_at"] + head_start}


async def _fitting_within(
    conn: AsyncConnection, ask: WorkerAsk, queue: ProjectQueue, limits: StartLimits, starting: Starting
) -> RowMapping | None:
    """The same, where the project's budgets leave room for another job at work."""
    if not limits.allow(active=queue.active, gpu_seconds=0.0):
        return None
    place, active, seconds = await conn.begin_nested(), queue.active, 0.0
    if limits.running_jobs:
        # Another worker may be taking one of its jobs at this moment.
        active = (await sql_usage.lock_share(conn, queue.project)).running
    if limits.gpu_seconds:
        seconds = await sql_usage.gpu_seconds(conn, queue.project, since=starting.since, now=starting.now)
    found = None
    if limits.allow(active=active, gpu_seconds=seconds):
        found = await _fitting(conn, ask, queue.project)
    # Without a job the lock is given back: two workers that kept one and went on to the other's would wait for ever.
    await (place.rollback() if found is None else place.commit())
    return found


async def position_in_project(conn: AsyncConnection, job: TrainingJob) -> int:
    """Jobs of the project that go before this one, plus one."""
    goes_first = or_(
        _job.priority > job.priority,
        and_(_job.priority == job.priority, _job.queued_at < job.queued_at),
        and_(_job.priority == job.priority, _job.queued_at == job.queued_at, _job.name < job.name),
    )
    ahead = await conn.scalar(
        select(func.count()).select_from(jobs).where(_job.project == job.project, WAITING, goes_first)
    )
    return (ahead or 0) + 1


async def queue_load(conn: AsyncConnection) -> QueueLoad:
    """Every project's share of the queue, and the mean work of a waiting job in samples."""
    left = (_job.total_steps - _job.step) * _job.samples_per_step
    samples = await conn.scalar(select(func.sum(left)).where(WAITING))
    own = select(shares).where(or_(shares.c.waiting > 0, shares.c.running > 0)).order_by(shares.c.project)
    projects = tuple(
        ProjectQueue(row.project, row.waiting, row.running, row.served_at) for row in await conn.execute(own)
    )
    total = sum(queue.waiting for queue in projects)
    return QueueLoad(projects, float(samples or 0) / total if total else 0.0)


async def pace(conn: AsyncConnection, base_model: str) -> float:
    """Median seconds for a sample over the last finished jobs; 0 when there are none."""
    recent = await conn.scalars(
        select(_job.seconds_per_sample)
        .where(_job.base_model == base_model, _job.end_time.is_not(None), _job.seconds_per_sample > 0)
        .order_by(_job.end_time.desc())
        .limit(_RECENT_JOBS)
    )
    values = list(recent)
    return float(statistics.median(values)) if values else 0.0


async def note_worker(conn: AsyncConnection, ask: WorkerAsk, now: datetime) -> None:
    """Notes that a worker asked."""
    values = {
        "worker_id": ask.worker_id,
        "base_models": list(ask.base_models),
        "device": ask.device,
        "seen_at": now,
        "device_memory_bytes": ask.device_memory_bytes,
        "families": list(ask.families),
        "mixed_precisions": list(ask.mixed_precisions),
        "skill": ask.skill,
        "takes_own": ask.takes_own,
    }
    await conn.execute(_noted(conn.dialect.name), values)


async def loadable(conn: AsyncConnection, since: datetime) -> set[str] | None:
    """Base models that present workers can load; None when one of them can load all."""
    busy = select(_job.lease_worker).where(HELD)
    found: Sequence[Any] = (
        await conn.scalars(
            select(workers.c.base_models).where(or_(workers.c.seen_at >= since, workers.c.worker_id.in_(busy)))
        )
    ).all()
    if any(not models for models in found):
        return None
    return {model for models in found for model in models}


async def _one(conn: AsyncConnection, statement: Select[Any], values: dict[str, Any]) -> RowMapping | None:
    row: RowMapping | None = (await conn.execute(statement, values)).mappings().one_or_none()
    return row


@cache
def _noted(dialect: str) -> Any:
    dialect_insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = dialect_insert(workers)
    told = (
        "base_models", "device", "seen_at", "device_memory_bytes", "families", "mixed_precisions", "skill", "takes_own",
    )  # fmt: skip
    news = {name: statement.excluded[name] for name in told}
    return statement.on_conflict_do_update(index_elements=[workers.c.worker_id], set_=news)
