"""Budgets of the dataset service, over gRPC, on both databases, with callers that come at once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from sqlalchemy import select

from services.chassis import errors
from services.chassis.outbox import Outbox, stable_id
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.chassis.store_settings import S3Settings
from services.dataset.adapters.sql_tables import datasets, events, project_usage
from services.dataset.adapters.sql_usage import SqlMeter
from services.dataset.app import MIGRATIONS
from services.dataset.use_cases.usage import Metering
from tests.fakes import pictures
from tests.fixtures.dataset import SET_NAME, DatasetServer, running_dataset, upload_requests
from tests.fixtures.patience import until
from tests.fixtures.processes import finished_async

LIMITS = "[projects.acme]\ndatasets = 3\nimages = 4\nuploads = 8\n"
HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def budgets_file(tmp_path: Path) -> Path:
    file = tmp_path / "budgets.toml"
    file.write_text(LIMITS, encoding="utf-8")
    return file


@pytest.fixture
async def server(s3_settings: S3Settings, database_url: str, budgets_file: Path) -> AsyncIterator[DatasetServer]:
    async with running_dataset(s3_settings, database_url, budgets_file=budgets_file) as running:
        yield running


async def outcomes(calls: Sequence[Awaitable[Any]]) -> tuple[list[Any], list[errors.ResourceExhausted]]:
    """What was made, and what was refused for a budget; every other error is a fault."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in found if isinstance(one, errors.ResourceExhausted)]
    made = [one for one in found if not isinstance(one, BaseException)]
    assert len(made) + len(refused) == len(found), found
    return made, refused


async def used(server: DatasetServer) -> dict[str, tuple[int, int]]:
    answer = await server.stub.GetUsage(pb.GetUsageRequest(name="projects/acme/datasetUsage"))
    assert answer.name == "projects/acme/datasetUsage"
    return {budget.budget: (budget.used, budget.limit) for budget in answer.budgets}


async def test_of_datasets_made_at_once_exactly_as_many_are_made_as_fit(server: DatasetServer) -> None:
    made, refused = await outcomes([server.new_set(f"d-{number}") for number in range(8)])
    assert (len(made), len(refused)) == (3, 5)
    error = refused[0]
    assert (error.reason, error.field, error.metadata["budget"]) == ("BUDGET_USED_UP", "parent", "datasets")
    assert error.quotas[0].description == "datasets: 3 of 3 datasets are in use"
    assert (await used(server))["datasets"] == (3, 3)
    other = pb.CreateDatasetRequest(parent="projects/other", dataset_id="d")
    assert (await server.stub.CreateDataset(other)).name == "projects/other/datasets/d"


async def test_a_repeated_create_is_answered_when_nothing_more_fits(server: DatasetServer) -> None:
    request = pb.CreateDatasetRequest(parent="projects/acme", dataset_id="d-0", request_id="r-1")
    first = await server.stub.CreateDataset(request)
    await asyncio.gather(*(server.new_set(f"d-{number}") for number in (1, 2)))
    assert await server.stub.CreateDataset(request) == first
    with pytest.raises(errors.ResourceExhausted):
        await server.stub.CreateDataset(pb.CreateDatasetRequest(parent="projects/acme", validate_only=True))
    await server.stub.DeleteDataset(pb.DeleteDatasetRequest(name=first.name))
    await server.new_set("d-3")


async def test_of_uploads_at_once_into_several_sets_exactly_as_many_are_kept_as_fit(server: DatasetServer) -> None:
    names = [(await server.new_set(f"d-{number}")).name for number in range(3)]
    files = [pictures.png(32, 32, seed=seed) for seed in range(8)]
    uploads = [server.upload(data, parent=names[seed % 3]) for seed, data in enumerate(files)]
    made, refused = await outcomes(uploads)
    assert (len(made), len(refused)) == (4, 4)
    assert {(error.reason, error.metadata["budget"]) for error in refused} == {("BUDGET_USED_UP", "images")}
    assert refused[0].field == "header.parent"
    # Nothing of those that were refused is left.
    await until_true(server, images=4, objects=8, noted_keys=0)
    usage = await used(server)
    assert usage["images"] == (4, 4)
    stored = sum([info.size_bytes async for info in server.objects.list("")])
    assert usage["stored_bytes"] == (stored, 0)
    await server.stub.DeleteImage(pb.DeleteImageRequest(name=made[0].name))
    await server.upload(pictures.png(32, 32, seed=99), parent=names[0])


async def until_true(server: DatasetServer, **expected: int) -> None:
    async def so() -> bool:
        found = await server.stored()
        return {name: found[name] for name in expected} == expected

    await until(so)


async def test_bytes_are_refused_by_what_is_announced_and_by_what_came(
    server: DatasetServer, budgets_file: Path
) -> None:
    await server.new_set()
    image = await server.upload(pictures.png(64, 64, seed=1))
    stored = (await used(server))["stored_bytes"][0]
    assert stored > image.size_bytes
    replaced(budgets_file, f"[projects.acme]\nstored_bytes = {stored + 50}\n")
    data = pictures.png(64, 64, seed=2)
    for size in (0, len(data)):
        with pytest.raises(errors.ResourceExhausted) as caught:
            await server.upload(data, size_bytes=size)
        assert caught.value.metadata["budget"] == "stored_bytes"
    replaced(budgets_file, f"[projects.acme]\nstored_bytes = {10 * stored}\n")
    await server.upload(data)


