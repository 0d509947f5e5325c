"""A backup taken from a stack at work, restored elsewhere: docs/backup.md, step by step."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fiveshot.aio.client import AsyncClient
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as rs
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as tr
from sqlalchemy.engine import make_url

from services.chassis.s3 import ObjectStore
from tests.chaos.callers import DATASET, MODEL, PARENT, Load, calling
from tests.chaos.fleet import LOADED, Fleet, Form, running_fleet
from tests.chaos.replicas import Replica
from tests.chaos.subjects import prepare
from tests.fixtures.patience import scaled, until
from tests.fixtures.postgres import programs, running_postgres
from tests.fixtures.preloaded import preloaded
from tests.fixtures.processes import finished_async

Job = training_job_pb2.TrainingJob
FORM = Form(notice_s=0, pretended_s=0.5, replicas=1, lease_s=scaled(4))
# Who refers before what it refers to, as docs/backup.md says.
ORDER = ("notifier", "registry", "tagger", "trainer", "dataset")
# Jobs that wait while the backup is taken.
WAITING = 3


@dataclass
class Known:
    """What was acknowledged to the caller. versions: SHA-256 of each file by version and file id."""

    jobs: list[str] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    def copy(self) -> Known:
        """As it is now."""
        return Known(list(self.jobs), dict(self.versions))


@pytest.mark.skipif("RESTORE_DRILL" not in os.environ, reason="two whole stacks: make restore-drill")
@pytest.mark.timeout(900)
async def test_a_backup_of_a_stack_at_work_is_restored_elsewhere(
    server_folder: Path, postgres_socket_dir: Path, tmp_path: Path
) -> None:
    with preloaded(*LOADED) as origin, running_postgres() as other_postgres:
        known, over = Known(), asyncio.Event()
        async with (
            running_fleet(server_folder / "backed-up", postgres_socket_dir, origin, FORM) as fleet,
            AsyncClient(fleet.server, api_key=fleet.key, project="roll") as client,
        ):
            await prepare(client)
            async with calling(fleet, Load("backup"), 1):
                working = asyncio.create_task(_work(client, known, over))
                await until(lambda: len(known.versions) >= 3, what="versions to be kept")
                acknowledged = known.copy()
                deleted = await _back_up(fleet, client, tmp_path, sorted(acknowledged.versions)[0])
                over.set()
                await working

        checks: dict[str, list[dict[str, Any]]] = {}

        async def restored(to: Fleet) -> None:
            await _restore(to, tmp_path)
            for service in ("dataset", "trainer", "registry"):
                checks[service] = await _check_files(to, service)

        async with (
            running_fleet(server_folder / "restored", other_postgres, origin, FORM, before=restored) as fleet,
            AsyncClient(fleet.server, api_key=fleet.key, project="roll") as client,
        ):
            counts = {service: lines[-1] for service, lines in checks.items()}
            assert [found["of"] for lines in checks.values() for found in lines if "of" in found] == [deleted] * len(
                acknowledged.versions.pop(deleted)
            )
            print(f"{len(acknowledged.jobs)} jobs and {len(acknowledged.versions)} versions acknowledged; {counts}")
            for version, files in acknowledged.versions.items():
                for file_id, sha256 in files.items():
                    assert await _sha256(client, version, file_id) == sha256
            await until(lambda: _all_succeeded(client, acknowledged.jobs), limit_s=120, what="every job to end")


async def _work(client: AsyncClient, known: Known, over: asyncio.Event) -> None:
    """Trains and keeps one model version after the other, with jobs waiting behind."""
    waiting: list[str] = []
    while True:
        while len(waiting) <= WAITING:
            wanted = Job(base_model=MODEL, dataset_version=DATASET)
            wanted.parameters.num_epochs = 1
            made = await client.stubs.trainer.CreateTrainingJob(
                tr.CreateTrainingJobRequest(parent=PARENT, training_job=wanted, ignore_audit=True)
            )
            known.jobs.append(made.name)
            waiting.append(made.name)
        if over.is_set():
            return
        job = waiting.pop(0)
        await until(lambda job=job: _all_succeeded(client, [job]), what="the job to end")  # type: ignore[misc]
        request = rs.SaveEpochRequest(parent=PARENT, epoch=f"{job}/epochs/1", model_id="cat", create_model=True)
        version: model_pb2.ModelVersion = await client.stubs.registry.SaveEpoch(request)
        known.versions[version.name] = {file.file_id: file.sha256 for file in version.files}


async def _all_succeeded(client: AsyncClient, jobs: list[str]) -> bool:
    states = [(await client.stubs.trainer.GetTrainingJob(tr.GetTrainingJobRequest(name=name))).state for name in jobs]
    return set(states) == {Job.STATE_SUCCEEDED}


async def _back_up(fleet: Fleet, client: AsyncClient, folder: Path, victim: str) -> str:
    """Databases, then the bucket; in between a version is deleted. Its name."""
    for service in ORDER:
        await _run("pg_dump", fleet.databases[service], "--format=custom", f"--file={folder / service}.dump")
    await client.stubs.registry.DeleteModelVersion(rs.DeleteModelVersionRequest(name=victim, force=True))
    store = ObjectStore(fleet.s3)
    try:
        async for item in store.list(""):
            path = folder / "bucket" / item.key
            path.parent.mkdir(parents=True, exist_ok=True)
            await store.download_to(item.key, path)
    finally:
        store.close()
    return victim


async def _restore(fleet: Fleet, folder: Path) -> None:
    options = ("--exit-on-error", "--no-owner", "--no-privileges")
    for service in ORDER:
        await _run("pg_restore", fleet.databases[service], *options, str(folder / f"{service}.dump"))
    store = ObjectStore(fleet.s3)
    try:
        await store.ensure_bucket()
        for path in sorted((folder / "bucket").rglob("*")):
            if path.is_file():
                await store.put(str(path.relative_to(folder / "bucket")), path)
    finally:
        store.close()


async def _check_files(fleet: Fleet, service: str) -> list[dict[str, Any]]:
    unit = fleet.units[f"{service}-1"]
    assert isinstance(unit, Replica)
    ended = await finished_async([*unit.argv, "check-files"], env=unit.environment)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == (1 if lines[-1]["missing"] else 0), ended.stderr
    return lines


async def _run(program: str, url: str, *arguments: str) -> None:
    address = make_url(url)
    to = f"postgresql:///{address.database}?user={address.username}&host={address.query['host']}"
    ended = await finished_async([programs() / program, f"--dbname={to}", *arguments])
    assert ended.returncode == 0, ended.stderr


async def _sha256(client: AsyncClient, version: str, file_id: str) -> str:
    digest = hashlib.sha256()
    request = rs.DownloadModelVersionRequest(name=version, file_id=file_id)
    async for message in client.stubs.registry.DownloadModelVersion(request):
        digest.update(message.chunk)
    return digest.hexdigest()
