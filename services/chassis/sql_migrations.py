"""Schema migrations with alembic, run by the service itself at start and safe when several replicas start at once.

A service keeps `adapters/migrations/env.py` whose whole body is `run_migrations(metadata)` and its revisions in
`adapters/migrations/versions/`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from services.chassis.errors import Unavailable
from services.chassis.needs import Need
from services.chassis.sql import CONNECT_S, SQLITE_BUSY_MS, Database, sqlite_file


async def upgrade(url: str, script_location: str | Path, *, revision: str = "head") -> None:
    """Brings the database to `revision`. Raises Unavailable when the database cannot be reached.

    One replica migrates while the others wait; afterwards they find nothing to do.
    """
    await asyncio.to_thread(_upgrade, url, Path(script_location), revision)


def migrated(db: Database, script_location: Path) -> Need:
    """The need of a database whose schema is the newest that this program knows."""
    return Need("database", lambda: upgrade(db.url, script_location), db.ping, db.dispose)


def run_migrations(target_metadata: MetaData) -> None:
    """The body of a service's env.py: runs the revisions on the connection that `upgrade` opened."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        # SQLite cannot ALTER most things: alembic then copies the table.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _upgrade(url: str, script_location: Path, revision: str) -> None:
    postgresql = make_url(url).get_backend_name() == "postgresql"
    arguments = {"connect_timeout": CONNECT_S} if postgresql else {}
    engine = create_engine(_synchronous(url), poolclass=NullPool, connect_args=arguments)
    try:
        with _exclusive(url), engine.connect() as connection:
            if postgresql:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _lock_key(script_location)})
                connection.commit()
            else:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
                connection.commit()
            config = Config()
            config.set_main_option("script_location", str(script_location).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(
            "The database does not answer",
            reason="DATABASE_UNAVAILABLE",
            remedy="Check that the server runs and that the database address is right.",
        ) from error
    finally:
        # Ends the session and with it the advisory lock.
        engine.dispose()


def _synchronous(url: str) -> str:
    parsed = make_url(url)
    driver = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg"
    return parsed.set(drivername=driver).render_as_string(hide_password=False)


def _lock_key(script_location: Path) -> int:
    digest = hashlib.sha256("/".join(script_location.parts[-3:]).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def _exclusive(url: str) -> Iterator[None]:
    """A lock file beside an SQLite database; PostgreSQL has its advisory lock instead."""
    path = sqlite_file(url)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
