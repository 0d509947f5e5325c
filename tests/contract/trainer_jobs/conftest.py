"""The trainer's job store in memory, on SQLite and on PostgreSQL, and what is kept in it of ended jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.chassis.outbox import Outbox
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_deletes import SqlDeletions
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_leftovers import SqlLeftovers
from services.trainer.adapters.sql_tables import events
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.app import MIGRATIONS
from services.trainer.ports import Deletions, History, JobStore, Leftovers
from tests.fakes.job_store import FakeDeletions, FakeJobStore, FakeLeftovers

Kept = tuple[JobStore, History, Deletions, Leftovers]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    await upgrade(database_url, MIGRATIONS)
    db = Database(database_url)
    yield db
    await db.dispose()


@pytest.fixture
def signals() -> Signals:
    """Signals of this process."""
    return Signals()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def kept(request: pytest.FixtureRequest, signals: Signals) -> AsyncIterator[Kept]:
    """An empty store, and what is kept in it of ended jobs."""
    if request.param == "memory":
        fake = FakeJobStore(signals)
        yield fake, fake, FakeDeletions(fake), FakeLeftovers(fake)
        return
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    outbox = Outbox(events)
    store, history = SqlJobStore(db, outbox, signals), SqlHistory(db, published_only=False)
    # So that a few rows are several batches.
    yield store, history, SqlDeletions(db, outbox), SqlLeftovers(db, batch=2)
    await db.dispose()


@pytest.fixture
def deletions(kept: Kept) -> Deletions:
    return kept[2]


@pytest.fixture
def leftovers(kept: Kept) -> Leftovers:
    return kept[3]


@pytest.fixture
def store(kept: Kept) -> JobStore:
    return kept[0]


@pytest.fixture
def history(kept: Kept) -> History:
    return kept[1]
