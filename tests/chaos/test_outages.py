"""Servers are away in the middle of a job that a real worker trains: the job ends well, at its first attempt.

OUTAGE_SECONDS (4) says how long each is away; it is longer than a lease. `make chaos` takes a minute.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.chassis.patience import patiently
from services.trainer.worker.app import ENGINE, RUNNER
from tests.chaos.bus import the_bus_heard_everything
from tests.chaos.victims import Victim, python_process
from tests.chaos.world import KEYS, TRAINER, World, chaos_world
from tests.fixtures.patience import lasting, scaled, until
from tests.fixtures.postgres import USER, prepared_postgres
from tests.fixtures.preloaded import Preloaded, preloaded
from tests.fixtures.worker import catalogue_file, miniature

__all__ = ["catalogue_file", "miniature"]

Job = training_job_pb2.TrainingJob
Parameters = training_job_pb2.TrainingParameters
_Service = training_service_pb2

OUTAGE_S = float(os.environ.get("OUTAGE_SECONDS", "4"))
# A worker that a busy machine holds up for a moment must not lose its job for that.
LEASE_S = max(scaled(3.0), OUTAGE_S / 4)
# Longer than all outages on a fast machine, in epochs that end soon on a slow one; it is stopped after the last outage.
PARAMETERS = Parameters(num_epochs=1000, num_repeats=10)


async def _get(world: World, name: str) -> Job:
    async def call() -> Job:
        return await world.stub.GetTrainingJob(_Service.GetTrainingJobRequest(name=name), timeout=scaled(10))

    return await patiently(call, what="trainer", patience_s=scaled(120))


async def _wait(world: World, name: str, *, epochs: int) -> Job:
    """The job once so many epochs are done, or once it has ended."""

    async def there() -> Job | None:
        job = await _get(world, name)
        return job if job.epochs_completed >= epochs or job.HasField("end_time") else None

    found = await until(there, limit_s=600, what=f"{epochs} epochs of {name}")
    assert found is not None
    return found


async def _create(world: World, project: str, parameters: Parameters) -> str:
    wanted = Job(
        base_model="baseModels/tiny", dataset_version=f"projects/{project}/datasets/dog", parameters=parameters
    )
    request = _Service.CreateTrainingJobRequest(parent=f"projects/{project}", training_job=wanted)
    request.request_id = f"create-{project}-{parameters.num_epochs}"

    async def call() -> Job:
        return await world.stub.CreateTrainingJob(request, timeout=scaled(30))

    # Right after its start the trainer may not be reached yet by who has just lost it.
    return (await patiently(call, what="trainer", patience_s=scaled(60))).name


@pytest.fixture(scope="module")
def origin() -> Iterator[Preloaded]:
    """The process that trainer and worker are forked from."""
    with preloaded(TRAINER, RUNNER, ENGINE) as process:
        yield process


def _real_worker(origin: Preloaded, world: World, folder: Path, dataset_target: str, catalogue: Path) -> Victim:
    variables = {
        "TRAINER_TARGET": world.trainer_target,
        "DATASET_TARGET": dataset_target,
        "CATALOGUE": str(catalogue),
        "WORKER_ID": "worker",
        "SCRATCH_DIR": str(folder / "scratch"),
        "DEVICE": "cpu",
        "THREADS": "1",
        "PROBE": "false",
        "S3_ENDPOINT": world.s3.s3_endpoint,
        "S3_ACCESS_KEY": KEYS[0],
        "S3_SECRET_KEY": KEYS[1],
        "S3_BUCKET": world.s3.s3_bucket,
    }
    named = {f"WORKER_{name}": value for name, value in variables.items()}
    return python_process(origin, "worker", "services.trainer.worker.app", folder, named)


@pytest.mark.timeout(2400)
async def test_a_job_outlives_the_absence_of_every_server_and_the_start_order_does_not_matter(
    server_folder: Path, dataset_target: str, catalogue_file: Path, origin: Preloaded, project: str
) -> None:
    folder = server_folder / "outages"
    # What it has confirmed must survive its death.
    with prepared_postgres(durable=True) as postgres:
        url = f"postgresql+psycopg://{USER}@/postgres?host={postgres.data_dir}"
        async with chaos_world(
            folder, url, dataset_target, catalogue_file, origin, simulated_workers=0, lease_s=LEASE_S, postgres=postgres
        ) as world:
            worker = world.victims["worker"] = _real_worker(origin, world, folder, dataset_target, catalogue_file)
            worker.start()
            await _outlive_outages(world, project)
            await _start_backwards(world, project)
            await the_bus_heard_everything(world, project)


async def _outlive_outages(world: World, project: str) -> None:
    name = await _create(world, project, PARAMETERS)
    done = 0
    for away in ("nats", "s3", "trainer", "postgres"):
        # A whole epoch after the outage before, so that the job is known to have got over it.
        job = await _wait(world, name, epochs=done + 1)
        assert job.state == Job.STATE_RUNNING, job.error
        world.victims[away].kill()
        await lasting(OUTAGE_S)
        world.victims[away].start()
        await asyncio.to_thread(world.victims[away].wait_ready)
        done = (await _get(world, name)).epochs_completed
        print(f"{away} was away for {OUTAGE_S:g} s; {done} epochs are delivered")
    job = await _wait(world, name, epochs=done + 1)
    assert job.state == Job.STATE_RUNNING, job.error
    await world.stub.StopTrainingJob(_Service.StopTrainingJobRequest(name=name), timeout=scaled(30))
    ended = await _wait(world, name, epochs=PARAMETERS.num_epochs + 1)
    assert ended.state == Job.STATE_SUCCEEDED, ended.error
    assert [attempt.message for attempt in ended.attempts] == [""]
    points = await world.stub.ListMetrics(_Service.ListMetricsRequest(parent=name, page_size=10_000))
    steps = [point.step for point in points.metrics]
    trained = ended.epochs_completed * ended.total_steps // PARAMETERS.num_epochs
    assert steps == list(range(1, min(trained, 10_000) + 1))


async def _start_backwards(world: World, project: str) -> None:
    """Everything is down, and comes up in the order in which nothing finds what it needs."""
    order = ("worker", "trainer", "nats", "s3", "postgres")
    for name in order:
        world.victims[name].kill()
    for name in order:
        world.victims[name].start()
        await lasting(1.5)
    await asyncio.to_thread(world.victims["trainer"].wait_ready)
    name = await _create(world, project, Parameters(num_epochs=1, num_repeats=1))
    done = await _wait(world, name, epochs=2)
    assert done.state == Job.STATE_SUCCEEDED, done.error
