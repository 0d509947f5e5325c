"""Writes the tables of the present release as the baseline from which later releases must be able to upgrade.

python -m tests.golden.schemas    once for each baseline release; the files are never changed for a test to pass
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy import Connection

from services.chassis.sql_migrations import upgrade
from tests.fixtures.postgres import USER, programs, running_postgres
from tests.fixtures.processes import finished
from tests.fixtures.schemas import GOLDEN, KEPT_BY_FRAME, MIGRATIONS, connected


def main() -> None:
    """Writes a file for each service and database."""
    with running_postgres() as socket, tempfile.TemporaryDirectory() as folder:
        for service, migrations in MIGRATIONS.items():
            name = f"{service}_{uuid.uuid4().hex[:8]}"
            psycopg.connect(host=str(socket), user=USER, dbname="postgres", autocommit=True).execute(
                f"CREATE DATABASE {name}".encode()
            )
            postgres = f"postgresql+psycopg://{USER}@/{name}?host={socket}"
            sqlite = f"sqlite+aiosqlite:///{Path(folder) / name}.db"
            for url in (postgres, sqlite):
                asyncio.run(upgrade(url, migrations))
            with connected(postgres) as connection:
                _write(service, connection, _of_postgres(socket, name))
            with connected(sqlite) as connection:
                _write(service, connection, _of_sqlite(connection))


def _write(service: str, connection: Connection, statements: Iterator[str]) -> None:
    lines = [f"{statement};\n" for statement in (*statements, *_rows(connection))]
    (GOLDEN / f"{service}.{connection.dialect.name}.sql").write_text("\n".join(lines), encoding="utf-8")


def _rows(connection: Connection) -> Iterator[str]:
    for table in KEPT_BY_FRAME:
        row = connection.exec_driver_sql(f"SELECT * FROM {table}").mappings().one()
        values = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in row.values())
        name = table if connection.dialect.name == "sqlite" else f"public.{table}"
        yield f"INSERT INTO {name} ({', '.join(row.keys())}) VALUES ({values})"


def _of_sqlite(connection: Connection) -> Iterator[str]:
    order = "type = 'trigger', type DESC, rowid"
    query = f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY {order}"
    for (statement,) in connection.exec_driver_sql(query):
        yield "\n".join(line.rstrip() for line in statement.expandtabs(4).splitlines())


def _of_postgres(socket: Path, database: str) -> Iterator[str]:
    options = ("--schema-only", "--no-owner", "--no-privileges", "--no-comments")
    dump = finished([programs() / "pg_dump", *options, "-h", socket, "-U", USER, database])
    assert dump.returncode == 0, dump.stderr
    ours = (line for line in dump.stdout.splitlines() if line.strip() and not line.startswith(("--", "\\", "SET ")))
    for statement in "\n".join(ours).split(";\n"):
        if "set_config" not in statement:
            yield statement.removesuffix(";")


if __name__ == "__main__":
    main()
