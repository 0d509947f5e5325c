"""The event logs of datasets, tag jobs and models: what is told, in which order, what a delete and a tidying leave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, select, update

from services.chassis.listing.pages import PageTokens
from services.chassis.outbox import Outbox, events_table
from services.chassis.requests.keys import RequestKey
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.dataset import app as dataset_app
from services.dataset.adapters.sql_datasets import SqlDatasetStore
from services.dataset.models.names import VersionRef
from services.dataset.models.resources import DatasetFields
from services.dataset.use_cases.datasets import DatasetVerbs, NewDataset
from services.dataset.use_cases.upkeep import Upkeep
from services.dataset.use_cases.versions import VersionVerbs
from services.registry import app as registry_app
from services.registry.adapters.sql_models import SqlModelStore
from services.registry.models.resources import ModelChanges
from services.tagger import app as tagger_app
from services.tagger.adapters.sql_tag_jobs import SqlTagJobs
from services.tagger.models.jobs import ImageState, completed
from tests.contract.dataset.rows import NOW, SET, image
from tests.contract.registry.test_model_store import draft, key, new
from tests.contract.test_tag_jobs import new_job
from tests.fakes.dataset import FakePictureStore
from tests.unit.tools.test_event_schemas import check

TABLE = events_table(MetaData())
NOTHING = timedelta(0)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def opened(url: str, migrations: Path) -> AsyncIterator[tuple[Database, Outbox]]:
    await upgrade(url, migrations)
    db = Database(url)
    yield db, Outbox(TABLE)
    await db.dispose()


async def told(db: Database) -> list[tuple[str, int, dict[str, Any]]]:
    """Kind, number and data of all events in order; each fits its schema."""
    async with db.connect() as conn:
        rows = (await conn.execute(select(TABLE).order_by(TABLE.c.position))).all()
    for row in rows:
        data = json.loads(row.payload)
        check(row.type, data)
        assert (data["eventId"], int(data["sequence"])) == (row.id, row.sequence)
        assert row.subject.endswith(row.type.rpartition(".")[2])
    return [(row.type.rpartition(".")[2], row.sequence, json.loads(row.payload)) for row in rows]


async def kinds(db: Database) -> list[tuple[str, int]]:
    return [(kind, sequence) for kind, sequence, _ in await told(db)]


@pytest.fixture
async def datasets(url: str) -> AsyncIterator[tuple[Database, Outbox]]:
    async for each in opened(url, dataset_app.MIGRATIONS):
        yield each


async def test_a_dataset_tells_of_itself_its_images_in_bulk_and_its_versions(
    datasets: tuple[Database, Outbox],
) -> None:
    db, outbox = datasets
    store = SqlDatasetStore(db, outbox)
    upkeep = Upkeep(store, FakePictureStore(), lambda: NOW, remember_requests=timedelta(days=7))
    verbs = DatasetVerbs(store, upkeep, lambda: NOW, PageTokens())
    versions = VersionVerbs(store, upkeep, lambda: NOW, PageTokens())
    new_set = NewDataset(SET.project, SET.dataset, DatasetFields(display_name="Dogs"), "", False)
    await verbs.create(new_set)
    for number in range(1, 8):
        async with store.write() as tx:
            dataset = await tx.lock_dataset(SET)
            await tx.add_image(image(number))
            await tx.save_dataset(dataset.with_image(image(number)))
    assert await store.tell_images(quiet=HOUR, longest=HOUR) == 0
    async with store.write() as tx:
        dataset = await tx.lock_dataset(SET)
        await tx.save_image(image(1).changed(replace(image(1).fields, caption="new"), NOW))
        await tx.remove_image(image(7))
        await tx.save_dataset(dataset.without_image(image(7), NOW))
    assert await kinds(db) == [("created", 1)]
    assert await store.tell_images(quiet=NOTHING, longest=HOUR) == 1
    assert await store.tell_images(quiet=NOTHING, longest=NOTHING) == 0
    async with store.write() as tx:
        dataset = await tx.lock_dataset(SET)
        await tx.save_image(image(2).changed(replace(image(2).fields, labels={"a": "b"}), NOW))
        await tx.remove_image(image(3))
        await tx.save_dataset(dataset.without_image(image(3), NOW))
    version = await versions.create(SET, description="", request_id="", labels={"for": "test"})
    again = await versions.create(SET, description="", request_id="")
    assert (again.ref, dict(again.labels)) == (version.ref, {"for": "test"})
    labelled = await versions.label(version.ref, {"for": "more"}, (), version.etag)
    assert await versions.get(version.ref) == labelled
    await verbs.update(SET, DatasetFields(trigger_word="sks"), (), "")
    await versions.delete(VersionRef(SET, 1), etag="", force=True)
    await verbs.delete(SET, etag="", force=False)
    events = await told(db)
    assert [(kind, sequence) for kind, sequence, _ in events] == [
        ("created", 1), ("images_added", 2), ("images_updated", 3), ("images_deleted", 4), ("version_created", 5),
        ("version_updated", 6), ("updated", 7), ("version_deleted", 8), ("deleted", 9),
    ]  # fmt: skip
    added, changed, gone = (data for kind, _, data in events if kind.startswith("images_"))
    assert added["imagesAdded"] == {
        "images": [f"{SET.name}/images/img-{number}" for number in range(1, 7)], "imageCount": 6,
    }  # fmt: skip
    assert changed["imagesUpdated"]["images"] == [f"{SET.name}/images/img-2"]
    assert gone["imagesDeleted"] == {"images": [f"{SET.name}/images/img-3"], "imageCount": 5}
    assert events[4][2]["versionCreated"]["version"]["labels"] == {"for": "test"}
    assert events[-1][2]["deleted"] == {"imageCount": 5}

    await verbs.create(new_set)
    assert (await kinds(db))[-1] == ("created", 1)


async def test_a_log_is_tidied_of_what_the_bus_has_but_numbers_go_on(datasets: tuple[Database, Outbox]) -> None:
    db, outbox = datasets

    async def forgotten(*, published_only: bool) -> int:
        async with db.begin() as conn:
            return await outbox.forget(conn, datetime.now(UTC) + HOUR, published_only=published_only)

    async def append(aggregate: str) -> int:
        async with db.begin() as conn:
            event = await outbox.append(conn, aggregate=aggregate, type="t.x", subject="s", source="s", payload="{}")
            return event.sequence

    assert [await append("a") for _ in range(3)] == [1, 2, 3]
    assert await append("b") == 1
    await append("c/usage/now")
    async with db.begin() as conn:
        await outbox.close(conn, "b")
    assert await forgotten(published_only=True) == 0
    async with db.begin() as conn:
        await conn.execute(update(TABLE).values(published_at=datetime.now(UTC)))
    assert await forgotten(published_only=True) == 4
    assert (await append("a"), await append("b")) == (4, 1)
    assert await forgotten(published_only=False) == 1


@pytest.fixture
async def models(url: str) -> AsyncIterator[tuple[Database, Outbox]]:
    async for each in opened(url, registry_app.MIGRATIONS):
        yield each


async def test_a_model_tells_of_itself_its_versions_and_its_aliases(models: tuple[Database, Outbox]) -> None:
    db, outbox = models
    store = SqlModelStore(db, outbox)
    first = await store.add_version(draft(), create=new("rex"), aliases=("best",), key=key("once"))
    assert await store.add_version(draft(), create=new("rex"), aliases=("best",), key=key("once")) == first
    second = await store.add_version(draft(), create=new("rex"), aliases=(), key=key())
    await store.set_alias("pets", "rex", "best", 2)
    await store.set_alias("pets", "rex", "best", 2)
    await store.label_version("pets", "rex", 2, {"a": "b"}, "")
    await store.label_version("pets", "rex", 2, {"a": "b"}, "")
    await store.update_model("pets", "rex", ModelChanges(display_name="Rex"), "")
    await store.delete_version("pets", "rex", 2, lambda version: None)
    await store.set_alias("pets", "rex", "best", 1)
    await store.delete_alias("pets", "rex", "best")
    await store.delete_model("pets", "rex", etag="", force=True)
    events = await told(db)
    assert [kind for kind, _, _ in events] == [
        "created", "version_created", "alias_moved", "version_created", "alias_moved", "version_updated", "updated",
        "alias_deleted", "version_deleted", "alias_moved", "alias_deleted", "deleted",
    ]  # fmt: skip
    assert [sequence for _, sequence, _ in events] == list(range(1, 13))
    kept = events[1][2]["versionCreated"]["version"]
    assert kept["name"] == first.name
    assert "modelCard" not in kept
    assert events[4][2]["aliasMoved"] == {
        "alias": "best", "version": second.name, "previousVersion": first.name,
    }  # fmt: skip
    await store.create_model(new("rex"), RequestKey("pets", "CreateModel", "", "d"))
    assert (await kinds(db))[-1] == ("created", 1)
    assert await store.forget_events(-HOUR) == 12


@pytest.fixture
async def tag_jobs(url: str) -> AsyncIterator[tuple[Database, Outbox]]:
    async for each in opened(url, tagger_app.MIGRATIONS):
        yield each


async def test_a_tag_job_tells_of_its_states_and_its_end(tag_jobs: tuple[Database, Outbox]) -> None:
    db, outbox = tag_jobs
    jobs = SqlTagJobs(db, outbox)
    once = RequestKey("p", "TagImages", "once", "x")
    made = await jobs.create(new_job(images=2), once)
    assert await jobs.create(new_job("t2", images=2), once) == made
    now, until = datetime.now(UTC), datetime.now(UTC) + HOUR
    assert await jobs.claim("me", now=now, until=until)
    for outcome in made.outcomes:
        assert await jobs.record(made.name, "me", replace(outcome, state=ImageState.TAGGED), now=now)
    await jobs.release("me")
    # Taken up again by another process, which is no other state.
    assert await jobs.claim("you", now=now, until=until)
    assert await jobs.end(made.name, "you", lambda job: completed(job, now))
    await jobs.delete(made.name, lambda job: None)
    events = await told(db)
    assert [(kind, data.get("state")) for kind, _, data in events] == [
        ("created", "STATE_QUEUED"), ("state_changed", "STATE_RUNNING"), ("progress", "STATE_RUNNING"),
        ("state_changed", "STATE_SUCCEEDED"), ("deleted", "STATE_SUCCEEDED"),
    ]  # fmt: skip
    end = events[3][2]["stateChanged"]
    assert (end["previousState"], end["job"]["taggedImages"]) == ("STATE_RUNNING", 2)


async def test_a_tag_job_tells_of_its_progress_once_a_second_and_only_what_is_new(
    tag_jobs: tuple[Database, Outbox],
) -> None:
    db, outbox = tag_jobs
    jobs = SqlTagJobs(db, outbox)
    made = await jobs.create(new_job(images=6), RequestKey("p", "TagImages", "", "x"))
    now = datetime.now(UTC)
    assert await jobs.claim("me", now=now, until=now + HOUR)
    states = (*[ImageState.TAGGED] * 3, ImageState.SKIPPED, ImageState.FAILED, ImageState.TAGGED)
    first, second, third, fourth, fifth, last = (
        replace(outcome, state=state) for outcome, state in zip(made.outcomes, states, strict=True)
    )
    later = now + timedelta(seconds=1)
    for outcome, moment in (
        (first, now),
        (second, now + timedelta(milliseconds=999)),
        (third, later),
        (fourth, later),
        (third, later + timedelta(seconds=1)),
        (fifth, later + timedelta(seconds=2)),
        (last, later + timedelta(seconds=9)),
    ):
        assert await jobs.record(made.name, "me", outcome, now=moment)
    await jobs.cancel(made.name, now=later)
    assert await jobs.record(made.name, "me", replace(first, state=ImageState.FAILED), now=later + HOUR)
    assert [(kind, data.get("progress")) for kind, _, data in await told(db) if kind == "progress"] == [
        ("progress", {"totalImages": 6, "taggedImages": 1}),
        ("progress", {"totalImages": 6, "taggedImages": 3}),
        ("progress", {"totalImages": 6, "taggedImages": 3, "skippedImages": 1, "failedImages": 1}),
    ], "not what is told too soon, twice, with the end or after it"
