"""Schema migrations with alembic, run by the service itself at start and safe when several replicas start at once.

A service keeps `adapters/migrations/env.py` whose whole body is `run_migrations(metadata)` and its revisions in
`adapters/migrations/versions/`. A database that a newer program has migrated is used as it is, if it serves this one:
see `schema_state`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import MetaData, create_engine, inspect, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.pool import NullPool

from services.chassis.logging import get_logger
from services.chassis.needs import Need
from services.chassis.schema_state import READ, check_serves, demanded, read, state_of, too_old, write
from services.chassis.signals import Interrupted
from services.chassis.sql import Database
from services.chassis.sql_engines import CONNECT_S, SQLITE_BUSY_MS, sqlite_file
from services.chassis.sql_errors import away, check_server
from services.chassis.store_settings import SqlSettings

log = get_logger(__name__)

LOCK_MS = 800
"""How long a migration waits for a table. Whoever wants that table meanwhile waits behind it, so it gives way and is
tried again: a pg_dump at work would otherwise stop a whole service. Less than the second after which PostgreSQL looks
for a deadlock: of a call and a migration that wait for each other, the migration ends."""

_LOOK_AGAIN_S = 0.1


async def upgrade(url: str, script_location: str | Path, *, revision: str = "head") -> None:
    """Brings the database to `revision`; one that is newer stays as it is.

    One replica migrates while the others wait; afterwards they find nothing to do. Cancelled, it waits no longer, but
    ends a migration that has begun. Raises Unavailable when the database cannot be reached,
    FailedPrecondition(reason=SCHEMA_TOO_NEW) when it no longer serves this program.
    """
    given_up = threading.Event()
    work = asyncio.create_task(asyncio.to_thread(_upgrade, url, Path(script_location), revision, given_up))
    try:
        await asyncio.shield(work)
    finally:
        given_up.set()
        await asyncio.gather(work, return_exceptions=True)


async def check(url: str, script_location: Path, *, command: str) -> None:
    """Raises unless this program may use the database as it is: as `upgrade`, and Unavailable(reason=SCHEMA_TOO_OLD)
    while `command` has not migrated it."""
    await asyncio.to_thread(_check, url, script_location, command)


def migrated(db: Database, script_location: Path, settings: SqlSettings | None = None) -> Need:
    """The need of a database whose schema serves this program: migrated at start, or by someone else where the settings
    say so. Health follows the schema as well: a newer program may end what this one works with."""
    package = ".".join(script_location.parts[-4:-2])
    code = _head(_scripts(script_location))

    async def migrate() -> None:
        await upgrade(db.url, script_location)

    async def look() -> None:
        await check(db.url, script_location, command=f"python -m {package}.app migrate")

    prepare = migrate if settings is None or settings.database_migrate else look

    async def ping() -> None:
        try:
            state = state_of(await db.ping(READ))
        except ProgrammingError:
            state = None
        if state is None or state.revision < code:
            # Another database than at start: made anew, or restored from a backup.
            await prepare()
        else:
            check_serves(state, code)

    return Need("database", prepare, ping, db.dispose, migrate=migrate)


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
        reached = context.get_context().get_current_revision()
        if reached is not None:
            write(connection, reached, demanded([one.module for one in _until(context.script, reached)]))


def _upgrade(url: str, script_location: Path, revision: str, given_up: threading.Event) -> None:
    with _exclusive(url, given_up), _connected(url) as connection:
        if connection.dialect.name == "postgresql":
            _take_turn(connection, _lock_key(script_location), given_up)
        else:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.commit()
        scripts = _scripts(script_location)
        if _is_newer(connection, scripts):
            return
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(script_location).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def _take_turn(connection: Connection, key: int, given_up: threading.Event) -> None:
    """Waits for whoever migrates already; the migrations themselves wait for no table longer than LOCK_MS."""

    def take() -> bool:
        taken = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))
        # Nobody is kept from tidying up meanwhile. The lock belongs to the session.
        connection.commit()
        return taken

    _wait_until(take, given_up)
    # Of a machine that is gone the server would keep session and locks for hours.
    for name, value in (("idle", 30), ("interval", 10), ("count", 3)):
        connection.execute(text(f"SET tcp_keepalives_{name} = {value}"))
    connection.execute(text(f"SET lock_timeout = {LOCK_MS}"))


def _check(url: str, script_location: Path, command: str) -> None:
    with _connected(url) as connection:
        scripts = _scripts(script_location)
        found = _revision(connection)
        if not _is_newer(connection, scripts) and found != _head(scripts):
            raise too_old(found, _head(scripts), command)


def _is_newer(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Whether a newer program has migrated the database; FailedPrecondition when it does not serve this one."""
    found = _revision(connection)
    if found is None or found in {one.revision for one in scripts.walk_revisions()}:
        return False
    state = read(connection)
    check_serves(state, _head(scripts))
    log.info("schema_is_newer", schema=state.revision, of_release=state.release, code=_head(scripts))
    return True


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection of its own. Its end ends the session, and with it the advisory lock. Raises Unavailable."""
    postgresql = make_url(url).get_backend_name() == "postgresql"
    arguments = {"connect_timeout": CONNECT_S} if postgresql else {}
    engine = create_engine(_synchronous(url), poolclass=NullPool, connect_args=arguments)
    try:
        with engine.connect() as connection:
            if not postgresql:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
            else:
                check_server(connection)
            connection.commit()
            yield connection
    except DBAPIError as error:
        told = away(error)
        if told is None:
            raise
        raise told from error
    finally:
        engine.dispose()


def _revision(connection: Connection) -> str | None:
    """Of the schema; None for a database without one. Alembic would say two lines to the log each time it is asked."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _scripts(script_location: Path) -> ScriptDirectory:
    return ScriptDirectory(str(script_location))


def _head(scripts: ScriptDirectory) -> str:
    return str(scripts.get_current_head())


def _until(scripts: ScriptDirectory, revision: str) -> list[Script]:
    """The migrations up to a revision, in order."""
    return list(scripts.iterate_revisions(revision, "base"))[::-1]


def _synchronous(url: str) -> str:
    parsed = make_url(url)
    driver = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg"
    return parsed.set(drivername=driver).render_as_string(hide_password=False)


def _lock_key(script_location: Path) -> int:
    digest = hashlib.sha256("/".join(script_location.parts[-3:]).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def _exclusive(url: str, given_up: threading.Event) -> Iterator[None]:
    """A lock file beside an SQLite database; PostgreSQL has its advisory lock instead."""
    path = sqlite_file(url)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".migrate.lock").open("w") as lock:

        def take() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait_until(take, given_up)
        yield


def _wait_until(take: Callable[[], bool], given_up: threading.Event) -> None:
    """Waits for a lock, however long that takes. Raises Interrupted once the wait is given up."""
    if take():
        return
    log.info("migration_elsewhere", remedy="another process migrates this database; this one waits for it")
    while not take():
        if given_up.wait(_LOOK_AGAIN_S):
            raise Interrupted
