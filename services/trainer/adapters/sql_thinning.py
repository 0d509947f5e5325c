"""Removes what ended jobs no longer need: events of their progress, and request ids of long ago."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, not_, or_, select, update

from services.chassis.outbox import CLOSED
from services.chassis.requests.sql import RememberedRequests
from services.chassis.sql import Database, utcnow
from services.trainer.adapters.sql_tables import attempts, events, jobs, requests

PROGRESS = "fiveshot.training_job.progress"
USAGE = ("fiveshot.usage.gpu_seconds", "fiveshot.usage.base_model_bytes")
_BATCH = 50


class SqlHistory:
    """Implements `ports.History`. published_only: whether a bus has still to get what is not marked as published."""

    def __init__(self, db: Database, *, published_only: bool) -> None:
        self._db = db
        self._published_only = published_only

    async def thin(self, ended_before: datetime) -> int:
        due = (
            select(jobs.c.name)
            .where(jobs.c.end_time.is_not(None), not_(jobs.c.thinned), jobs.c.end_time <= ended_before)
            .order_by(jobs.c.end_time)
            .limit(_BATCH)
        )
        async with self._db.single() as conn:
            names = list(await conn.scalars(due))
        for name in names:
            async with self._db.begin() as conn:
                # Marked first: it locks the job, so that nobody queues it again in between.
                ended = and_(jobs.c.name == name, jobs.c.end_time <= ended_before)
                marked = await conn.execute(update(jobs).where(ended).values(thinned=True))
                if not marked.rowcount:
                    continue
                of_progress = and_(events.c.aggregate == name, events.c.type == PROGRESS)
                if self._published_only:
                    of_progress = and_(of_progress, events.c.published_at.is_not(None))
                await conn.execute(delete(events).where(of_progress))
        return len(names)

    async def forget_requests(self, before: datetime) -> int:
        async with self._db.begin() as conn:
            return await RememberedRequests(requests).forget_older_than(conn, max(utcnow() - before, timedelta()))

    async def forget_usage(self, before: datetime) -> int:
        ended = or_(events.c.type.in_(USAGE), events.c.aggregate.contains(CLOSED))
        told = and_(ended, events.c.created_at < before)
        if self._published_only:
            told = and_(told, events.c.published_at.is_not(None))
        async with self._db.begin() as conn:
            await conn.execute(delete(events).where(told))
            held = select(jobs.c.name).where(jobs.c.name == attempts.c.job, jobs.c.lease_token.is_not(None)).exists()
            endless = and_(attempts.c.end_time.is_(None), attempts.c.start_time < before, not_(held))
            old = delete(attempts).where(or_(attempts.c.end_time < before, endless))
            return int((await conn.execute(old)).rowcount)
