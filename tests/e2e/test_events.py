"""What one main job tells on the bus: exactly these events, in this order, each of them once and as its schema says."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fiveshot import AsyncClient
from fiveshot.aio.calls import Listing
from fiveshot.audit.v1.audit_pb2 import AuditRecord

from gateway.event_accounts import SERVICES_USER
from services.chassis.cloud_events import BusEvent
from services.chassis.nats_events import EventBus
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
        await best.save("told", aliases=("kept",))
        await until(lambda: USAGE in told.of(job.name))
        await until(lambda: "fiveshot.model.alias_moved" in told.of(model))

        assert told.of(dataset) == ["fiveshot.dataset.created", ADDED, UPDATED, "fiveshot.dataset.version_created"]
        of_tagging = [kind.removeprefix("fiveshot.tag_job.") for kind in told.of(tagging.name)]
        assert [kind for kind in of_tagging if kind != "progress"] == ["created", *["state_changed"] * 2]
        assert of_tagging.count("progress") >= 1, of_tagging
        assert told.of(model) == [f"fiveshot.model.{kind}" for kind in ("created", "version_created", "alias_moved")]
        of_job = [kind.removeprefix(JOB) for kind in told.of(job.name)]
        assert of_job.count("base_previews_completed") == 1
        assert of_job.index("base_previews_completed") < of_job.index("epoch_completed")
        assert [kind for kind in of_job if kind not in ("progress", "base_previews_completed")] == [
            "created", "state_changed", "state_changed", "epoch_completed", "epoch_completed", "state_changed", USAGE,
        ]  # fmt: skip
        for event in told.events:
            check(event.type, json.loads(event.data))
        assert len({event.id for event in told.events}) == len(told.events)


async def test_labels_are_set_changed_and_found_by_and_an_admin_reads_who_did_it(
    pretending: RunningStack, photos: Path
) -> None:
    async with AsyncClient(pretending.server, api_key=pretending.api_key) as fs:
        ds = await fs.datasets.create("labelled", trigger="sks", subject="toy")
        await ds.upload(photos)
        [first, *_] = await ds.images.first(1)
        await first.update(labels={"seen": "yes"})
        assert [image.name async for image in ds.find_images('labels.seen = "yes"')] == [first.name]
        version = await ds.freeze(labels={"for": "spring"})
        await ds.label_version(1, {"for": "autumn"})
        assert [each.name async for each in ds.versions('labels.for = "autumn"')] == [version.name]
        assert await ds.versions("NOT labels:for").all() == []
        job = await ds.train(epochs=1, version=1)
        async for _ in job.watch():
            pass
        epoch = (await job.epochs.all())[0]
        await epoch.update(labels={"shown": "client"})
        told = pretending.command("--json", "epochs", "label", job.id, "1", "--label", "kept=no")
        assert json.loads(told.stdout)["labels"] == {"shown": "client", "kept": "no"}
        told = pretending.command("dataset", "label", "labelled", first.file_name, "--remove-label", "seen")
        assert told.stdout.strip() == f"Changed {first.file_name}: no labels."
        told = pretending.command("dataset", "label-version", "labelled", "1")
        assert (told.exit_code, "No change was given" in told.output) == (2, True)
        code, answer = await pretending.http("PATCH", f"/v1/{epoch.name}?update_mask=loss", {"labels": {"a": "b"}})
        assert (code, answer["details"][0]["reason"]) == (400, "UPDATE_MASK_INVALID")
        records = fs.audit_records(f'resource = "{epoch.name}" AND method = "*UpdateEpoch"')
        await until(lambda: _codes(records, ["INVALID_ARGUMENT", "OK", "OK"]))


async def _codes(records: Listing[AuditRecord], wanted: list[str]) -> bool:
    return [record.code async for record in records] == wanted
