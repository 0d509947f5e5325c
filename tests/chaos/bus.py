"""What the stream must hold once all is over."""

from __future__ import annotations

import json

from sqlalchemy import func, select

from services.chassis.nats_events import EventBus
from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import events
from tests.chaos.world import World
from tests.fixtures.patience import until, within


async def the_bus_heard_everything(world: World, project: str) -> None:
    """Every event of the log is in the stream, each job's in order; a repeat of an id is dropped by its reader."""
    db = Database(world.database_url)

    async def published() -> bool:
        async with db.connect() as conn:
            return await conn.scalar(select(func.count()).where(events.c.published_at.is_(None))) == 0

    await until(published, what="every event to be published")
    async with db.connect() as conn:
        total = await conn.scalar(select(func.count()).select_from(events)) or 0
    await db.dispose()
    heard: dict[str, list[int]] = {}
    ids: set[str] = set()
    bus = await EventBus.connect(world.nats_url, name="chaos")
    async with within():
        async for event in bus.subscribe(f"fiveshot.events.v1.{project}.>", after_sequence=0):
            if event.id not in ids:
                ids.add(event.id)
                body = json.loads(event.data)
                # What a job used is told on the same stream, beside what happened to it.
                if "trainingJob" in body:
                    heard.setdefault(body["trainingJob"], []).append(int(body["sequence"]))
            if len(ids) == total:
                break
    await bus.close()
    assert heard
    for sequences in heard.values():
        assert sequences == list(range(1, len(sequences) + 1))
