"""What one main job tells on the bus: exactly these events, in this order, each of them once and as its schema says."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fiveshot import AsyncClient

from gateway.event_accounts import SERVICES_USER
from services.chassis.nats_events import BusEvent, EventBus
from tests.fixtures.patience import until
from tests.fixtures.running_stack import PARENT, RunningStack
from tests.unit.tools.test_event_schemas import check

ADDED, UPDATED = "fiveshot.dataset.images_added", "fiveshot.dataset.images_updated"
JOB, USAGE = "fiveshot.training_job.", "fiveshot.usage.gpu_seconds"


class Heard:
    """All events of the stream so far."""

    def __init__(self) -> None:
        self.events: list[BusEvent] = []

    def of(self, source: str) -> list[str]:
        """The types of one source in order; images that were told in two parts count as one, and so does progress."""
        found = [event.type for event in self.events if event.source == source]
        merged = (ADDED, UPDATED, f"{JOB}progress")
        return [kind for kind, same in itertools.groupby(found) for kind in ([kind] if kind in merged else same)]

    def images(self, source: str, kind: str, payload: str) -> list[str]:
        """The images that were told."""
        mine = [json.loads(event.data) for event in self.events if (event.source, event.type) == (source, kind)]
        return [name for data in mine for name in data[payload]["images"]]


@asynccontextmanager
async def heard(stack: RunningStack) -> AsyncIterator[Heard]:
    found, password = Heard(), stack.folder.credentials().nats_password
    port = stack.state.children["nats"].ports["nats"]
    bus = EventBus(f"nats://127.0.0.1:{port}", name="test", user=SERVICES_USER, password=password, sets_limits=False)

    async def listen() -> None:
        async for event in bus.subscribe("fiveshot.events.v1.default.>", after_sequence=0):
            found.events.append(event)

    listening = asyncio.create_task(listen())
    try:
        yield found
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await bus.close()


async def test_a_main_job_tells_exactly_what_happened(pretending: RunningStack, photos: Path) -> None:
    dataset, model = f"{PARENT}/datasets/told", f"{PARENT}/models/told"
    async with heard(pretending) as told, AsyncClient(pretending.server, api_key=pretending.api_key) as fs:
        ds = await fs.datasets.create("told", trigger="sks", subject="toy")
        await ds.upload(photos)
        await until(lambda: len(told.images(dataset, ADDED, "imagesAdded")) == 5)
        tagging = await ds.tag()
        await until(lambda: len(told.images(dataset, UPDATED, "imagesUpdated")) == 5)
        job = await ds.train(epochs=2)
        async for _ in job.watch():
            pass
        await job.refresh()
        best = await job.recommended
        await best.save("told", aliases=["kept"])
        await until(lambda: USAGE in told.of(job.name))
        await until(lambda: "fiveshot.model.alias_moved" in told.of(model))

        assert told.of(dataset) == ["fiveshot.dataset.created", ADDED, UPDATED, "fiveshot.dataset.version_created"]
        assert told.of(tagging.name) == ["fiveshot.tag_job.created", *["fiveshot.tag_job.state_changed"] * 2]
        assert told.of(model) == [f"fiveshot.model.{kind}" for kind in ("created", "version_created", "alias_moved")]
        assert [kind for kind in told.of(job.name) if kind != f"{JOB}progress"] == [
            f"{JOB}created", f"{JOB}state_changed", f"{JOB}base_previews_completed", f"{JOB}state_changed",
            f"{JOB}epoch_completed", f"{JOB}epoch_completed", f"{JOB}state_changed", USAGE,
        ]  # fmt: skip
        for event in told.events:
            check(event.type, json.loads(event.data))
        assert len({event.id for event in told.events}) == len(told.events)
