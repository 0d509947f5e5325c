"""How connections to SQLite and PostgreSQL are opened, so that `Database` need not tell them apart."""

from __future__ import annotations

import asyncio
import select
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# How long a writer waits for another writer of the same SQLite file before it gives up.
SQLITE_BUSY_MS = 15_000
# How long a connection to PostgreSQL may take; a machine that swallows packets would hold up a start for minutes.
CONNECT_S = 5


def create_engine(url: URL, pool_size: int) -> AsyncEngine:
    """An engine whose connections behave as `Database` says; connections are opened when they are needed."""
    if url.get_backend_name() == "postgresql":
        engine = create_async_engine(
            url, pool_size=pool_size, max_overflow=pool_size, connect_args={"connect_timeout": CONNECT_S}
        )
        event.listen(engine.sync_engine, "checkout", _refuse_dropped)
        return engine
    path = sqlite_file(url.render_as_string(hide_password=False))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments, options = url.get_dialect()().create_connect_args(url)
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        async_creator=partial(_connect_sqlite, *arguments, **options),
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def sqlite_file(url: str) -> Path | None:
    """The file behind an SQLite URL; None for PostgreSQL and for a database in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


class StoppedOnce(aiosqlite.Connection):
    """A connection to SQLite whose thread is told to end once.

    SQLAlchemy stops a connection when the task that gives it back is cancelled, while its `close` still runs; aiosqlite
    0.22 then stops it again and waits for an answer of a thread that has ended.
    """

    def stop(self) -> asyncio.Future[Any] | None:
        """Ends the thread after what is queued. The future is done when that has happened; None: it was told before."""
        return super().stop() if self._running else None

    def __del__(self) -> None:
        # SQLAlchemy lets go of one that is still being set up when its task is cancelled. What its pool has handed out
        # and nobody gives back it tells by itself.
        self.stop()


async def _connect_sqlite(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    connection = StoppedOnce(partial(sqlite3.connect, *arguments, **options), iter_chunk_size=64)
    # One that nobody closed does not keep the process alive.
    connection._thread.daemon = True
    return await connection


def _refuse_dropped(connection: Any, _record: Any, _proxy: Any) -> None:
    """Makes the pool open new connections after the server was restarted, without the round trip of a ping: from an
    idle connection there is something to read only when its other end has closed it."""
    driver = connection.driver_connection
    idle = select.poll()
    if not driver.closed:
        idle.register(driver.fileno(), select.POLLIN)
    if driver.closed or idle.poll(0):
        error = DisconnectionError("the server closed the connection")
        error.invalidate_pool = True
        raise error


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself; `_begin_sqlite` says which kind is meant.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # With WAL this survives a killed process; FULL also survives a power cut, which the truth of jobs deserves.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("fiveshot_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
