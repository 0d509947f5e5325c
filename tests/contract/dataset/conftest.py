"""The dataset service's store in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.chassis.outbox import Outbox
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.dataset.adapters.sql_datasets import SqlDatasetStore
from services.dataset.adapters.sql_tables import events
from services.dataset.app import MIGRATIONS
from services.dataset.ports import DatasetStore
from tests.fakes.dataset import FakeDatasetStore


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[DatasetStore]:
    if request.param == "fake":
        yield FakeDatasetStore()
        return
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    yield SqlDatasetStore(db, Outbox(events))
    await db.dispose()
