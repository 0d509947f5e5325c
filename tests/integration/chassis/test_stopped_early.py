"""A process that is told to stop before it serves: while it imports, migrates, waits, or hangs in a thread."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from tests.fixtures.patience import turns, until, within
from tests.fixtures.processes import async_child

# As in a container, whose first process does not get a signal that it has no handler for.
FIRST_PROCESS = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")
LAUNCHED = (sys.executable, "-m", "services.chassis.launch")
IMPORTS_FOR_EVER = """
import pathlib, sys, threading
pathlib.Path(sys.argv[1]).write_text(__name__)
threading.Event().wait()
"""
HANGS = """
import asyncio, pathlib, sys, threading
from services.chassis.needs import Need
from services.chassis.service import Service, run
from services.chassis.settings import BaseServiceSettings

def silent():
    pathlib.Path(sys.argv[1]).touch()
    threading.Event().wait()

async def prepare():
    await asyncio.to_thread(silent)

async def closed():
    pass

def build(settings):
    return Service(register=lambda server: None, needs=[Need("store", prepare, prepare, closed)])

run("hangs", BaseServiceSettings, build, arguments=[])
"""
MIGRATIONS = {
    "env.py": "from sqlalchemy import MetaData\n"
    "from services.chassis.sql_migrations import run_migrations\nrun_migrations(MetaData())\n",
    "versions/0001_slow.py": """
import pathlib, time
from alembic import op
import sqlalchemy as sa
revision, down_revision, phase = "0001", None, "expand"
FOLDER = pathlib.Path(__file__).parents[1]

def upgrade():
    (FOLDER / "begun").touch()
    while not (FOLDER / "go on").exists():
        time.sleep(0.01)
    op.create_table("things", sa.Column("id", sa.String(64), primary_key=True))
""",
}


async def test_the_first_process_of_a_container_can_be_stopped_while_it_imports(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(IMPORTS_FOR_EVER)
    argv = [*FIRST_PROCESS, *LAUNCHED, "slow_to_import", str(tmp_path / "begun")]
    paths = os.pathsep.join((str(tmp_path), *sys.path))
    async with async_child(argv, env={**os.environ, "PYTHONPATH": paths}) as process:
        await until(lambda: (tmp_path / "begun").exists(), what="the import")
        process.terminate()
        async with within():
            await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "begun").read_text() == "__main__"


@pytest.mark.parametrize(("task", "code"), [("serve", 0), ("migrate", 1)])
async def test_who_waits_for_another_migration_can_be_stopped(tmp_path: Path, task: str, code: int) -> None:
    """And a Job that was stopped is not taken for one that has migrated."""
    variables = {**os.environ, "DATASET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'dataset.db'}"}
    with (tmp_path / "dataset.db.migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with async_child([*LAUNCHED, "services.dataset.app", task], env=variables) as process:
            assert process.stderr is not None
            async with within():
                while b"migration_elsewhere" not in await process.stderr.readline():
                    assert process.returncode is None
                process.terminate()
                _, log = await process.communicate()
    assert process.returncode == code
    events = [json.loads(line)["event"] for line in log.decode().splitlines()]
    assert events == (["interrupted"] if code else [])


async def test_a_thread_that_hangs_holds_up_no_end(tmp_path: Path) -> None:
    async with async_child([sys.executable, "-c", HANGS, str(tmp_path / "begun")], env=dict(os.environ)) as process:
        await until(lambda: (tmp_path / "begun").exists(), what="the request that nobody answers")
        process.terminate()
        async with within():
            _, log = await process.communicate()
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in log.decode().splitlines()] == ["threads_abandoned"]


@asynccontextmanager
async def migrating(url: str, folder: Path) -> AsyncIterator[asyncio.Task[None]]:
    """A migration that has begun and goes on when the block says so, or ends."""
    for name, body in MIGRATIONS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(body)
    task = asyncio.create_task(upgrade(url, folder))
    try:
        await until(lambda: (folder / "begun").exists(), what="the migration")
        yield task
    finally:
        (folder / "go on").touch()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_wait_is_given_up_and_a_migration_that_has_begun_is_ended(database_url: str, tmp_path: Path) -> None:
    async with migrating(database_url, tmp_path / "migrations") as first:
        with capture_logs() as log:
            second = asyncio.create_task(upgrade(database_url, tmp_path / "migrations"))
            await until(lambda: log, what="the second one's wait")
        assert [line["event"] for line in log] == ["migration_elsewhere"]
        second.cancel()
        async with within():
            await asyncio.wait((second,))
        assert second.cancelled()

        first.cancel()
        await turns()
        assert not first.done()
        (tmp_path / "migrations" / "go on").touch()
        async with within():
            await asyncio.wait((first,))
        assert first.cancelled()
    db = Database(database_url)
    async with db.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM things"))).scalar() == 0
    await db.dispose()