def replaced(file: Path, text: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


async def test_an_upload_too_many_at_once_is_refused_at_once_and_may_come_again(
    server: DatasetServer, budgets_file: Path
) -> None:
    await server.new_set()
    replaced(budgets_file, "[projects.acme]\nuploads = 1\n")
    begun, go_on = asyncio.Event(), asyncio.Event()
    data = pictures.png(32, 32, seed=1)

    async def slowly() -> AsyncIterator[pb.UploadImageRequest]:
        messages: Iterator[pb.UploadImageRequest] = upload_requests(data, size_bytes=len(data))
        yield next(messages)
        begun.set()
        await go_on.wait()
        for message in messages:
            yield message

    slow = asyncio.ensure_future(server.stub.UploadImage(slowly()))

    async def at_work() -> bool:
        return (await used(server))["uploads"] == (1, 1)

    await until(at_work)
    with pytest.raises(errors.ResourceExhausted) as caught:
        await server.upload(pictures.png(32, 32, seed=2))
    assert caught.value.metadata["budget"] == "uploads"
    assert caught.value.retry_after_s
    go_on.set()
    assert (await slow).name.startswith(SET_NAME)
    await server.upload(pictures.png(32, 32, seed=2))
    assert (await used(server))["uploads"] == (0, 1)


async def test_labels_are_set_changed_by_a_mask_filtered_by_and_checked(server: DatasetServer) -> None:
    made = await server.new_set(display_name="Dogs", labels={"team": "pets", "stage": "raw"})
    assert dict(made.labels) == {"team": "pets", "stage": "raw"}
    await server.new_set("cats")
    request = pb.ListDatasetsRequest(parent="projects/acme", filter='labels.team = "pets" AND labels:stage')
    assert [one.name for one in (await server.stub.ListDatasets(request)).datasets] == [made.name]
    update = pb.UpdateDatasetRequest(dataset=dataset_pb2.Dataset(name=made.name, labels={"stage": "done"}))
    update.update_mask.paths.append("labels")
    changed = await server.stub.UpdateDataset(update)
    assert (dict(changed.labels), changed.display_name) == ({"stage": "done"}, "Dogs")
    assert changed.etag != made.etag
    for wrong in ({"Team": "a"}, {"team": "x" * 64}, {f"k{number}": "" for number in range(65)}):
        with pytest.raises(errors.InvalidArgument) as caught:
            await server.new_set("wrong", labels=wrong)
        assert caught.value.field.startswith("dataset.labels")


async def test_what_is_stored_is_told_once_an_hour_under_an_id_that_stays(server: DatasetServer) -> None:
    await server.new_set()
    await server.upload(pictures.png(32, 32, seed=1))
    usage = await used(server)

    def at(minutes: int) -> Metering:
        meter = SqlMeter(server.db, Outbox(events), published_only=True)
        return Metering(meter, lambda: HOUR + timedelta(minutes=minutes), keep=timedelta(days=9))

    await asyncio.gather(at(5).round(), at(5).round(), at(55).round())
    await at(61).round()
    async with server.db.connect() as conn:
        of_usage = select(events).where(events.c.type.like("fiveshot.usage.%"))
        told = (await conn.execute(of_usage.order_by(events.c.position))).all()
    assert [one.id for one in told] == [
        stable_id("stored_bytes", "projects/acme/datasetUsage", hour.isoformat())
        for hour in (HOUR, HOUR + timedelta(hours=1))
    ]
    assert {(one.type, one.subject) for one in told} == {
        ("fiveshot.usage.stored_bytes", "fiveshot.events.v1.acme.usage.dataset.stored_bytes")
    }
    assert f'"stored_bytes":{usage["stored_bytes"][0]}' in told[0].payload
    assert '"hour":"2026-03-01T12:00:00Z"' in told[0].payload


async def test_metering_puts_right_what_a_replica_of_the_release_before_did_not_count(server: DatasetServer) -> None:
    await server.new_set()
    await server.upload(pictures.png(32, 32, seed=1))
    right = await used(server)
    async with server.db.begin() as conn:
        await conn.execute(project_usage.update().values(datasets=7, images=-1, stored_bytes=0))
    meter = SqlMeter(server.db, Outbox(events), published_only=True)
    counted = await meter.meter("acme", HOUR)
    assert counted == replace(counted, datasets=1, images=1, stored_bytes=right["stored_bytes"][0])
    assert await used(server) == right


async def test_the_migration_counts_what_is_there(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS, revision="0003")
    db = Database(database_url)
    moment = HOUR
    row = {
        "project": "acme", "dataset_id": "d", "display_name": "", "folded_name": "", "description": "",
        "trigger_word": "", "num_repeats": 0, "image_count": 2, "size_bytes": 9, "last_position": 2, "last_version": 0,
        "revision": 1, "create_time": moment, "update_time": moment,
    }  # fmt: skip
    async with db.begin() as conn:
        await conn.execute(datasets.insert().values(row))
    await upgrade(database_url, MIGRATIONS)
    async with db.connect() as conn:
        found = (await conn.execute(select(project_usage))).one()
    assert (found.project, found.datasets, found.images, found.stored_bytes) == ("acme", 1, 2, 0)
    await db.dispose()


async def test_a_wrong_policy_file_stops_the_process_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text("[projects.acme]\nimages = 'many'\n", encoding="utf-8")
    done = await finished_async(
        [sys.executable, "-m", "services.dataset.app"], env={**os.environ, "DATASET_BUDGETS_FILE": str(file)}
    )
    lines = [line for line in done.stderr.splitlines() if "DATASET_BUDGETS_FILE" in line]
    assert (done.returncode, len(lines)) == (2, 1)
    assert "projects.acme.images is not a whole number" in lines[0]
    assert "Traceback" not in done.stderr
