"""The event log and its way to JetStream, on both databases, with the bus there, away and back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from sqlalchemy import func, select

from gateway.supervisor import servers
from services.chassis.cloud_events import SUBJECT_ROOT, BusEvent, event_subject
from services.chassis.errors import Unavailable
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, OutboxEvent, Relay
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from tests.fixtures import processes
from tests.fixtures.patience import scaled, until, within
from tests.fixtures.servers import NATS_PASSWORD, nats_address
from tests.integration.chassis.tables import EVENTS, MIGRATIONS


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    await upgrade(database_url, MIGRATIONS)
    database = Database(database_url)
    yield database
    await database.dispose()


@pytest.fixture
def project() -> str:
    """A project of this test's own on the shared stream."""
    return f"p-{uuid.uuid4().hex[:12]}"


async def append(db: Database, outbox: Outbox, project: str, thing: str, kind: str = "changed") -> OutboxEvent:
    async with db.begin() as conn:
        event = await outbox.append(
            conn,
            aggregate=f"projects/{project}/things/{thing}",
            type=f"test.thing.{kind}",
            subject=event_subject(project, "things", thing, kind),
            source=f"projects/{project}/things/{thing}",
            payload=json.dumps({"thing": thing}),
        )
    outbox.signals.notify("a")
    return event


async def unpublished(db: Database) -> int:
    async with db.connect() as conn:
        query = select(func.count()).select_from(EVENTS).where(EVENTS.c.published_at.is_(None))
        return int(await conn.scalar(query) or 0)


async def take(bus: EventBus, project: str, count: int, after: int = 0) -> list[BusEvent]:
    events = []
    async with within(30):
        async for event in bus.subscribe(f"{SUBJECT_ROOT}.{project}.>", after_sequence=after):
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_every_aggregate_counts_its_events_from_one(db: Database, project: str) -> None:
    outbox = Outbox(EVENTS)
    made = await asyncio.gather(*(append(db, outbox, project, f"t{index % 3}") for index in range(30)))
    for thing in range(3):
        aggregate = f"projects/{project}/things/t{thing}"
        assert sorted(event.sequence for event in made if event.aggregate == aggregate) == list(range(1, 11))
        async with db.connect() as conn:
            assert await outbox.last_sequence(conn, aggregate) == 10
            assert [event.sequence for event in await outbox.read_after(conn, aggregate, 7)] == [8, 9, 10]
            assert [event.sequence for event in await outbox.read_after(conn, aggregate, 0, limit=2)] == [1, 2]
            assert await outbox.last_sequence(conn, "projects/none") == 0


async def append_and_fail(db: Database, outbox: Outbox) -> None:
    async with db.begin() as conn:
        await outbox.append(conn, aggregate="a", type="t", subject="s", source="a", payload="{}")
        raise RuntimeError("the state change failed")


async def test_an_event_of_a_change_that_failed_never_was(db: Database) -> None:
    outbox = Outbox(EVENTS)
    with pytest.raises(RuntimeError):
        await append_and_fail(db, outbox)
    async with db.connect() as conn:
        assert await outbox.read_after(conn, "a", 0) == []


async def test_events_arrive_in_order_with_cloudevents_headers(
    db: Database, event_bus: EventBus, nats_url: str, project: str
) -> None:
    outbox = Outbox(EVENTS)
    relay = Relay(db, outbox, event_bus, poll_s=5)
    running = asyncio.create_task(relay.run())
    made = [await append(db, outbox, project, "t1", f"step-{number}") for number in range(5)]
    events = await take(event_bus, project, 5)
    assert [event.id for event in events] == [event.id for event in made]
    assert [event.type for event in events] == [f"test.thing.step-{number}" for number in range(5)]
    assert json.loads(events[0].data) == {"thing": "t1"}
    assert await take(event_bus, project, 2, after=events[2].sequence) == events[3:]
    # A subscriber hears of an event a moment before the relay has marked it.
    await until_published(db)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    client = await nats.connect(nats_url)
    message = await client.jetstream().get_msg("FIVESHOT_EVENTS", events[0].sequence)
    await client.close()
    headers = message.headers or {}
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-id"] == headers["Nats-Msg-Id"] == made[0].id
    assert headers["ce-source"] == f"projects/{project}/things/t1"
    assert headers["ce-subject"] == project
    assert headers["ce-time"].endswith("Z")
    assert headers["content-type"] == "application/json"


async def test_an_event_that_is_sent_again_is_stored_once(db: Database, event_bus: EventBus, project: str) -> None:
    outbox = Outbox(EVENTS)
    event = await append(db, outbox, project, "t1")
    relay = Relay(db, outbox, event_bus)
    assert await relay.publish_pending(event_bus) == 1
    async with db.begin() as conn:
        await conn.execute(EVENTS.update().values(published_at=None))
    assert await relay.publish_pending(event_bus) == 1
    last = await append(db, outbox, project, "t1", "last")
    await relay.publish_pending(event_bus)
    assert [each.id for each in await take(event_bus, project, 2)] == [event.id, last.id]


