"""The workers that are there, with the jobs that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, select

from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import jobs, workers
from services.trainer.models.placement import WorkerKind
from services.trainer.ports import PresentWorker


class SqlWorkforce:
    """Implements `ports.Workforce`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def present(self, since: datetime) -> Sequence[PresentWorker]:
        held = select(jobs.c.lease_worker, jobs.c.name, jobs.c.update_time).where(jobs.c.lease_token.is_not(None))
        async with self._db.connect() as conn:
            busy = {row.lease_worker: row for row in await conn.execute(held)}
            there = or_(workers.c.seen_at >= since, workers.c.worker_id.in_(list(busy)))
            rows = (await conn.execute(select(workers).where(there).order_by(workers.c.worker_id))).all()
        return [
            PresentWorker(
                row.worker_id,
                row.device,
                row.device_memory_bytes,
                tuple(row.base_models),
                max(row.seen_at, busy[row.worker_id].update_time) if row.worker_id in busy else row.seen_at,
                busy[row.worker_id].name if row.worker_id in busy else "",
                tuple(row.families),
                tuple(row.mixed_precisions),
            )
            for row in rows
        ]

    async def kinds(self, since: datetime) -> Sequence[WorkerKind]:
        held = select(jobs.c.lease_worker).where(jobs.c.lease_token.is_not(None))
        there = or_(workers.c.seen_at >= since, workers.c.worker_id.in_(held))
        told = (
            workers.c.device,
            workers.c.device_memory_bytes,
            workers.c.base_models,
            workers.c.mixed_precisions,
            workers.c.skill,
            workers.c.takes_own,
        )
        async with self._db.single() as conn:
            rows = (await conn.execute(select(*told).where(there).distinct())).all()
        return [WorkerKind(row[0], row[1], tuple(row[2]), tuple(row[3]), row[4], row[5]) for row in rows]

    async def forget(self, before: datetime) -> int:
        held = select(jobs.c.lease_worker).where(jobs.c.lease_token.is_not(None))
        gone = delete(workers).where(workers.c.seen_at < before, workers.c.worker_id.not_in(held))
        async with self._db.begin() as conn:
            return (await conn.execute(gone)).rowcount
