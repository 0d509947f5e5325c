"""kill -9 at random of workers, trainer, NATS and the object store, over many short jobs.

CHAOS_SECONDS (8) says how long, CHAOS_SEED which victims; the seed is printed. `make chaos` runs it for longer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2
from sqlalchemy import func, select

from services.chassis.errors import DeadlineExceeded, Unavailable
from services.chassis.outbox import Outbox
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.trainer.adapters.s3_artifacts import S3Artifacts
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_previews import SqlPreviewStore
from services.trainer.adapters.sql_tables import epochs, events, jobs
from services.trainer.use_cases.upkeep import Sweeper
from tests.chaos.bus import the_bus_heard_everything
from tests.chaos.seed import SEED
from tests.chaos.world import SIMULATED_WORKER, TRAINER, World, chaos_world
from tests.fixtures.patience import lasting, scaled, until
from tests.fixtures.preloaded import Preloaded, preloaded

Job = training_job_pb2.TrainingJob
_Service = training_service_pb2

SECONDS = float(os.environ.get("CHAOS_SECONDS", "8"))
WORKERS = 3
EPOCHS = 2


async def _create(world: World, project: str, number: int) -> str:
    """A job, through whatever outage: the request id makes the repeat harmless."""
    wanted = Job(
        base_model="baseModels/tiny",
        dataset_version=f"projects/{project}/datasets/dog",
        parameters=training_job_pb2.TrainingParameters(num_epochs=EPOCHS),
    )
    request = _Service.CreateTrainingJobRequest(
        parent=f"projects/{project}", training_job=wanted, request_id=f"request-{number}"
    )

    async def call() -> str:
        return (await world.stub.CreateTrainingJob(request, timeout=scaled(20))).name

    return await patiently(call, what="trainer", patience_s=scaled(120))


async def _rage(world: World, draw: random.Random) -> None:
    """Kills and restarts for as long as it is asked to."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SECONDS
    while loop.time() < deadline:
        victim = world.victims[draw.choice(sorted(world.victims))]
        await lasting(draw.uniform(0.2, 1.2))
        victim.kill()
        await lasting(draw.uniform(0.0, 0.6))
        victim.start()


async def _ended(world: World, names: list[str]) -> list[Job]:
    """All jobs, once they have ended."""

    async def get(name: str) -> Job:
        return await world.stub.GetTrainingJob(_Service.GetTrainingJobRequest(name=name), timeout=scaled(20))

    async def all_ended() -> list[Job]:
        try:
            found = [await get(name) for name in names]
        except (Unavailable, DeadlineExceeded):
            return []
        over = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)
        return found if all(job.state in over for job in found) else []

    return await until(all_ended, limit_s=180, what="all jobs to end")


@pytest.fixture(scope="module")
def origin() -> Iterator[Preloaded]:
    """The process that trainer and workers are forked from."""
    with preloaded(TRAINER, SIMULATED_WORKER) as process:
        yield process


@pytest.mark.timeout(1200)
async def test_no_job_is_lost_or_doubled_whatever_is_killed(
    tmp_path: Path,
    server_folder: Path,
    database_url: str,
    dataset_target: str,
    catalogue_file: Path,
    origin: Preloaded,
    project: str,
    request: pytest.FixtureRequest,
) -> None:
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")
    draw = random.Random(SEED)
    folder = server_folder / f"chaos-{request.node.callspec.id}"
    async with chaos_world(
        folder, database_url, dataset_target, catalogue_file, origin, simulated_workers=WORKERS
    ) as world:
        count = max(10, int(SECONDS * 2))
        raging = asyncio.create_task(_rage(world, draw))
        names = [await _create(world, project, number) for number in range(count)]
        await raging
        assert sum(victim.died for victim in world.victims.values()) >= SECONDS / 2
        ended = await _ended(world, names)
        died = {name: victim.died for name, victim in world.victims.items()}
        attempts = sum(len(job.attempts) for job in ended)
        print(f"{sum(died.values())} killed: {died}; {count} jobs took {attempts} attempts")
        assert len(set(names)) == count
        assert Counter(job.state for job in ended) == {Job.STATE_SUCCEEDED: count}
        assert {job.epochs_completed for job in ended} == {EPOCHS}
        listed = await world.stub.ListTrainingJobs(
            _Service.ListTrainingJobsRequest(parent=f"projects/{project}", page_size=1000), timeout=30
        )
        assert listed.total_size == count
        await _files_are_whole(world, names)
        await _nothing_is_left_over(world)
        await the_bus_heard_everything(world, project)


async def _files_are_whole(world: World, names: list[str]) -> None:
    for name in names:
        for number in range(1, EPOCHS + 1):
            request = _Service.DownloadEpochFileRequest(name=f"{name}/epochs/{number}", file_id="kohya")
            messages = [message async for message in world.stub.DownloadEpochFile(request, timeout=scaled(30))]
            data = b"".join(message.chunk for message in messages)
            assert hashlib.sha256(data).hexdigest() == messages[0].file.sha256
            assert data.startswith(f"{name} epoch {number} ".encode())


async def _nothing_is_left_over(world: World) -> None:
    """No lease is held, and after a sweep the bucket holds exactly what epochs refer to."""
    db, objects = Database(world.database_url), ObjectStore(world.s3)
    try:
        async with db.connect() as conn:
            assert await conn.scalar(select(func.count()).where(jobs.c.lease_token.is_not(None))) == 0
            assert await conn.scalar(select(func.count()).where(jobs.c.state == "QUEUED")) == 0
            rows = (await conn.execute(select(epochs).order_by(epochs.c.job, epochs.c.number))).all()
        later = datetime.now(UTC) + timedelta(minutes=1)
        store = SqlJobStore(db, Outbox(events), Signals())
        previews = SqlPreviewStore(db, Outbox(events), Signals())
        await Sweeper(store, S3Artifacts(objects), previews, clock=lambda: later, pause_s=1, age=timedelta(0)).sweep()
        referred = {file["object_key"] for row in rows for file in row.files}
        referred |= {file["object_key"] for row in rows if row.number == EPOCHS for file in row.checkpoint}
        assert {item.key async for item in objects.list("trainer/")} == referred
    finally:
        objects.close()
        await db.dispose()