async def test_replicas_publish_each_event_once_and_in_order(
    postgres_url: str, event_bus: EventBus, project: str
) -> None:
    await upgrade(postgres_url, MIGRATIONS)
    dbs = [Database(postgres_url) for _ in range(3)]
    outbox = Outbox(EVENTS)
    made = [await append(dbs[0], outbox, project, "t1", f"n{number}") for number in range(40)]
    relays = [Relay(db, outbox, event_bus, batch=7) for db in dbs]
    while await unpublished(dbs[0]):
        await asyncio.gather(*(relay.publish_pending(event_bus) for relay in relays))
    assert [event.id for event in await take(event_bus, project, 40)] == [event.id for event in made]
    for db in dbs:
        await db.dispose()


async def test_without_a_bus_the_log_is_kept(sqlite_url: str, project: str) -> None:
    await upgrade(sqlite_url, MIGRATIONS)
    db = Database(sqlite_url)
    outbox = Outbox(EVENTS)
    await append(db, outbox, project, "t1")
    await Relay(db, outbox, None).run()
    assert await unpublished(db) == 1
    await db.dispose()


@pytest.fixture
def own_nats(server_folder: Path) -> servers.ServerSpec:
    """A NATS server description for a test that kills it."""
    return servers.nats(server_folder / f"nats-{uuid.uuid4().hex[:8]}", password=NATS_PASSWORD)


async def test_events_wait_for_a_bus_that_is_away_and_survive_its_death(
    own_nats: servers.ServerSpec, sqlite_url: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade(sqlite_url, MIGRATIONS)
    db = Database(sqlite_url)
    outbox = Outbox(EVENTS)
    bus = EventBus(nats_address(own_nats), name="test", timeout_s=scaled(1))
    with pytest.raises(Unavailable):
        await bus.publish(subject=f"{SUBJECT_ROOT}.x", event_id="e", type="t", source="s", data=b"{}")

    failed = 0
    publish = bus.publish

    async def counted(**event: Any) -> int:
        nonlocal failed
        try:
            return await publish(**event)
        except Unavailable:
            failed += 1
            raise

    monkeypatch.setattr(bus, "publish", counted)
    relay = asyncio.create_task(Relay(db, outbox, bus, poll_s=0.1).run())
    first = await append(db, outbox, project, "t1", "before")
    await until(lambda: failed >= 2, what="the relay to try in vain")
    assert await unpublished(db) == 1
    with (own_nats.data_dir / "nats.log").open("ab") as log:
        process = processes.start(own_nats, log.fileno())
        await until_published(db)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        second = await append(db, outbox, project, "t1", "during")
        before = failed
        await until(lambda: failed > before, what="the relay to try in vain")
        assert await unpublished(db) == 1
        process = processes.start(own_nats, log.fileno())
    await until_published(db)
    assert [event.id for event in await take(bus, project, 2)] == [first.id, second.id]
    relay.cancel()
    with suppress(asyncio.CancelledError):
        await relay
    await bus.close()
    processes.kill_group(process)
    await db.dispose()


async def test_a_stream_that_was_lost_is_made_again(nats_url: str, project: str) -> None:
    stream, root = f"S-{project}", f"lost.{project}"
    bus = await EventBus.connect(nats_url, name="test", stream=stream, subject_root=root)
    client = await nats.connect(nats_url)
    for number in range(2):
        stored = await bus.publish(subject=f"{root}.x", event_id=str(number), type="t", source="s", data=b"{}")
        assert stored == 1
        await client.jetstream().delete_stream(stream)
    await client.close()
    await bus.close()


async def test_a_stream_keeps_what_its_settings_say_and_follows_them(nats_url: str, project: str) -> None:
    stream, root = f"L-{project}", f"limits.{project}"

    async def filled(mebibytes: int, days: float) -> Any:
        limits = {"max_age": timedelta(days=days), "max_bytes": mebibytes * 1024 * 1024}
        bus = EventBus(nats_url, name="test", stream=stream, subject_root=root, **limits)  # type: ignore[arg-type]
        jetstream = await bus.open()
        for number in range(4):
            event_id = f"{mebibytes}-{number}"
            await bus.publish(subject=f"{root}.x", event_id=event_id, type="t", source="s", data=b" " * 500_000)
        found = await jetstream.stream_info(stream)
        await bus.close()
        return found

    kept = await filled(1, 7.0)
    assert (kept.config.max_bytes, kept.config.max_age) == (1024 * 1024, 7 * 86_400)
    # The newest two fit.
    assert (kept.state.messages, kept.state.last_seq) == (2, 4)
    more = await filled(8, 0)
    assert (more.config.max_bytes, more.config.max_age or 0) == (8 * 1024 * 1024, 0)
    assert more.state.messages == 6


async def until_published(db: Database) -> None:
    async def published() -> bool:
        return await unpublished(db) == 0

    await until(published, what="events to be published")
