"""The SQL layer on SQLite and on PostgreSQL: the same test, the same outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from services.chassis.errors import InvalidArgument, Unavailable
from services.chassis.requests.keys import RequestKey, digest
from services.chassis.requests.sql import RememberedRequests
from services.chassis.sql import Database, unique_violation
from services.chassis.sql_migrations import upgrade
from tests.fixtures.patience import scaled, turns, until, within
from tests.fixtures.schemas import connected, differences
from tests.integration.chassis.tables import IDEMPOTENCY_KEYS, METADATA, MIGRATIONS, THINGS


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    await upgrade(database_url, MIGRATIONS)
    database = Database(database_url)
    yield database
    await database.dispose()


async def count_of(db: Database, id: str) -> int:
    async with db.connect() as conn:
        return int(await conn.scalar(select(THINGS.c.count).where(THINGS.c.id == id)) or 0)


async def test_replicas_that_start_together_migrate_once(database_url: str) -> None:
    await asyncio.gather(*(upgrade(database_url, MIGRATIONS) for _ in range(4)))
    db = Database(database_url)
    async with db.connect() as conn:
        assert await conn.scalar(text("SELECT version_num FROM alembic_version")) == "0002"
    await db.dispose()


async def test_migrations_end_at_the_tables_of_the_code(db: Database) -> None:
    with connected(db.url) as connection:
        assert differences(connection, METADATA) == []


async def test_a_step_of_the_migrations_keeps_the_rows(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS, revision="0001")
    db = Database(database_url)
    async with db.begin() as conn:
        await conn.execute(text("INSERT INTO things (id, count) VALUES ('a', 3)"))
    await upgrade(database_url, MIGRATIONS)
    assert await count_of(db, "a") == 3
    await db.dispose()


async def test_read_then_write_transactions_take_turns(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=0))

    async def add_one() -> None:
        async with db.begin() as conn:
            query = select(THINGS.c.count).where(THINGS.c.id == "a").with_for_update()
            count = int(await conn.scalar(query) or 0)
            await turns()
            await conn.execute(update(THINGS).values(count=count + 1))

    await asyncio.gather(*(add_one() for _ in range(25)))
    assert await count_of(db, "a") == 25


async def test_readers_do_not_wait_for_a_writer_and_see_what_was_committed(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=1))
        async with within(10):
            assert await count_of(db, "a") == 0
    assert await count_of(db, "a") == 1


async def test_a_crowd_of_writers_does_not_starve_readers(db: Database) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()
    if db.dialect != "sqlite":
        # Each holds a connection; a reader gets one as soon as a writer has ended.
        go_on.set()

    async def write(number: int) -> None:
        async with db.begin() as conn:
            await conn.execute(insert(THINGS).values(id=f"t{number}", count=1))
            writing.set()
            await go_on.wait()

    writers = [asyncio.create_task(write(number)) for number in range(40)]
    await writing.wait()
    async with within(30):
        seen = await count_of(db, "t39")
    # Of writers that go on, all may have ended before the reader looked.
    assert seen == 0 or go_on.is_set()
    go_on.set()
    await asyncio.gather(*writers)
    assert await count_of(db, "t39") == 1


async def test_a_reader_sees_one_moment(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=1))
    query = select(THINGS.c.count)
    async with db.connect() as reader:
        assert await reader.scalar(query) == 1
        async with db.begin() as writer:
            await writer.execute(update(THINGS).values(count=2))
        assert await reader.scalar(query) == 1
    assert await count_of(db, "a") == 2


async def write_then_fail(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=1))
        raise RuntimeError("half way")


async def test_a_block_that_raises_leaves_nothing(db: Database) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        await write_then_fail(db)
    assert await count_of(db, "a") == 0


async def test_connections_that_the_server_closed_are_replaced_unseen(postgres_url: str) -> None:
    db, other = Database(postgres_url), Database(postgres_url)
    async with db.connect() as one, db.connect() as two:
        for conn in (one, two):
            await conn.execute(text("SELECT 1"))
    async with other.single() as conn:
        killed = await conn.scalars(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert list(killed) == [True, True]
    for _ in range(3):
        await db.ping()
    for each in (db, other):
        await each.dispose()


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC),
        datetime(2026, 7, 1, 1, 2, 3, 999999, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
)
async def test_moments_come_back_exactly_and_in_utc(db: Database, moment: datetime) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=0, at=moment))
        found = await conn.scalar(select(THINGS.c.at).where(THINGS.c.at == moment))
    assert found == moment
    assert found is not None
    assert found.utcoffset() == timedelta(0)


async def test_a_moment_without_a_time_zone_is_a_fault(db: Database) -> None:
    async with db.begin() as conn:
        with pytest.raises(StatementError, match="time zone"):
            await conn.execute(insert(THINGS).values(id="a", count=0, at=datetime(2026, 1, 1)))


async def test_json_comes_back(db: Database) -> None:
    data = {"b": [1, 2.5, None, True], "a": "größe \U0001f600"}
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=0, data=data))
        assert await conn.scalar(select(THINGS.c.data)) == data
        assert await conn.scalar(text("SELECT data FROM things")) == '{"a":"größe \U0001f600","b":[1,2.5,null,true]}'


async def test_a_taken_key_is_told_from_another_broken_rule(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=0))
    for values, taken in (({"id": "a", "count": 1}, True), ({"id": "b", "count": -1}, False)):
        with pytest.raises(IntegrityError) as caught:
            await insert_thing(db, values)
        assert unique_violation(caught.value) is taken


async def insert_thing(db: Database, values: dict[str, Any]) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(**values))


async def test_a_database_that_is_away_is_a_typed_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = tmp_path_factory.mktemp("nowhere")
    url = f"postgresql+psycopg://fiveshot@/x?host={nowhere}"
    db = Database(url)
    with pytest.raises(Unavailable) as caught:
        await db.ping()
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    with pytest.raises(Unavailable):
        await upgrade(url, MIGRATIONS)
    await db.dispose()


async def test_a_repeated_create_finds_the_resource(db: Database) -> None:
    keys = RememberedRequests(IDEMPOTENCY_KEYS)
    request = RequestKey("p", "CreateThing", "r-1", digest("red", 3))
    async with db.begin() as conn:
        assert await keys.recall(conn, request) is None
        await keys.remember(conn, request, "projects/p/things/t")
    async with db.connect() as conn:
        assert await keys.recall(conn, request) == "projects/p/things/t"
        assert await keys.recall(conn, replace(request, project="q")) is None
        assert await keys.recall(conn, replace(request, method="CreateOther")) is None
        with pytest.raises(InvalidArgument) as caught:
            await keys.recall(conn, replace(request, digest=digest("blue", 3)))
    assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")


async def test_a_create_without_a_request_id_is_never_remembered(db: Database) -> None:
    keys = RememberedRequests(IDEMPOTENCY_KEYS)
    request = RequestKey("p", "CreateThing", "", "d")
    for _ in range(2):
        async with db.begin() as conn:
            await keys.remember(conn, request, "projects/p/things/t")
            assert await keys.recall(conn, request) is None


async def test_old_request_ids_are_forgotten(db: Database) -> None:
    keys = RememberedRequests(IDEMPOTENCY_KEYS)
    request = RequestKey("p", "CreateThing", "r-1", "d")
    async with db.begin() as conn:
        await keys.remember(conn, request, "projects/p/things/t")
        assert await keys.forget_older_than(conn, timedelta(hours=1)) == 0
        assert await keys.forget_older_than(conn, timedelta(seconds=-1)) == 1
        assert await keys.recall(conn, request) is None


async def test_a_full_disk_is_told_by_the_ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    await db.ping()
    monkeypatch.setattr("services.chassis.sql.SQLITE_ROOM", 2**62)
    with pytest.raises(Unavailable) as full:
        await db.ping()
    assert full.value.reason == "DISK_FULL"
    await db.dispose()


async def test_a_reader_who_leaves_twice_while_sqlite_is_busy_leaves_nothing_that_waits(
    tmp_path: Path,
) -> None:
    db = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    before = asyncio.all_tasks()
    reading, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        reading.set()
        return go_on.wait(scaled(60))

    async def read() -> None:
        async with db.connect() as conn:
            driver: Any = (await conn.get_raw_connection()).driver_connection
            await driver.create_function("hold", 0, hold)
            await conn.execute(text("SELECT hold()"))

    reader = asyncio.create_task(read())
    await until(reading.is_set)
    # Once out of the question, once out of the polite end of its connection.
    for _ in range(2):
        reader.cancel()
        await turns()
    assert await asyncio.wait({reader}, timeout=scaled(60)) == ({reader}, set())
    closing = asyncio.all_tasks() - before
    assert closing
    go_on.set()
    async with within(10):
        await asyncio.gather(*closing)
    await db.dispose()
