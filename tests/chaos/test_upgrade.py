"""The baseline release and this one beside each other under load: rolled out, rolled back, rolled out again.

UPGRADE_FROM is a commit of the baseline, whose programs are run as they were. `make upgrade-drill` sets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fiveshot.aio.client import AsyncClient
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.chassis.schema_state import STATE_TABLE
from services.chassis.sql import Database
from tests.chaos.callers import PATHS, Load, calling
from tests.chaos.fleet import LOADED, ROOT, Fleet, Form, running_fleet
from tests.chaos.jobs import followed_jobs
from tests.chaos.replicas import Replica, Unit
from tests.chaos.seed import SEED
from tests.chaos.subjects import prepare
from tests.fixtures.patience import until
from tests.fixtures.preloaded import preloaded
from tests.fixtures.processes import finished, finished_async

BASELINE = os.environ.get("UPGRADE_FROM", "")
# The notifier is younger than the baseline; its worker could not yet pretend.
UPGRADED = ("dataset", "tagger", "trainer", "registry")
# On every path, while replicas of both releases serve.
CALLS_TOGETHER = 50


class Older:
    """Replicas of a release of before. folder: its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = f"{folder}:{folder / 'sdk' / 'python' / 'src'}"
        self._variables = {name: self._known(name) for name in UPGRADED}

    def of(self, unit: Unit) -> Unit:
        """The same replica of that release; the unit itself where it knew none."""
        if not isinstance(unit, Replica) or unit.kind not in UPGRADED:
            return unit
        prefix = f"{unit.kind.upper()}_"
        known = self._variables[unit.kind]
        kept = {name: value for name, value in unit.environment.items() if not name.startswith(prefix) or name in known}
        lists = {}
        if not (self._folder / "services" / "chassis" / "addresses.py").exists():
            # It did not take several addresses with commas, but it handed on whatever gRPC takes.
            lists = {name: f"ipv4:{value}" for name, value in kept.items() if name.endswith("_TARGET") and "," in value}
        environment = kept | lists | {"PYTHONPATH": self._path}
        return replace(unit, environment=environment, origin=None, cwd=self._folder, process=None)

    def _known(self, service: str) -> set[str]:
        code = f"from services.{service}.settings import Settings; print(*Settings.model_fields)"
        asked = finished([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": self._path}, cwd=self._folder)
        return {f"{service}_{name}".upper() for name in asked.stdout.split()}


@pytest.mark.skipif(not BASELINE, reason="runs an older release: make upgrade-drill")
@pytest.mark.timeout(3600)
async def test_no_call_fails_while_two_releases_serve_together(
    server_folder: Path, postgres_socket_dir: Path, tmp_path: Path
) -> None:
    print(f"UPGRADE_FROM={BASELINE} CHAOS_SEED={SEED}")
    archive = await finished_async(["git", "-C", str(ROOT), "archive", "--output", str(tmp_path / "old.tar"), BASELINE])
    assert archive.returncode == 0, archive.stderr
    with tarfile.open(tmp_path / "old.tar") as tar:
        tar.extractall(tmp_path / "old", filter="data")
    older, draw, load, over = Older(tmp_path / "old"), random.Random(SEED), Load("upgrade"), asyncio.Event()
    newer: dict[str, Unit] = {}

    def at_first(unit: Unit) -> Unit:
        newer[unit.name] = unit
        return older.of(unit)

    with preloaded(*LOADED) as origin:
        async with (
            running_fleet(server_folder / "upgrade", postgres_socket_dir, origin, Form(), instead=at_first) as fleet,
            AsyncClient(fleet.server, api_key=fleet.key, project="roll") as client,
        ):
            await prepare(client)
            before = {service: await _schema(fleet, service) for service in UPGRADED}
            chain = asyncio.create_task(followed_jobs(client, over))
            counting = asyncio.create_task(_miscounted(fleet, over))
            async with calling(fleet, load, 1):
                for number, to in (("1", newer), ("2", newer), ("1", None), ("2", None), ("1", newer), ("2", newer)):
                    await _replace(fleet, number, to, older, draw)
                    await _called(load, Counter(load.counts))
            over.set()
            followed = await chain
            looks, miscounted = await counting
            after = {service: await _schema(fleet, service) for service in UPGRADED}
            print(f"{dict(load.counts)}; schemas {before} to {after}; {len(followed)} jobs; {looks} counts")
            assert [str(failure) for failure in load.failures] == []
            # Of a younger release than the baseline, some services have the schema of now.
            assert all(before[service] <= after[service] for service in UPGRADED)
            assert before != after
            assert looks > 0
            assert miscounted == []
            for outcomes, sequences in followed:
                assert outcomes == ["SUCCEEDED"]
                assert sequences == list(range(1, len(sequences) + 1))


async def _replace(fleet: Fleet, number: str, to: dict[str, Unit] | None, older: Older, draw: random.Random) -> None:
    """Every service's replica of that number, in random order, by this release (to) or by the older one."""
    names = [f"{service}-{number}" for service in UPGRADED]
    draw.shuffle(names)
    for name in names:
        await fleet.units[name].stop()
        fleet.units[name] = older.of(fleet.units[name]) if to is None else to[name]
        await fleet.units[name].start()


async def _called(load: Load, before: Counter[str]) -> None:
    async def enough() -> bool:
        return all(load.counts[path] - before[path] >= CALLS_TOGETHER for path in PATHS)

    await until(enough, limit_s=300, what="calls with both releases")


async def _schema(fleet: Fleet, service: str) -> str:
    db = Database(fleet.databases[service])
    try:
        async with db.connect() as conn:
            return str(await conn.scalar(text(f"SELECT revision FROM {STATE_TABLE}")))
    finally:
        await db.dispose()


async def _miscounted(fleet: Fleet, over: asyncio.Event) -> tuple[int, list[tuple[object, ...]]]:
    """How often the numbers of a project's jobs were compared with its jobs while both releases moved them, and those
    that differed: project, waiting and running as kept, as counted."""
    counted = (
        "SELECT project, waiting, running, (SELECT count(*) FROM training_jobs j WHERE j.project = s.project AND"
        " state = 'QUEUED') AS w, (SELECT count(*) FROM training_jobs j WHERE j.project = s.project AND"
        " lease_token IS NOT NULL) AS r FROM project_shares s"
    )
    db, looks, wrong = Database(fleet.databases["trainer"]), [0], list[tuple[object, ...]]()

    async def looked() -> bool:
        with contextlib.suppress(ProgrammingError):
            # Until the first replica of now has migrated there are no such columns.
            async with db.connect() as conn:
                rows = (await conn.execute(text(counted))).all()
            looks[0] += 1
            wrong.extend(tuple(row) for row in rows if (row.waiting, row.running) != (row.w, row.r))
        return over.is_set()

    try:
        await until(looked, limit_s=3600, what="the rollouts to end")
    finally:
        await db.dispose()
    return looks[0], wrong
