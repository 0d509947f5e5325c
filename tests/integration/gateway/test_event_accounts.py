"""The event bus as outsiders and consumers meet it: a real NATS server with the accounts that the stack writes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from gateway import event_consumers
from gateway.event_accounts import Consumer
from gateway.supervisor import servers
from services.chassis.nats_events import EventBus
from tests.fixtures import processes
from tests.fixtures.patience import scaled, until, within
from tests.fixtures.servers import NATS_PASSWORD, nats_address


class Bus:
    """A server of this test's own. errors: what it told its clients that they may not."""

    def __init__(self, folder: Path) -> None:
        self.spec = servers.nats(folder, password=NATS_PASSWORD)
        self.errors: list[str] = []
        self.services = EventBus(nats_address(self.spec), name="test")
        with (folder / "nats.log").open("ab") as log:
            self.process = processes.start(self.spec, log.fileno())
        processes.wait_ready(self.spec, self.process)

    @property
    def address(self) -> str:
        """Where it listens, without credentials."""
        return f"nats://{servers.HOST}:{self.spec.ports['nats']}"

    async def admit(self, *consumers: Consumer) -> None:
        """Makes these the consumers of the running server."""
        servers.configure_nats(self.spec.data_dir, self.spec.ports["nats"], NATS_PASSWORD, consumers)
        os.kill(self.process.pid, signal.SIGHUP)
        for project in {each.project for each in consumers}:
            await event_consumers.ensure_stream(self.address, project, NATS_PASSWORD)

    async def publish(self, project: str, event_id: str) -> None:
        """An event of a project, as its service publishes it."""
        subject = f"fiveshot.events.v1.{project}.trainingJobs.job.created"
        await self.services.publish(subject=subject, event_id=event_id, type="created", source="job", data=b"{}")

    async def connect(self, seed: str) -> Client:
        """A consumer's connection."""

        async def told(error: Exception) -> None:
            self.errors.append(str(error))

        return await nats.connect(self.address, nkeys_seed_str=seed, allow_reconnect=False, error_cb=told)


@asynccontextmanager
async def _bus(folder: Path) -> AsyncIterator[Bus]:
    folder.mkdir()
    bus = Bus(folder)
    try:
        yield bus
    finally:
        await bus.services.close()
        processes.kill_group(bus.process)


@pytest.fixture
async def bus(server_folder: Path) -> AsyncIterator[Bus]:
    async with _bus(server_folder / f"nats-{uuid4().hex[:8]}") as made:
        yield made


async def _ids(client: Client, project: str, durable: str = "mine") -> list[str]:
    """The ids of the events that a durable consumer has not seen."""
    jetstream = client.jetstream(timeout=scaled(2))
    found = await jetstream.pull_subscribe(f"fiveshot.events.v1.{project}.>", durable=durable, stream="FIVESHOT_EVENTS")
    ids = []
    try:
        for message in await found.fetch(10, timeout=scaled(0.5)):
            ids.append((message.headers or {})["ce-id"])
            await message.ack_sync()
    except TimeoutError:
        # NATS's own is one too; a fetch that is late raises Python's.
        pass
    return ids


@pytest.mark.parametrize(
    "credentials", [{}, {"user": "services", "password": "guess"}, {"token": "guess"}], ids=["none", "guess", "token"]
)
async def test_nobody_comes_in_without_the_right_credentials(bus: Bus, credentials: dict[str, str]) -> None:
    async def quiet(_error: Exception) -> None:
        """nats-py would print it."""

    client = Client()
    with pytest.raises(NatsError, match="Authorization Violation"):
        await client.connect(bus.address, allow_reconnect=False, error_cb=quiet, **credentials)  # type: ignore[arg-type]
    await client.close()


async def test_a_consumer_reads_its_project_and_nothing_else(bus: Bus) -> None:
    (mine, my_key), (_, other_key) = event_consumers.new_seed(), event_consumers.new_seed()
    await bus.admit(Consumer("mine", "acme", my_key), Consumer("other", "globex", other_key))
    await bus.publish("acme", "a-1")
    await bus.publish("globex", "g-1")
    client = await bus.connect(mine)
    assert await _ids(client, "acme") == ["a-1"]
    await bus.publish("acme", "a-2")
    assert await _ids(client, "acme") == ["a-2"]
    # The stream of its account holds no event of another project, whatever it asks for.
    with pytest.raises((NatsError, AssertionError)):
        assert await _ids(client, "globex", "theirs") == ["g-1"]
    await client.subscribe("fiveshot.events.v1.>")
    await client.subscribe("fiveshot.events.v1.globex.>")
    await until(lambda: len(bus.errors) >= 2, what="both subscriptions to be refused")
    assert all("permissions violation for subscription" in error.lower() for error in bus.errors)
    await client.close()


async def test_a_consumer_cannot_be_heard(bus: Bus) -> None:
    """Neither directly nor by having the server deliver an event to a subject of the consumer's choice."""
    mine, key = event_consumers.new_seed()
    await bus.admit(Consumer("mine", "acme", key))
    await bus.publish("acme", "a-1")
    client = await bus.connect(mine)
    assert await _ids(client, "acme") == ["a-1"]
    forged = "fiveshot.events.v1.acme.trainingJobs.job.forged"
    await client.publish(forged, b"{}")
    await client.publish("fiveshot.signals.v2.trainer", b"{}")
    await bus.publish("acme", "a-2")
    request = "$JS.API.CONSUMER.MSG.NEXT.FIVESHOT_EVENTS.mine"
    await client.publish(request, b"", reply="fiveshot.events.v1.globex.trainingJobs.job.forged")
    await client.flush()
    await until(lambda: len(bus.errors) >= 2, what="both messages to be refused")
    await bus.publish("acme", "a-3")
    heard = []
    async with within(10):
        async for event in bus.services.subscribe("fiveshot.events.v1.>", after_sequence=0):
            heard.append(event.id)
            if event.id == "a-3":
                break
    assert heard == ["a-1", "a-2", "a-3"]
    await client.close()


async def test_a_withdrawn_consumer_is_put_out_at_once(bus: Bus) -> None:
    (mine, key), (_, other) = event_consumers.new_seed(), event_consumers.new_seed()
    await bus.admit(Consumer("mine", "acme", key), Consumer("other", "acme", other))
    client = await bus.connect(mine)
    await bus.admit(Consumer("other", "acme", other))
    await until(lambda: client.is_closed, what="the connection to be closed")
    # The services notice nothing.
    await bus.publish("acme", "later")
