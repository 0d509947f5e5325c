"""SQL for SQLite and PostgreSQL with one behaviour: writers take turns where they must, readers are never blocked.

SQLAlchemy Core, async. A service writes plain Table objects and queries; what differs between the two is here.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import Row, Select, text
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import BigInteger, Text, TypeDecorator

from services.chassis import telemetry
from services.chassis.errors import Unavailable
from services.chassis.sql_engines import SQLITE_BUSY_MS, create_engine
from services.chassis.sql_errors import broken_off, read_only, unavailable

SECONDS = telemetry.histogram(
    "fiveshot_database_transaction_seconds", "Seconds of a transaction, with its wait for a connection.", ("kind",)
)
ERRORS = telemetry.counter("fiveshot_database_errors_total", "Transactions that the database broke off.", ("kind",))
# Made here once: a look-up for each transaction costs more than the counting, and a counter that begins with its first
# error hides that error from rates.
_KINDS = {kind: (SECONDS.labels(kind), ERRORS.labels(kind)) for kind in ("read", "write", "single")}

BeforeCommit = Callable[[AsyncConnection], Awaitable[Callable[[], None] | None]]
"""Works in a transaction that is about to commit; what it returns is called once that has happened."""
DialectName = Literal["sqlite", "postgresql"]

# Bytes that must be free for SQLite to count as well: room for a few large transactions.
SQLITE_ROOM = 32 * 1024 * 1024


class Database:
    """One database of one service. Open it once, in the composition root, and dispose it at the end.

    url: `sqlite+aiosqlite:///FILE` or `postgresql+psycopg://…`. Errors of the connection come out as Unavailable;
    IntegrityError passes, because only the caller knows which rule it broke (see `unique_violation`). before_commit:
    writes something more with every write transaction, as its last statement.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url = url
        self.engine = create_engine(make_url(url), pool_size)
        self.dialect = cast(DialectName, self.engine.dialect.name)
        file = make_url(url).database if self.dialect == "sqlite" else None
        self._folder = Path(file).absolute().parent if file and file != ":memory:" else None
        self.before_commit: BeforeCommit | None = None
        self._writer = asyncio.Lock()
        # A connection of its own, opened at the first ping: a pool that is busy is not a database that is away.
        self._pinging = create_engine(make_url(url), 1)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: commits at the end of the block, rolls back when the block raises.

        On SQLite it takes the write lock at once (BEGIN IMMEDIATE): a transaction that reads first and writes later
        would otherwise fail with "database is locked" when another writer came between.
        """
        if self.dialect != "sqlite":
            async with self._noted() as connection:
                yield connection
            return
        # Writers of this process queue here, in order and without holding a connection that a reader could use;
        # SQLite's own lock, which is polled, only settles the turns between processes.
        await self._take_turn()
        try:
            async with self._noted() as connection:
                yield connection
        finally:
            self._writer.release()

    @asynccontextmanager
    async def _noted(self) -> AsyncIterator[AsyncConnection]:
        committed = None
        async with self._connection(write=True) as connection:
            yield connection
            if self.before_commit is not None:
                committed = await self.before_commit(connection)
        if committed is not None:
            committed()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A read transaction: one consistent view, never blocked by writers, rolled back at the end of the block."""
        async with self._connection(write=False) as connection:
            yield connection

    @asynccontextmanager
    async def single(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that is a transaction by itself: PostgreSQL is spared BEGIN and COMMIT, two round trips of
        three. It may write there; on SQLite it is a read transaction."""
        async with self._connection(write=False, single=True) as connection:
            yield connection

    async def ping(self, question: Select[*tuple[Any, ...]] | None = None) -> Row[*tuple[Any, ...]]:
        """Asks the database, beside all that is at work; the one row of its answer. Raises Unavailable, also when a
        full disk lets SQLite read but not write, or PostgreSQL is a standby."""
        if self._folder is not None and shutil.disk_usage(self._folder).free < SQLITE_ROOM:
            raise Unavailable(
                "The disk of the database is full",
                reason="DISK_FULL",
                remedy="Free some space on the disk of the data folder, or move the folder to another one.",
            )
        async with self._connection(write=False, single=True, engine=self._pinging) as connection:
            if self.dialect == "postgresql" and await connection.scalar(text("SHOW transaction_read_only")) == "on":
                raise read_only()
            return (await connection.execute(text("SELECT 1") if question is None else question)).one()

    async def dispose(self) -> None:
        """Closes every pooled connection."""
        await self.engine.dispose()
        await self._pinging.dispose()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(SQLITE_BUSY_MS / 1000):
                await self._writer.acquire()
        except TimeoutError as error:
            raise unavailable() from error

    @asynccontextmanager
    async def _connection(
        self, *, write: bool, single: bool = False, engine: AsyncEngine | None = None
    ) -> AsyncIterator[AsyncConnection]:
        seconds, errors = _KINDS["write" if write else "single" if single else "read"]
        started = time.perf_counter()
        try:
            async with (engine or self.engine).connect() as connection:
                if self.dialect == "sqlite":
                    await connection.execution_options(fiveshot_write=write)
                elif single:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                elif not write:
                    await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin() as transaction:
                    yield connection
                    if not write:
                        await transaction.rollback()
        except PoolTimeoutError as error:
            errors.inc()
            raise unavailable() from error
        except DBAPIError as error:
            told = broken_off(error)
            if told is None:
                raise
            errors.inc()
            raise told from error
        finally:
            seconds.observe(time.perf_counter() - started)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC as microseconds since 1970 in a 64-bit integer: equal, and ordered alike, on both databases.

    Takes and gives aware datetimes; a naive one is a fault of the program and raises ValueError.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Python to column."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        # Integer arithmetic: a float of seconds cannot hold microseconds exactly.
        delta = value.astimezone(UTC) - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Column to Python."""
        if value is None:
            return None
        seconds, microseconds = divmod(value, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)


class JsonText(TypeDecorator[Any]):
    """JSON kept as text with sorted keys, so that equal values are equal strings on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Python to column."""
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Column to Python."""
        return None if value is None else json.loads(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utcnow() -> datetime:
    """Now, aware, in microseconds as the database keeps it."""
    return datetime.now(UTC)


def unique_violation(error: IntegrityError) -> bool:
    """Whether the error says that a unique key (or primary key) is taken, on either database."""
    original = error.orig
    if isinstance(original, sqlite3.IntegrityError):
        return original.sqlite_errorcode in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
    return getattr(original, "sqlstate", None) == "23505"
