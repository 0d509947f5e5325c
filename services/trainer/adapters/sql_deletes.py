"""Deletes of jobs and epochs, and labels of epochs, on SQLite and PostgreSQL, under the lock that moves take too."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.outbox import Outbox
from services.chassis.sql import Database
from services.trainer.adapters.sql_events import job_event
from services.trainer.adapters.sql_rows import epoch_from_row, job_from_row
from services.trainer.adapters.sql_tables import epochs, events, jobs, metric_chunks
from services.trainer.models.deleting import epoch_not_found, job_not_found
from services.trainer.models.epoch import Epoch
from services.trainer.models.events import Deleted
from services.trainer.models.job import TrainingJob


class SqlDeletions:
    """Implements `ports.Deletions`."""

    def __init__(self, db: Database, outbox: Outbox) -> None:
        self._db = db
        self._outbox = outbox

    async def job(self, name: str, check: Callable[[TrainingJob, int], None]) -> TrainingJob:
        async with self._db.begin() as conn:
            job = await self._locked(conn, name)
            kept = select(func.count()).select_from(epochs).where(epochs.c.job == name, epochs.c.number > 0)
            epoch_count = await conn.scalar(kept) or 0
            check(job, epoch_count)
            await conn.execute(delete(epochs).where(epochs.c.job == name))
            await conn.execute(delete(metric_chunks).where(metric_chunks.c.job == name))
            # What the bus still waits for stays, with the end of it.
            own = events.c.aggregate == name
            await conn.execute(delete(events).where(own, events.c.published_at.is_not(None)))
            last = await conn.scalar(select(jobs.c.last_event).where(jobs.c.name == name)) or 0
            await conn.execute(delete(jobs).where(jobs.c.name == name))
            gone = job_event(job, Deleted(epoch_count), last + 1)
            await conn.execute(insert(events), vars(gone))
            await self._outbox.close(conn, name)
        self._outbox.signals.notify(name)
        return job

    async def epoch(self, job: str, number: int, check: Callable[[TrainingJob, Epoch], None]) -> Epoch:
        one = (epochs.c.job == job, epochs.c.number == number)
        async with self._db.begin() as conn:
            owner = await self._locked(conn, job)
            row = (await conn.execute(select(epochs).where(*one))).mappings().one_or_none()
            if row is None:
                raise epoch_not_found(job, number)
            epoch = epoch_from_row(row)
            check(owner, epoch)
            await conn.execute(delete(epochs).where(*one))
            return epoch

    async def label(self, job: str, number: int, change: Callable[[Epoch], Epoch]) -> tuple[Epoch, TrainingJob]:
        one = (epochs.c.job == job, epochs.c.number == number)
        async with self._db.begin() as conn:
            owner = await self._locked(conn, job)
            row = (await conn.execute(select(epochs).where(*one))).mappings().one_or_none()
            if row is None:
                raise epoch_not_found(job, number)
            changed = change(epoch_from_row(row))
            await conn.execute(update(epochs).where(*one).values(labels=dict(changed.labels)))
            return changed, owner

    async def _locked(self, conn: AsyncConnection, name: str) -> TrainingJob:
        statement = select(jobs).where(jobs.c.name == name).with_for_update()
        row = (await conn.execute(statement)).mappings().one_or_none()
        if row is None:
            raise job_not_found(name)
        return job_from_row(row)
