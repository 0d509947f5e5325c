"""Measured runs, over the fake and over SQL on both databases: one suite, the same promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.outbox import Outbox
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_measurements import SqlMeasurements
from services.trainer.adapters.sql_tables import events
from services.trainer.app import MIGRATIONS
from services.trainer.ports import MEASUREMENTS_KEPT, Measurements, PresentDevice, WorkerAsk
from tests.fakes.measurements import FakeMeasurements
from tests.unit.trainer.measured import NAME, NOW, measurement, parameters

CPU = "cpu 2 threads"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    async with _migrated(database_url) as db:
        yield db


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Measurements]:
    """Nothing measured yet."""
    if request.param == "fake":
        yield FakeMeasurements()
        return
    async with _migrated(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")) as db:
        yield SqlMeasurements(db)


@asynccontextmanager
async def _migrated(url: str) -> AsyncIterator[Database]:
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    try:
        yield db
    finally:
        await db.dispose()


async def test_what_is_added_is_read_back_whole_the_newest_first(kept: Measurements) -> None:
    first = measurement(parameters(), pace=1.25)
    second = replace(measurement(parameters(batch_size=2), device="NVIDIA H200"), measured_at=NOW + timedelta(hours=1))
    await kept.add(first)
    await kept.add(second)
    assert list(await kept.read(None, 10)) == [second, first]
    assert list(await kept.read([CPU], 10)) == [first]
    assert list(await kept.read(None, 1)) == [second]
    assert list(await kept.read(["none"], 10)) == []


async def test_only_the_newest_of_a_device_and_base_model_are_kept(kept: Measurements) -> None:
    other = measurement(parameters(), base_model="baseModels/other")
    await kept.add(other)
    for number in range(MEASUREMENTS_KEPT + 3):
        await kept.add(replace(measurement(parameters()), measured_at=NOW + timedelta(minutes=number)))
    found = await kept.read(None, 100)
    own = [one.measured_at for one in found if one.base_model == NAME]
    assert own == [NOW + timedelta(minutes=number) for number in range(MEASUREMENTS_KEPT + 2, 2, -1)]
    assert other in found


async def test_what_was_never_measured_on_a_device_is_named(kept: Measurements) -> None:
    await kept.add(measurement(parameters()))
    names = [NAME, "baseModels/other"]
    assert list(await kept.unmeasured(CPU, names)) == ["baseModels/other"]
    assert list(await kept.unmeasured("NVIDIA H200", names)) == names


async def test_workers_of_late_that_can_load_a_base_model_are_present(database: Database) -> None:
    kept = SqlMeasurements(database)
    store = SqlJobStore(database, Outbox(events), Signals())
    await store.seen(WorkerAsk("w-1", (), "", CPU, 8 << 30), NOW)
    await store.seen(WorkerAsk("w-2", ("baseModels/other",), "", "NVIDIA H200", 141 << 30), NOW)
    await store.seen(WorkerAsk("w-3", (NAME,), "", "NVIDIA L4"), NOW - timedelta(hours=1))
    assert list(await kept.present(NAME, NOW - timedelta(minutes=5))) == [PresentDevice(CPU, 8 << 30)]
    assert {one.device for one in await kept.present(NAME, NOW - timedelta(hours=2))} == {CPU, "NVIDIA L4"}
