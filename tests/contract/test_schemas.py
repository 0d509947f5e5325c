"""The schema of every service on both databases: what migrations make, from the baseline on, and whom it serves."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Connection, Float, Integer, LargeBinary, MetaData, Text, func, insert, select

from services.chassis.errors import DomainError, FailedPrecondition, Unavailable
from services.chassis.release import release
from services.chassis.schema_state import SchemaState, check_serves, demanded, read
from services.chassis.sql import Database
from services.chassis.sql_migrations import migrated, upgrade
from services.chassis.store_settings import SqlSettings
from tests.fixtures.schemas import (
    KEPT_BY_FRAME,
    MIGRATIONS,
    TABLES,
    baseline,
    broken_promises,
    connected,
    differences,
    later,
)

SERVICES = list(MIGRATIONS)
EXPAND, CONTRACT = 'phase = "expand"', 'phase = "contract"\noldest_code = "9001"'
ADDS = 'op.add_column("idempotency_keys", sa.Column("later", sa.Integer, nullable=True))'


def tables_of(connection: Connection) -> MetaData:
    tables = MetaData()
    tables.reflect(connection)
    return tables


def add_a_row_everywhere(connection: Connection, tables: MetaData, letter: str) -> None:
    """What a program does that knows these tables: it names their columns and fits their types."""

    def value(kind: Any) -> object:
        if isinstance(kind, Boolean):
            return False
        if isinstance(kind, Integer):
            return string.ascii_lowercase.index(letter)
        if isinstance(kind, Float):
            return 0.5
        if isinstance(kind, LargeBinary):
            return letter.encode()
        return "{}" if isinstance(kind, Text) else letter

    for table in tables.sorted_tables:
        if table.name not in KEPT_BY_FRAME:
            connection.execute(insert(table).values({column.name: value(column.type) for column in table.columns}))


def counts(connection: Connection, tables: MetaData) -> dict[str, int]:
    return {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0
        for table in tables.sorted_tables
        if table.name not in KEPT_BY_FRAME
    }


@pytest.mark.parametrize("service", SERVICES)
async def test_the_migrations_make_the_tables_that_the_code_uses(service: str, database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS[service])
    with connected(database_url) as connection:
        assert differences(connection, TABLES[service]) == []


@pytest.mark.parametrize("service", SERVICES)
async def test_the_baseline_is_upgraded_with_its_rows_and_its_program_goes_on(service: str, database_url: str) -> None:
    with connected(database_url) as connection:
        code = baseline(service, connection)
        known = tables_of(connection)
        add_a_row_everywhere(connection, known, "b")
    await upgrade(database_url, MIGRATIONS[service])
    with connected(database_url) as connection:
        assert differences(connection, TABLES[service]) == []
        assert set(counts(connection, known).values()) == {1}
        if read(connection).oldest_code <= code:
            add_a_row_everywhere(connection, known, "c")
            assert set(counts(connection, known).values()) == {2}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_program_serves_a_newer_schema_that_was_only_added_to(
    service: str, database_url: str, tmp_path: Path
) -> None:
    await upgrade(database_url, MIGRATIONS[service])
    with connected(database_url) as connection:
        known = tables_of(connection)
    await upgrade(database_url, later(MIGRATIONS[service], tmp_path, body=ADDS, marks=EXPAND))
    await upgrade(database_url, MIGRATIONS[service])  # the start of an older program
    with connected(database_url) as connection:
        assert read(connection).revision == "9001"
        add_a_row_everywhere(connection, known, "b")


async def test_a_program_refuses_a_schema_that_no_longer_serves_it(database_url: str, tmp_path: Path) -> None:
    db = Database(database_url)
    need = migrated(db, MIGRATIONS["tagger"])
    await need.prepare()
    await need.ping()
    with connected(database_url) as connection:
        own = read(connection).revision
    newer = later(MIGRATIONS["tagger"], tmp_path, body='op.drop_column("tag_jobs", "note")', marks=CONTRACT)
    await upgrade(database_url, newer)
    for refused in (need.prepare, need.ping):
        with pytest.raises(FailedPrecondition) as caught:
            await refused()
        assert caught.value.reason == "SCHEMA_TOO_NEW"
        assert f"schema 9001 of Fiveshot {release()}, which serves programs of schema 9001" in str(caught.value)
        assert f"this is Fiveshot {release()} with schema {own}" in str(caught.value)
        assert "backup" in caught.value.remedy
    with connected(database_url) as connection:
        assert read(connection) == SchemaState("9001", "9001", release())
    await db.dispose()


async def test_a_database_that_was_restored_from_before_is_migrated_by_the_next_ping(postgres_url: str) -> None:
    db = Database(postgres_url)
    need = migrated(db, MIGRATIONS["trainer"])
    await need.prepare()
    with connected(postgres_url) as connection:
        tables_of(connection).drop_all(connection)
    await need.ping()
    with connected(postgres_url) as connection:
        assert differences(connection, TABLES["trainer"]) == []
    await db.dispose()


async def test_a_program_that_may_not_migrate_waits_until_someone_has(database_url: str) -> None:
    db = Database(database_url)
    need = migrated(db, MIGRATIONS["registry"], SqlSettings(database_migrate=False))
    with pytest.raises(Unavailable) as caught:
        await need.prepare()
    assert caught.value.reason == "SCHEMA_TOO_OLD"
    assert caught.value.remedy == "Run `python -m services.registry.app migrate` once against this database."
    with connected(database_url) as connection:
        assert not tables_of(connection).tables
    assert need.migrate is not None
    await need.migrate()
    await need.prepare()
    await db.dispose()


async def test_a_database_of_before_the_baseline_learns_what_it_is(sqlite_url: str) -> None:
    await upgrade(sqlite_url, MIGRATIONS["trainer"])
    with connected(sqlite_url) as connection:
        connection.exec_driver_sql("DROP TABLE schema_state")
        assert read(connection).revision == "unknown"
    await upgrade(sqlite_url, MIGRATIONS["trainer"])
    with connected(sqlite_url) as connection:
        # Revision 0002 took away a default, without which older programs cannot add a job.
        assert read(connection).oldest_code == "0002"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('op.drop_table("tag_job_images")', "tag_job_images is gone"),
        ('op.drop_column("tag_jobs", "note")', "tag_jobs.note is gone"),
        (
            'op.add_column("tag_jobs", sa.Column("size", sa.Integer, nullable=False, server_default="0"));'
            ' t = op.batch_alter_table("tag_jobs"); b = t.__enter__();'
            ' b.alter_column("size", server_default=None); t.__exit__(None, None, None)',
            "tag_jobs.size is new and demanded",
        ),
        ('op.create_index("ix_one_job", "tag_jobs", ["dataset"], unique=True)', "tag_jobs: the rule ix_one_job is new"),
    ],
)
async def test_what_breaks_older_programs_is_seen(sqlite_url: str, tmp_path: Path, body: str, fault: str) -> None:
    before = f"sqlite+aiosqlite:///{tmp_path / 'before.db'}"
    await upgrade(before, MIGRATIONS["tagger"])
    await upgrade(sqlite_url, later(MIGRATIONS["tagger"], tmp_path, body=body, marks=CONTRACT))
    with connected(before) as old, connected(sqlite_url) as new:
        assert broken_promises(old, new) == [fault]


@pytest.mark.parametrize("service", SERVICES)
async def test_migrations_since_the_baseline_are_what_they_say(service: str, sqlite_url: str, tmp_path: Path) -> None:
    """One that takes something away, or demands something, says so: it is a contract."""
    await upgrade(sqlite_url, MIGRATIONS[service])
    with connected(f"sqlite+aiosqlite:///{tmp_path / 'before.db'}") as old, connected(sqlite_url) as new:
        code = baseline(service, old)
        if broken_promises(old, new):
            with pytest.raises(DomainError):
                check_serves(read(new), code)


class _Marked:
    def __init__(self, revision: str, **marks: str) -> None:
        self.revision = revision
        self.__dict__.update(marks)


def test_the_oldest_program_is_that_of_the_strictest_contract() -> None:
    first, third = _Marked("0001", phase="expand"), _Marked("0003", phase="contract", oldest_code="0002")
    assert demanded([first]) == "0001"
    assert demanded([first, third, _Marked("0004", phase="expand")]) == "0002"


@pytest.mark.parametrize(
    "marks",
    [
        {},
        {"phase": "contract"},
        {"phase": "expand", "oldest_code": "0001"},
        {"phase": "contract", "oldest_code": "0003"},
    ],
)
def test_a_migration_that_does_not_say_what_it_is_is_a_mistake(marks: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="0002"):
        demanded([_Marked("0002", **marks)])
