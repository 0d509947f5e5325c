"""The workers that are there, with the jobs that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select

from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import jobs, workers
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
            )
            for row in rows
        ]
