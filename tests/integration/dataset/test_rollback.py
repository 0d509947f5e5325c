"""Releases beside each other on one database: a rollout that stops half way, a rollback, and a schema that ends one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.grpc_client import channel
from services.chassis.release import release
from services.chassis.sql_migrations import upgrade
from services.chassis.store_settings import S3Settings
from services.dataset.app import MIGRATIONS
from tests.fixtures.patience import until, within
from tests.fixtures.processes import async_child, finished_async, listening
from tests.fixtures.schemas import later

PROGRAM = [sys.executable, "-m", "services.dataset.app"]
EXPAND = 'phase = "expand"'
CONTRACT = 'phase = "contract"\noldest_code = "9001"'
TAKE_AWAY = 'op.drop_column("datasets", "description")'
ADD = 'op.add_column("datasets", sa.Column("later", sa.Text, nullable=False, server_default=""))'


@pytest.fixture
def variables(database_url: str, s3_settings: S3Settings) -> dict[str, str]:
    """The environment of a replica."""
    return {
        **os.environ,
        "DATASET_DATABASE_URL": database_url,
        "DATASET_S3_ENDPOINT": s3_settings.s3_endpoint,
        "DATASET_S3_ACCESS_KEY": s3_settings.s3_access_key,
        "DATASET_S3_SECRET_KEY": s3_settings.s3_secret_key.get_secret_value(),
        "DATASET_S3_BUCKET": s3_settings.s3_bucket,
    }


@asynccontextmanager
async def replica(variables: dict[str, str], port_file: Path) -> AsyncIterator[str]:
    """A replica of this release; where it listens."""
    async with async_child(PROGRAM, env={**variables, "DATASET_PORT_FILE": str(port_file)}) as process:
        await listening(process, port_file)
        yield f"127.0.0.1:{port_file.read_text().strip()}"


async def test_old_replicas_serve_while_and_after_a_newer_release_adds(
    variables: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    newer = later(MIGRATIONS, tmp_path, body=ADD, marks=EXPAND)
    made, migrated = 0, asyncio.Event()

    async def load(stub: Any) -> None:
        nonlocal made
        while not migrated.is_set() or made < 20:
            made += 1
            await stub.CreateDataset(pb.CreateDatasetRequest(parent="projects/acme", dataset_id=f"set-{made}"))

    async with replica(variables, tmp_path / "old") as target, channel(target) as connection:
        caller = asyncio.create_task(load(DatasetServiceStub(connection)))
        await until(lambda: made > 3, what="the first calls")
        await upgrade(database_url, newer)
        migrated.set()
        await caller  # no call failed
        async with replica(variables, tmp_path / "rolled-back") as second, channel(second) as other:
            answer = await DatasetServiceStub(other).ListDatasets(pb.ListDatasetsRequest(parent="projects/acme"))
            assert answer.total_size == made

        # The next release takes away what this one needs: it says so at once, and does not start again.
        await upgrade(database_url, later(newer, tmp_path / "next", body=TAKE_AWAY, marks=CONTRACT, revision="9002"))

        async def told() -> bool:
            listed = await health_pb2_grpc.HealthStub(connection).List(health_pb2.HealthListRequest())
            return "need/database: SCHEMA_TOO_NEW" in listed.statuses

        await until(told, what="health to follow the schema")
    ended = await finished_async(PROGRAM, env=variables)
    assert ended.returncode == 1
    (line,) = [line for line in map(json.loads, ended.stderr.splitlines()) if line["event"] == "start_failed"]
    assert f"schema 9002 of Fiveshot {release()}, which serves programs of schema 9001 or newer" in line["error"]
    assert "restore a backup" in line["error"]


async def test_a_job_migrates_and_the_replicas_wait_for_it(variables: dict[str, str], tmp_path: Path) -> None:
    waiting = {**variables, "DATASET_DATABASE_MIGRATE": "false", "DATASET_PORT_FILE": str(tmp_path / "port")}
    async with async_child(PROGRAM, env=waiting) as process:
        assert process.stderr is not None
        line: dict[str, str] = {}
        async with within():
            while line.get("event") != "waiting_for_server":
                line = json.loads(await process.stderr.readline())
        assert line["reason"] == "SCHEMA_TOO_OLD"
        assert "python -m services.dataset.app migrate" in line["message"]
        job = await finished_async([*PROGRAM, "migrate"], env=variables)
        assert job.returncode == 0
        await listening(process, tmp_path / "port")
