"""A job whose worker is killed again and again ends with the same files, to the byte, as one that nobody disturbed.

KILL_POINTS (3) says how often, CHAOS_SEED at which moments; `make chaos` takes 20.
"""

from __future__ import annotations

import os
import random

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.chassis.s3 import ObjectStore
from services.chassis.store_settings import S3Settings
from tests.chaos.seed import SEED
from tests.fakes.dataset_server import FakeDatasetServer
from tests.fixtures.patience import lasting, scaled
from tests.fixtures.trainer import StartTrainer, Trainer, start_trainer
from tests.fixtures.worker import StartWorker, catalogue_file, miniature, preloaded_worker, start_worker, wait_for

__all__ = ["catalogue_file", "miniature", "preloaded_worker", "start_trainer", "start_worker"]

Job = training_job_pb2.TrainingJob
_Service = training_service_pb2

POINTS = int(os.environ.get("KILL_POINTS", "3"))
# Everything that keeps a state between steps: moments of the optimizer, a schedule, an average of the weights, both
# adapters, draws for captions.
PARAMETERS = training_job_pb2.TrainingParameters(
    num_epochs=POINTS + 2,
    num_repeats=8,
    lr_scheduler="cosine",
    lr_warmup_steps=5,
    ema_decay=0.9,
    train_text_encoder=True,
    caption_dropout=0.1,
    gradient_accumulation_steps=2,
)


def _ended(job: Job) -> bool:
    return job.HasField("end_time")


async def _files(trainer: Trainer, name: str) -> dict[tuple[str, str], str]:
    """Digest of every file of every epoch, base previews included."""
    listed = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=name))
    found: dict[tuple[str, str], str] = {}
    for epoch in listed.epochs:
        number = epoch.name.rsplit("/", 1)[1]
        found |= {(number, file.file_id): file.sha256 for file in epoch.files}
        found |= {(number, preview.file_id): preview.sha256 for preview in epoch.previews}
    return found


async def _values(trainer: Trainer, name: str) -> list[tuple[int, float]]:
    points = await trainer.stub.ListMetrics(_Service.ListMetricsRequest(parent=name, page_size=10_000))
    return [(point.step, point.value) for point in points.metrics]


@pytest.mark.timeout(1800)
async def test_a_job_killed_at_random_moments_ends_with_the_same_bytes(
    start_trainer: StartTrainer,
    sqlite_url: str,
    project: str,
    dataset_service: FakeDatasetServer,
    start_worker: StartWorker,
    s3_settings: S3Settings,
    object_store: ObjectStore,
) -> None:
    draw = random.Random(SEED)
    print(f"CHAOS_SEED={SEED} KILL_POINTS={POINTS}")
    other = f"{project}-b"
    dataset_service.sets[f"projects/{other}/datasets/dog"] = dataset_service.sets[f"projects/{project}/datasets/dog"]
    async with start_trainer(sqlite_url, lease_seconds=scaled(2.0), max_losses=1000) as trainer:
        calm = await trainer.create(other, training_job_id="lora", parameters=PARAMETERS)
        worker = start_worker(trainer.target, "calm")
        await wait_for(trainer, calm.name, lambda job: bool(job.attempts))
        calm = await wait_for(trainer, calm.name, _ended, timeout_s=600)
        assert calm.state == Job.STATE_SUCCEEDED, calm.error
        # From taking the job, with all that comes before the first step, to somewhere in the second epoch that follows.
        took = calm.end_time.ToDatetime() - calm.attempts[0].start_time.ToDatetime()
        longest_s = 1.5 * took.total_seconds() / PARAMETERS.num_epochs

        job = await trainer.create(project, training_job_id="lora", parameters=PARAMETERS)
        killed_at = []
        for point in range(POINTS):
            await wait_for(trainer, job.name, lambda job, point=point: len(job.attempts) == point + 1)  # type: ignore[misc]
            await lasting(draw.uniform(0, longest_s))
            worker.kill()
            worker = start_worker(trainer.target, f"worker-{point}")
            now = await trainer.get(job.name)
            assert not _ended(now), f"the job ended before its kill number {point + 1}"
            killed_at.append((now.step, now.epochs_completed, now.phase))
        print("killed at (step, epochs done, phase):", killed_at)
        done = await wait_for(trainer, job.name, _ended, timeout_s=600)
        assert done.state == Job.STATE_SUCCEEDED, done.error
        outcomes = [training_job_pb2.Attempt.Outcome.Name(attempt.outcome) for attempt in done.attempts]
        assert outcomes == ["OUTCOME_LEASE_LOST"] * POINTS + ["OUTCOME_SUCCEEDED"]
        expected, found = await _files(trainer, calm.name), await _files(trainer, job.name)
        assert len(expected) >= PARAMETERS.num_epochs * 5
        assert found == expected
        assert await _values(trainer, job.name) == await _values(trainer, calm.name)
        assert [p.sha256 for p in done.base_previews] == [p.sha256 for p in calm.base_previews]
        assert done.recommended_epoch == calm.recommended_epoch
