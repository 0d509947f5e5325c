"""A worker with nothing to do measures a base model that its device has never run, and estimates rest on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE
from tests.fixtures.patience import until
from tests.fixtures.trainer import Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
_Estimate = training_job_pb2.TrainingEstimate
_Service = training_service_pb2
PARAMETERS = training_job_pb2.TrainingParameters(num_epochs=1, num_repeats=4, preview_steps=4)


@pytest.fixture
def catalogue_file() -> Path:
    """The catalogue that ships, with the small base."""
    return DEFAULT_CATALOGUE


async def _estimate(trainer: Trainer, project: str) -> _Estimate:
    job = Job(
        base_model="baseModels/fiveshot-tiny",
        dataset_version=f"projects/{project}/datasets/dog",
        parameters=PARAMETERS,
    )
    request = _Service.EstimateTrainingJobRequest(parent=f"projects/{project}", training_job=job)
    return await trainer.stub.EstimateTrainingJob(request, timeout=30)


@pytest.mark.slow
async def test_an_idle_worker_probes_and_a_finished_job_is_measured_too(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    before = await _estimate(trainer, project)
    assert not before.HasField("duration")
    assert before.memory_basis == "a model of the work"
    assert before.memory_bytes > 20_000_000

    worker = start_worker(trainer.target, PROBE="true", ACQUIRE_WAIT_SECONDS="1")

    async def measured() -> _Estimate | None:
        assert worker.process.poll() is None, worker.log.read_text()
        found = await _estimate(trainer, project)
        return found if found.measured_runs >= 2 else None

    probed = await until(measured, limit_s=240, what="two measured runs")
    assert probed is not None
    assert probed.basis == probed.memory_basis == "runs of this base model"
    assert probed.device == "cpu 1 threads"
    low, middle, high = (
        duration.ToTimedelta().total_seconds()
        for duration in (probed.duration_low, probed.duration, probed.duration_high)
    )
    assert 0 < low < middle < high
    parts = (probed.start_duration, probed.training_duration, probed.epoch_ends_duration)
    assert sum(part.ToTimedelta().total_seconds() for part in parts) == pytest.approx(middle, rel=0.01)
    assert probed.memory_low_bytes < probed.memory_bytes < probed.memory_high_bytes
    # A process with torch takes some hundred MiB, and this machine has more.
    assert 200 << 20 < probed.memory_bytes < probed.device_memory_bytes
    assert probed.fit == _Estimate.FIT_YES

    job = await trainer.create(project, base_model="baseModels/fiveshot-tiny", parameters=PARAMETERS)
    done = await wait_for(trainer, job.name, lambda job: job.state in (Job.STATE_SUCCEEDED, Job.STATE_FAILED))
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert (await _estimate(trainer, project)).measured_runs == 3
