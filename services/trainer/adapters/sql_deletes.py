"""Deletes of jobs and epochs on SQLite and PostgreSQL, under the lock that moves take too."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.sql import Database
from services.trainer.adapters.sql_rows import epoch_from_row, job_from_row
from services.trainer.adapters.sql_tables import epochs, events, jobs, metric_chunks
from services.trainer.models.deleting import epoch_not_found, job_not_found
from services.trainer.models.epoch import Epoch
from services.trainer.models.job import TrainingJob


class SqlDeletions:
    """Implements `ports.Deletions`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def job(self, name: str, check: Callable[[TrainingJob, int], None]) -> TrainingJob:
        async with self._db.begin() as conn:
            job = await self._locked(conn, name)
            kept = select(func.count()).select_from(epochs).where(epochs.c.job == name, epochs.c.number > 0)
            check(job, await conn.scalar(kept) or 0)
            await conn.execute(delete(epochs).where(epochs.c.job == name))
            await conn.execute(delete(metric_chunks).where(metric_chunks.c.job == name))
            await conn.execute(delete(events).where(events.c.aggregate == name))
            await conn.execute(delete(jobs).where(jobs.c.name == name))
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

    async def _locked(self, conn: AsyncConnection, name: str) -> TrainingJob:
        statement = select(jobs).where(jobs.c.name == name).with_for_update()
        row = (await conn.execute(statement)).mappings().one_or_none()
        if row is None:
            raise job_not_found(name)
        return job_from_row(row)
