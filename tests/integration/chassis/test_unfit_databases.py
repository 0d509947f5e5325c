"""Databases that answer and will not do: without rights, for reading only, of another encoding, held by somebody else.

Each is said in one line, and none of them stops those who already work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import insert, text
from sqlalchemy.engine import make_url

from services.chassis import sql_migrations
from services.chassis.errors import DomainError, Internal, Unavailable
from services.chassis.sql import Database
from services.chassis.sql_errors import check_version
from services.chassis.sql_migrations import migrated, upgrade
from services.chassis.store_settings import SqlSettings
from tests.fixtures.patience import until
from tests.fixtures.postgres import admin
from tests.integration.chassis.tables import MIGRATIONS, THINGS


@pytest.fixture
def guest_url(postgres_url: str, postgres_socket_dir: Path) -> Iterator[str]:
    """The database as a user who may connect to it and nothing else."""
    with closing(admin(postgres_socket_dir)) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    yield make_url(postgres_url).set(username="guest").render_as_string(hide_password=False)
    with closing(admin(postgres_socket_dir)) as connection:
        connection.execute("DROP ROLE guest")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    db = Database(url)
    try:
        yield db
    finally:
        await db.dispose()


def beside(url: str) -> psycopg.Connection:
    """A session of somebody else."""
    return psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


async def add(db: Database) -> None:
    async with db.begin() as conn:
        await conn.execute(insert(THINGS).values(id="a", count=1))


def is_one_line(error: DomainError) -> bool:
    return "\n" not in str(error) and bool(error.remedy)


async def test_a_user_who_may_not_make_tables_is_told_so(guest_url: str) -> None:
    with pytest.raises(Internal, match="permission denied for schema public") as caught:
        await upgrade(guest_url, MIGRATIONS)
    assert caught.value.reason == "DATABASE_RIGHTS_MISSING"
    assert is_one_line(caught.value)


async def test_a_user_who_may_not_touch_the_tables_is_told_so(postgres_url: str, guest_url: str) -> None:
    await upgrade(postgres_url, MIGRATIONS)
    with pytest.raises(Internal, match="permission denied for table alembic_version"):
        await upgrade(guest_url, MIGRATIONS)
    async with opened(guest_url) as db:
        with pytest.raises(Internal) as caught:
            await add(db)
    assert caught.value.reason == "DATABASE_RIGHTS_MISSING"
    assert "things" not in str(caught.value)


async def test_a_database_that_only_reads_is_no_fault_and_health_says_it(postgres_url: str) -> None:
    await upgrade(postgres_url, MIGRATIONS)
    async with opened(postgres_url) as db:
        need = migrated(db, MIGRATIONS)
        await need.prepare()
        name = sql.Identifier(make_url(postgres_url).database or "")
        with beside(postgres_url) as other:
            other.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    async with opened(postgres_url) as db:
        for call in (add(db), db.ping(), migrated(db, MIGRATIONS).ping(), upgrade(postgres_url, MIGRATIONS)):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.reason == "DATABASE_READ_ONLY"
            assert is_one_line(caught.value)


async def test_a_database_that_cannot_hold_every_letter_is_refused(
    postgres_url: str, postgres_socket_dir: Path
) -> None:
    name = sql.Identifier("latin")
    with closing(admin(postgres_socket_dir)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} ENCODING 'LATIN1' TEMPLATE template0").format(name))
    try:
        with pytest.raises(Internal, match="stores text as LATIN1") as caught:
            await upgrade(make_url(postgres_url).set(database="latin").render_as_string(), MIGRATIONS)
        assert caught.value.reason == "DATABASE_UNFIT"
    finally:
        with closing(admin(postgres_socket_dir)) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.mark.parametrize(("number", "said"), [(120_018, "PostgreSQL 12 is too old"), (90_603, "PostgreSQL 9 is")])
def test_a_server_that_is_too_old_is_refused(number: int, said: str) -> None:
    with pytest.raises(Internal, match=said):
        check_version(number)
    check_version(130_000)


async def test_a_migration_gives_way_to_a_backup_at_work(postgres_url: str) -> None:
    """Who wants the table waits for the migration a moment, not until the backup has ended."""
    await upgrade(postgres_url, MIGRATIONS, revision="0001")
    async with opened(postgres_url) as db:
        with beside(postgres_url) as dump:
            dump.execute("LOCK TABLE things IN ACCESS SHARE MODE")
            with pytest.raises(Unavailable) as caught:
                await upgrade(postgres_url, MIGRATIONS)
            assert caught.value.reason == "SCHEMA_IN_USE"
            assert is_one_line(caught.value)
            await add(db)
        await upgrade(postgres_url, MIGRATIONS)
        async with db.connect() as conn:
            assert await conn.scalar(text("SELECT count(*) FROM things WHERE data IS NULL")) == 1


async def test_a_replica_that_dies_while_it_migrates_leaves_nothing_and_the_next_goes_on(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_migrations, "LOCK_MS", 600_000)
    await upgrade(postgres_url, MIGRATIONS, revision="0001")
    holds = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with beside(postgres_url) as dump, beside(postgres_url) as other:
        other.autocommit = True
        dump.execute("LOCK TABLE things IN ACCESS SHARE MODE")
        first = asyncio.create_task(upgrade(postgres_url, MIGRATIONS))
        await until(lambda: bool(other.execute(holds).fetchone()), what="the migration to wait for the table")
        other.execute(f"SELECT pg_terminate_backend(pid) FROM ({holds}) AS waiting")
        with pytest.raises(Unavailable):
            await first
        dump.rollback()
        await asyncio.gather(*(upgrade(postgres_url, MIGRATIONS) for _ in range(2)))
        assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]


async def test_a_server_that_went_silent_is_found_out(postgres_url: str) -> None:
    """By what libpq is told; the address may say otherwise."""
    settings = SqlSettings(database_url=f"{postgres_url}&keepalives_idle=7")
    async with opened(settings.database_address) as db, db.connect() as conn:
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        given = driver.info.get_parameters()
    assert {name: given[name] for name in ("keepalives_idle", "keepalives_interval", "keepalives_count")} == {
        "keepalives_idle": "7",
        "keepalives_interval": "5",
        "keepalives_count": "2",
    }
    assert given["tcp_user_timeout"] == "40000"
