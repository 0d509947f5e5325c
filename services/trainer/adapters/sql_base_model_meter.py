"""What projects store as base models, told as usage once an hour."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from services.chassis.outbox import Outbox
from services.chassis.sql import Database
from services.chassis.usage_events import usage_event
from services.trainer.adapters.sql_tables import base_model_meter, base_models

METER = "base_model_bytes"


async def meter(db: Database, outbox: Outbox, hour: datetime) -> None:
    """Tells it for an hour, unless another replica has. hour: its beginning."""
    stored = func.sum(base_models.c.size_bytes).label("stored")
    told = base_model_meter.c
    due = (
        select(base_models.c.project, stored, func.count().label("count"))
        .select_from(base_models.outerjoin(base_model_meter, told.project == base_models.c.project))
        .where(base_models.c.state != "FAILED", or_(told.hour.is_(None), told.hour < hour))
        .group_by(base_models.c.project)
    )
    async with db.connect() as conn:
        found = (await conn.execute(due)).all()
    for project, size, count in found:
        async with db.begin() as conn:
            insert: Any = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
            noted = insert(base_model_meter).values(project=project, hour=hour)
            # Of two replicas the second waits here for the first, and then changes nothing.
            noted = noted.on_conflict_do_update(
                index_elements=[told.project], set_={"hour": hour}, where=told.hour < hour
            )
            if not (await conn.execute(noted)).rowcount:
                continue
            data = {
                "hour": hour.isoformat().replace("+00:00", "Z"),
                "base_model_bytes": int(size),
                "base_models": int(count),
            }
            event = usage_event(
                "trainer", METER, project=project, source=f"projects/{project}/trainingUsage",
                of=f"{METER}/{hour.isoformat()}", data=data,
            )  # fmt: skip
            await outbox.append(conn, **event)
    outbox.signals.notify(METER)
