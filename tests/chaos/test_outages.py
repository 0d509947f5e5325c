"""Servers are away in the middle of a job that a real worker trains: the job ends well, at its first attempt.

OUTAGE_SECONDS (6) says how long each is away; it is longer than a lease. `make chaos` takes a minute.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.trainer.worker.patience import patiently
from tests.chaos.victims import python_process
from tests.chaos.world import KEYS, World, chaos_world
from tests.fixtures.worker import catalogue_file, miniature

__all__ = ["catalogue_file", "miniature"]

Job = training_job_pb2.TrainingJob
_Service = training_service_pb2

OUTAGE_S = float(os.environ.get("OUTAGE_SECONDS", "6"))
# Long enough for all outages to fall into it.
PARAMETERS = training_job_pb2.TrainingParameters(num_epochs=16, num_repeats=int(6 * OUTAGE_S))


async def _get(world: World, name: str) -> Job:
    async def call() -> Job:
        return await world.stub.GetTrainingJob(_Service.GetTrainingJobRequest(name=name), timeout=10)

    return await patiently(call, what="trainer", patience_s=120)


async def _wait(world: World, name: str, *, epochs: int) -> Job:
    """The job once so many epochs are done, or once it has ended."""
    async with asyncio.timeout(240):
        while True:
            job = await _get(world, name)
            if job.epochs_completed >= epochs or job.HasField("end_time"):
                return job
            await asyncio.sleep(0.2)


@pytest.mark.timeout(1200)
async def test_a_job_outlives_the_absence_of_every_server(
    tmp_path: Path, server_folder: Path, sqlite_url: str, dataset_target: str, catalogue_file: Path, project: str
) -> None:
    folder = server_folder / "outages"
    async with chaos_world(folder, sqlite_url, dataset_target, catalogue_file, simulated_workers=0) as world:
        variables = {
            "TRAINER_TARGET": world.trainer_target,
            "DATASET_TARGET": dataset_target,
            "CATALOGUE": str(catalogue_file),
            "WORKER_ID": "worker",
            "SCRATCH_DIR": str(tmp_path / "scratch"),
            "DEVICE": "cpu",
            "THREADS": "1",
            "S3_ENDPOINT": world.s3.s3_endpoint,
            "S3_ACCESS_KEY": KEYS[0],
            "S3_SECRET_KEY": KEYS[1],
            "S3_BUCKET": world.s3.s3_bucket,
        }
        worker = python_process(
            "worker",
            "services.trainer.worker_app",
            folder,
            {f"WORKER_{name}": value for name, value in variables.items()},
        )
        world.victims["worker"] = worker
        worker.start()
        wanted = Job(
            base_model="baseModels/tiny",
            dataset_version=f"projects/{project}/datasets/dog",
            parameters=PARAMETERS,
        )
        request = _Service.CreateTrainingJobRequest(parent=f"projects/{project}", training_job=wanted)
        name = (await world.stub.CreateTrainingJob(request, timeout=30)).name

        for epochs, away in ((1, "nats"), (2, "s3"), (3, "trainer")):
            job = await _wait(world, name, epochs=epochs)
            assert job.state == Job.STATE_RUNNING, job
            world.victims[away].kill()
            await asyncio.sleep(OUTAGE_S)
            world.victims[away].start()
            await asyncio.to_thread(world.victims[away].wait_ready)
        done = await _wait(world, name, epochs=PARAMETERS.num_epochs + 1)

        assert done.state == Job.STATE_SUCCEEDED, done.error
        assert done.epochs_completed == PARAMETERS.num_epochs
        assert len(done.attempts) == 1
        points = await world.stub.ListMetrics(_Service.ListMetricsRequest(parent=name, page_size=10_000))
        assert [point.step for point in points.metrics] == list(range(1, done.total_steps + 1))
