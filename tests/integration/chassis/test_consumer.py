"""The durable consumer: every event until it is handled, across restarts, and with the stream lost and made again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import nats
import pytest

from services.chassis.cloud_events import BusEvent
from services.chassis.errors import Unavailable
from services.chassis.nats_consumer import EventConsumer
from services.chassis.nats_events import EventBus
from tests.fixtures.patience import until


class Handler:
    """Remembers what it got; refuses as often as it is told."""

    def __init__(self, refusals: int = 0) -> None:
        self.got: list[str] = []
        self.refusals = refusals

    async def __call__(self, events: Sequence[BusEvent]) -> None:
        self.got += [event.id for event in events]
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("The database is away")


@pytest.fixture
def place() -> tuple[str, str]:
    """A stream and its subjects of the test's own."""
    name = uuid.uuid4().hex[:12]
    return f"S-{name}", f"consumed.{name}"


async def publish(bus: EventBus, root: str, event_id: str) -> None:
    await bus.publish(subject=f"{root}.x", event_id=event_id, type="t", source="s", data=b"{}")


@asynccontextmanager
async def consuming(nats_url: str, place: tuple[str, str], handler: Handler) -> AsyncIterator[None]:
    """A consumer on a connection of its own, which ends with it as that of a process does."""
    stream, root = place
    bus = EventBus(nats_url, name="consumer", stream=stream, subject_root=root)
    consumer = EventConsumer(bus, "readers", subject=f"{root}.>", ack_wait_s=1.0)
    task = asyncio.create_task(consumer.run(handler))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await bus.close()


async def test_an_event_that_was_not_handled_comes_again_and_a_handled_one_does_not(
    nats_url: str, place: tuple[str, str]
) -> None:
    stream, root = place
    bus = await EventBus.connect(nats_url, name="test", stream=stream, subject_root=root)
    await publish(bus, root, "before")
    first = Handler(refusals=1)
    async with consuming(nats_url, place, first):
        await until(lambda: first.got.count("before") == 2)
        await publish(bus, root, "during")
        await until(lambda: "during" in first.got)
    await publish(bus, root, "between")
    second = Handler()
    async with consuming(nats_url, place, second):
        await publish(bus, root, "after")
        await until(lambda: "after" in second.got)
    # What was handled in the last moment of the first may not have been confirmed.
    assert second.got in (["between", "after"], ["during", "between", "after"])
    await bus.close()


async def test_it_goes_on_after_the_stream_was_lost(nats_url: str, place: tuple[str, str]) -> None:
    stream, root = place
    bus = await EventBus.connect(nats_url, name="test", stream=stream, subject_root=root)
    client = await nats.connect(nats_url)
    handler = Handler()
    async with consuming(nats_url, place, handler):
        await publish(bus, root, "one")
        await until(lambda: handler.got == ["one"])
        await client.jetstream().delete_stream(stream)
        await publish(bus, root, "two")
        await until(lambda: "two" in handler.got)
    await client.close()
    await bus.close()


async def test_a_bus_that_sets_no_limits_leaves_those_of_others(nats_url: str, place: tuple[str, str]) -> None:
    stream, root = place
    owner = EventBus(nats_url, name="owner", stream=stream, subject_root=root, max_age=timedelta(days=3))
    await owner.open()
    guest = EventBus(nats_url, name="guest", stream=stream, subject_root=root, sets_limits=False)
    await guest.open()
    client = await nats.connect(nats_url)
    found = await client.jetstream().stream_info(stream)
    assert found.config.max_age == timedelta(days=3).total_seconds()
    for each in (client, owner, guest):
        await each.close()


async def test_a_reader_that_ends_leaves_no_call_behind_that_would_fail_unheard(
    nats_url: str, place: tuple[str, str]
) -> None:
    before = asyncio.all_tasks()
    handler = Handler()
    async with consuming(nats_url, place, handler):
        bus = EventBus(nats_url, name="publisher", stream=place[0], subject_root=place[1])
        await publish(bus, place[1], "one")
        await until(lambda: handler.got == ["one"], what="the event")
        await bus.close()
        # It waits for the next one now.
        await until(lambda: _fetching(before), what="the reader to wait")
    assert asyncio.all_tasks() == before


def _fetching(before: set[asyncio.Task[object]]) -> bool:
    return any("_fetched" in repr(task.get_coro()) for task in asyncio.all_tasks() - before)
