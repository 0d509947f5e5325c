"""The job store on SQLite and PostgreSQL: every change with its events, epoch and points in one transaction."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import RowMapping, Select, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import tracing
from services.chassis.errors import AlreadyExists
from services.chassis.listing.pages import Query
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.chassis.signals import Signals
from services.chassis.sql import Database, unique_violation
from services.trainer.adapters import job_metrics, sql_base_models, sql_metrics, sql_queue, sql_usage, sql_writes
from services.trainer.adapters.sql_events import job_event
from services.trainer.adapters.sql_following import SqlFollowing
from services.trainer.adapters.sql_heartbeats import SqlHeartbeats
from services.trainer.adapters.sql_lists import EPOCH_LIST, JOB_LIST
from services.trainer.adapters.sql_rows import (
    changed_columns,
    epoch_from_row,
    epoch_to_row,
    job_from_row,
    job_to_row,
)
from services.trainer.adapters.sql_tables import attempts, epochs, events, jobs, metric_chunks, requests
from services.trainer.models.change import Change
from services.trainer.models.deleting import epoch_not_found, job_not_found
from services.trainer.models.epoch import Epoch, Metric
from services.trainer.models.events import JobEvent, StateChanged, StoredEvent
from services.trainer.models.job import LEASED, JobState, TrainingJob
from services.trainer.models.queue import ProjectUse, QueueLoad, Starting
from services.trainer.ports import QUEUE, Admit, Move, WorkerAsk

_UNLOCKED_TRIES = 3


class SqlJobStore:
    """Implements `ports.JobStore`. Moves of one job take turns by the lock on its row."""

    def __init__(self, db: Database, outbox: Outbox, signals: Signals) -> None:
        self._db = db
        self._outbox = outbox
        self._signals = signals
        self._requests = RememberedRequests(requests)
        self._following = SqlFollowing(db, outbox)
        self._heartbeats = SqlHeartbeats(db) if db.dialect == "postgresql" else None

    async def recall(self, key: RequestKey) -> TrainingJob | None:
        async with self._db.connect() as conn:
            return await self._recalled(conn, key)

    async def create(self, change: Change, key: RequestKey, admit: Admit | None = None) -> TrainingJob:
        change = replace(change, job=replace(change.job, traceparent=tracing.current()))
        try:
            async with self._db.begin() as conn:
                if change.job.entry:
                    await sql_base_models.hold(conn, change.job.base_model)
                counted = await sql_usage.lock_share(conn, change.job.project)
                if admit is not None:
                    # An equal request may have taken the last place while this one waited for its turn.
                    made = await self._recalled(conn, key)
                    if made is not None:
                        return made
                    admit(counted.waiting)
                count = len(change.events)
                await conn.execute(insert(jobs).values({**job_to_row(change.job), "last_event": count}))
                await self._append(conn, change, after=0)
                await self._requests.remember(conn, key, change.job.name)
        except IntegrityError as error:
            if not unique_violation(error):
                raise
            made = await self.recall(key)
            if made is not None:
                return made
            raise _taken(change.job.name) from error
        self._tell(change)
        return change.job

    async def get(self, name: str) -> TrainingJob:
        async with self._db.single() as conn:
            return job_from_row(await self._row(conn, name, lock=False))

    async def list(self, project: str, query: Query) -> tuple[Sequence[TrainingJob], int]:
        mine = jobs.c.project == project
        async with self._db.connect() as conn:
            total = await JOB_LIST.count(conn, query, mine)
            rows = (await conn.execute(JOB_LIST.page(query, mine))).mappings().all()
        return [job_from_row(row) for row in rows], total

    async def change(
        self, name: str, move: Move, key: RequestKey | None = None, admit: Admit | None = None
    ) -> TrainingJob:
        if key is not None and key.request_id:
            return await self._change_once(name, move, key, admit)
        if self._db.dialect == "postgresql" and admit is None:
            changed = await self._change_unlocked(name, move)
            if changed is not None:
                return changed
        async with self._db.begin() as conn:
            change = await self._change_locked(conn, name, move, admit)
        self._tell(change)
        return change.job

    async def heartbeat(self, name: str, move: Move) -> TrainingJob:
        if self._heartbeats is not None:
            change = await self._heartbeats.change(name, move)
            if change is not None:
                self._tell(change)
                return change.job
        return await self.change(name, move)

    async def acquire(self, ask: WorkerAsk, move: Move, starting: Starting | None = None) -> TrainingJob | None:
        begun = time.perf_counter()
        job = await self._acquire(ask, move, starting)
        job_metrics.ACQUIRE_SECONDS.labels("no" if job is None else "yes").observe(time.perf_counter() - begun)
        return job

    async def _acquire(self, ask: WorkerAsk, move: Move, starting: Starting | None) -> TrainingJob | None:
        if self._db.dialect == "sqlite" and not await self._anything_waits():
            return None
        async with self._db.begin() as conn:
            row = await sql_queue.next_job(conn, ask, starting)
            if row is None:
                return None
            before = job_from_row(row)
            change = move(before)
            if "version" not in row or not await self._written_at_once(conn, row, before, change):
                await self._store(conn, row, before, change)
            await sql_queue.note_worker(conn, ask, change.job.update_time)
        self._tell(change)
        return change.job

    async def seen(self, ask: WorkerAsk, now: datetime) -> None:
        async with self._db.begin() as conn:
            await sql_queue.note_worker(conn, ask, now)

    async def loadable(self, since: datetime) -> Collection[str] | None:
        async with self._db.single() as conn:
            return await sql_queue.loadable(conn, since)

    async def expired(self, now: datetime, limit: int) -> Sequence[str]:
        column = jobs.c.lease_expires_at
        statement = select(jobs.c.name).where(jobs.c.lease_token.is_not(None), column <= now).order_by(column)
        async with self._db.single() as conn:
            return list(await conn.scalars(statement.limit(limit)))

    async def position_in_project(self, job: TrainingJob) -> int:
        async with self._db.single() as conn:
            return await sql_queue.position_in_project(conn, job)

    async def load(self) -> QueueLoad:
        async with self._db.connect() as conn:
            return await sql_queue.queue_load(conn)

    async def pace(self, base_model: str) -> float:
        async with self._db.single() as conn:
            return await sql_queue.pace(conn, base_model)

    async def epoch(self, job: str, number: int) -> Epoch:
        statement = select(epochs).where(epochs.c.job == job, epochs.c.number == number)
        async with self._db.single() as conn:
            row = (await conn.execute(statement)).mappings().one_or_none()
        if row is None:
            raise epoch_not_found(job, number)
        return epoch_from_row(row)

    async def epochs(self, job: str, query: Query | None = None) -> Sequence[Epoch]:
        statement = select(epochs).where(epochs.c.job == job).order_by(epochs.c.number)
        if query is not None:
            statement = EPOCH_LIST.page(query, epochs.c.job == job, epochs.c.number > 0)
        async with self._db.single() as conn:
            return [epoch_from_row(row) for row in (await conn.execute(statement)).mappings()]

    async def count_epochs(self, job: str, query: Query | None = None) -> int:
        if query is not None:
            async with self._db.connect() as conn:
                return await EPOCH_LIST.count(conn, query, epochs.c.job == job, epochs.c.number > 0)
        statement = select(func.count()).select_from(epochs).where(epochs.c.job == job, epochs.c.number > 0)
        async with self._db.single() as conn:
            return await conn.scalar(statement) or 0

    async def metrics(
        self, job: str, keys: Collection[str], *, since_step: int, stride: int, limit: int
    ) -> Sequence[Metric]:
        async with self._db.connect() as conn:
            return await sql_metrics.read_metrics(conn, job, keys, since_step=since_step, stride=stride, limit=limit)

    async def standing(self, name: str) -> tuple[JobState, int]:
        return await self._following.standing(name)

    async def snapshot(self, name: str) -> tuple[TrainingJob, int]:
        async with self._db.single() as conn:
            row = await self._row(conn, name, lock=False)
            return job_from_row(row), row["last_event"]

    async def events(self, name: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        return await self._following.events(name, after=after, limit=limit)

    async def usage(self, project: str, *, since: datetime, now: datetime) -> ProjectUse:
        async with self._db.connect() as conn:
            return await sql_usage.usage_of(conn, project, since=since, now=now)

    async def _change_locked(self, conn: AsyncConnection, name: str, move: Move, admit: Admit | None) -> Change:
        row = await self._row(conn, name, lock=True)
        before = job_from_row(row)
        change = move(before)
        if admit is not None and change.job.state is JobState.QUEUED and before.state is not JobState.QUEUED:
            admit((await sql_usage.lock_share(conn, change.job.project)).waiting)
        await self._store(conn, row, before, change)
        return change

    async def _change_once(self, name: str, move: Move, key: RequestKey, admit: Admit | None) -> TrainingJob:
        try:
            async with self._db.begin() as conn:
                # Locked before it is recalled: of two equal requests the second finds what the first one noted.
                row = await self._row(conn, name, lock=True)
                if await self._requests.recall(conn, key) is not None:
                    return job_from_row(row)
                change = await self._change_locked(conn, name, move, admit)
                await self._requests.remember(conn, key, name)
        except IntegrityError as error:
            if not unique_violation(error):
                raise
            # The id came for another job at the same moment.
            await self.recall(key)
            raise
        self._tell(change)
        return change.job

    async def _change_unlocked(self, name: str, move: Move) -> TrainingJob | None:
        """The job after the move; None when it needs the lock: a large change, or many who move one job at once."""
        for _ in range(_UNLOCKED_TRIES):
            async with self._db.single() as conn:
                row = await self._row(conn, name, lock=False)
                before = job_from_row(row)
                change = move(before)
                if not _is_small(row, before, change):
                    return None
                written = await self._written_at_once(conn, row, before, change)
            if written:
                self._tell(change)
                return change.job
        return None

    async def _written_at_once(
        self, conn: AsyncConnection, row: RowMapping, before: TrainingJob, change: Change
    ) -> bool:
        """Writes a small change in one statement; False when it is not small or the row has changed meanwhile."""
        if not _is_small(row, before, change):
            return False
        columns, beside = changed_columns(before, change.job), {}
        points = sql_metrics.chunk_of(change.job.name, change.metrics, stored=row["last_metric_step"])
        if points is not None:
            columns["last_metric_step"] = points["last_step"]
            beside[metric_chunks] = points
        if change.events:
            columns["last_event"] = row["last_event"] + 1
            beside[events] = vars(job_event(change.job, change.events[0], columns["last_event"]))
        begun = sql_usage.begun_attempt(before, change.job)
        if begun is not None:
            beside[attempts] = begun
        if not columns:
            return True
        of_job = {"name": change.job.name, "version": row["version"]}
        return await sql_writes.write(conn, **of_job, columns=columns, beside=beside)

    async def _recalled(self, conn: AsyncConnection, key: RequestKey) -> TrainingJob | None:
        name = await self._requests.recall(conn, key)
        return None if name is None else job_from_row(await self._row(conn, name, lock=False))

    async def _anything_waits(self) -> bool:
        """Workers that wait ask often; with an empty queue that must not cost them SQLite's one write lock."""
        async with self._db.connect() as conn:
            waiting = select(jobs.c.name).where(jobs.c.state == JobState.QUEUED.value)
            return await conn.scalar(waiting.limit(1)) is not None

    async def _row(self, conn: AsyncConnection, name: str, *, lock: bool) -> RowMapping:
        statement = _of_name(lock=lock, versioned=conn.dialect.name == "postgresql")
        row = (await conn.execute(statement, {"of_name": name})).mappings().one_or_none()
        if row is None:
            raise job_not_found(name)
        found: RowMapping = row
        return found

    async def _store(self, conn: AsyncConnection, row: RowMapping, before: TrainingJob, change: Change) -> None:
        """Writes what a move did to a job. row: the job before it, locked by this transaction."""
        name, last_step, last_event = change.job.name, row["last_metric_step"], row["last_event"]
        if change.forget_metrics_after is not None and last_step > change.forget_metrics_after:
            last_step = await sql_metrics.forget_metrics(conn, name, change.forget_metrics_after)
        last_step = await sql_metrics.add_metrics(conn, name, change.metrics, stored=last_step)
        if change.epoch is not None:
            await conn.execute(insert(epochs).values(epoch_to_row(change.epoch)))
        await self._append(conn, change, after=last_event)
        begun, ended = sql_usage.begun_attempt(before, change.job), sql_usage.ended_attempt(before, change.job)
        if begun is not None:
            await conn.execute(insert(attempts), begun)
        if ended is not None:
            await sql_usage.end_attempt(conn, self._outbox, change.job, ended)
        columns = changed_columns(before, change.job)
        if last_step != row["last_metric_step"]:
            columns["last_metric_step"] = last_step
        if change.events:
            columns["last_event"] = last_event + len(change.events)
        if columns:
            await conn.execute(update(jobs).where(jobs.c.name == name).values(**columns))

    async def _append(self, conn: AsyncConnection, change: Change, *, after: int) -> None:
        for number, event in enumerate(change.events, after + 1):
            await conn.execute(insert(events), vars(job_event(change.job, event, number)))

    def _tell(self, change: Change) -> None:
        """After the commit: wakes whoever waits in this process."""
        job_metrics.count(change)
        if change.events:
            self._outbox.signals.notify(change.job.name)
            self._signals.notify(change.job.name)
            if change.job.state is JobState.QUEUED or any(_frees_a_place(event) for event in change.events):
                self._signals.notify(QUEUE)


def _frees_a_place(event: JobEvent) -> bool:
    """Whether a worker let go of a job: another of its project may have waited for that."""
    return isinstance(event, StateChanged) and event.previous in LEASED and event.state not in LEASED


def _is_small(row: RowMapping, before: TrainingJob, change: Change) -> bool:
    """Whether one statement can write it. Two events would get their places in the log in no certain order."""
    if sql_usage.ended_attempt(before, change.job) is not None:
        return False
    forgets = change.forget_metrics_after is not None and row["last_metric_step"] > change.forget_metrics_after
    return len(change.events) <= 1 and change.epoch is None and not forgets


@cache
def _of_name(*, lock: bool, versioned: bool) -> Select[Any]:
    statement = select(jobs, sql_writes.VERSION) if versioned else select(jobs)
    statement = statement.where(jobs.c.name == bindparam("of_name"))
    return statement.with_for_update() if lock else statement


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(
        f"The training job '{name}' already exists",
        field="training_job_id",
        reason="JOB_EXISTS",
        remedy="Choose another id, or leave it empty to get a generated one.",
    )
