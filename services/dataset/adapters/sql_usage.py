"""What projects use, counted in the transactions that change it: a row for each project, whose lock makes its changes
take turns. Lock a dataset first, then its project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.outbox import Outbox
from services.chassis.sql import Database
from services.chassis.usage_events import usage_event
from services.dataset.adapters.sql_tables import datasets, edit_images, images, project_usage, version_images
from services.dataset.models.usage import ProjectUsage

_usage = project_usage.c
_COUNTED = (_usage.datasets, _usage.images, _usage.stored_bytes)


async def usage_of(conn: AsyncConnection, project: str, *, lock: bool = False) -> ProjectUsage:
    """What the project uses. lock: nobody else changes it until the transaction ends."""
    statement = select(*_COUNTED).where(_usage.project == project)
    row = (await conn.execute(statement.with_for_update() if lock else statement)).one_or_none()
    if row is None and lock:
        # Nothing to lock yet: of two that come at once, the second waits for the first one's row.
        await count(conn, project)
        return await usage_of(conn, project, lock=True)
    return ProjectUsage(*row) if row is not None else ProjectUsage()


async def count(
    conn: AsyncConnection, project: str, *, datasets: int = 0, images: int = 0, stored_bytes: int = 0
) -> None:
    """Adds to the project's counters, also less than nothing."""
    more = {"datasets": datasets, "images": images, "stored_bytes": stored_bytes}
    dialect_insert: Any = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = dialect_insert(project_usage).values(project=project, **more)
    sums = {name: project_usage.c[name] + value for name, value in more.items()}
    await conn.execute(statement.on_conflict_do_update(index_elements=[_usage.project], set_=sums))


class SqlMeter:
    """Implements ports.Meter."""

    def __init__(self, db: Database, outbox: Outbox, *, published_only: bool) -> None:
        """published_only: an event is forgotten only after the bus has it."""
        self._db = db
        self._outbox = outbox
        self._published_only = published_only

    async def due(self, hour: datetime) -> Sequence[str]:
        """See the port."""
        unmetered = or_(_usage.metered_hour.is_(None), _usage.metered_hour < hour)
        async with self._db.connect() as conn:
            return list(await conn.scalars(select(_usage.project).where(unmetered).order_by(_usage.project)))

    async def meter(self, project: str, hour: datetime) -> ProjectUsage:
        """See the port."""
        async with self._db.begin() as conn:
            await usage_of(conn, project, lock=True)
            mine = select(_usage.metered_hour).where(_usage.project == project)
            metered = await conn.scalar(mine)
            found = await _counted_anew(conn, project)
            values = {**vars(found), "metered_hour": hour}
            await conn.execute(update(project_usage).where(_usage.project == project).values(values))
            if found.stored_bytes and (metered is None or metered < hour):
                data = {**vars(found), "hour": hour.isoformat().replace("+00:00", "Z")}
                event = usage_event(
                    "dataset", "stored_bytes", project=project, source=f"projects/{project}/datasetUsage",
                    of=hour.isoformat(), data=data,
                )  # fmt: skip
                await self._outbox.append(conn, **event)
        self._outbox.signals.notify(project)
        return found

    async def forget(self, before: datetime) -> int:
        """See the port."""
        async with self._db.begin() as conn:
            return await self._outbox.forget(conn, before, published_only=self._published_only)


async def _counted_anew(conn: AsyncConnection, project: str) -> ProjectUsage:
    """Out of the rows themselves: a replica of the release before changes them without counting."""
    held = union(
        *(
            select(table.c.original_key, table.c.size_bytes, table.c.thumbnail_bytes).where(table.c.project == project)
            for table in (images, version_images)
        )
    ).subquery()
    stored = await conn.scalar(select(func.sum(held.c.size_bytes + held.c.thumbnail_bytes)))
    masks = union(
        *(
            select(table.c.mask_key, table.c.mask_bytes).where(
                table.c.project == project, table.c.mask_key.is_not(None)
            )
            for table in (images, version_images, edit_images)
        )
    ).subquery()
    masked = await conn.scalar(select(func.sum(masks.c.mask_bytes)))
    sets, live = [
        await conn.scalar(select(func.count()).select_from(table).where(table.c.project == project)) or 0
        for table in (datasets, images)
    ]
    return ProjectUsage(sets, live, int(stored or 0) + int(masked or 0))
