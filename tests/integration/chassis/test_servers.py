"""The fixtures give servers that work: without this, every later failure would be a riddle."""

from __future__ import annotations

from sqlalchemy import text

from services.chassis.nats_events import EventBus
from services.chassis.s3 import ObjectStore
from services.chassis.sql import Database


async def test_the_object_store_takes_and_gives_bytes(object_store: ObjectStore) -> None:
    await object_store.put("folder/object", b"content")
    assert await object_store.get("folder/object") == b"content"


async def test_the_event_bus_confirms_an_event(event_bus: EventBus) -> None:
    subject = "fiveshot.events.v1.test.things.one.created"
    first = await event_bus.publish(subject=subject, event_id="e-1", type="created", source="things/one", data=b"{}")
    assert first >= 1


async def test_both_databases_answer(database_url: str) -> None:
    db = Database(database_url)
    async with db.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await db.dispose()
