"""A job goes on from an epoch of another one on a real worker, and says so when that is gone."""

from __future__ import annotations

import json

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.chassis.errors import InvalidArgument
from tests.fixtures.patience import scaled
from tests.fixtures.trainer import Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Parameters = training_job_pb2.TrainingParameters
_Service = training_service_pb2


def _ended(job: Job) -> bool:
    return job.state in (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


async def _metadata(trainer: Trainer, epoch: str) -> dict[str, str]:
    asked = _Service.DownloadEpochFileRequest(name=epoch, file_id="kohya")
    data = b"".join([part.chunk async for part in trainer.stub.DownloadEpochFile(asked, timeout=scaled(30))])
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(header["__metadata__"])


async def test_a_job_goes_on_from_an_epoch_and_fails_when_that_is_deleted_before_it_begins(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    worker = start_worker(trainer.target)
    first = await trainer.create(project, parameters=Parameters(num_epochs=2, rank=3, alpha=2.0))
    assert (await wait_for(trainer, first.name, _ended)).state == Job.STATE_SUCCEEDED
    lora = f"{first.name}/epochs/1"
    second = await trainer.create(project, initial_lora=lora, parameters=Parameters(num_epochs=1, rank=4))
    assert second.initial_lora == lora
    assert (second.parameters.rank, second.parameters.alpha) == (4, 2.0)
    done = await wait_for(trainer, second.name, _ended)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    metadata = await _metadata(trainer, f"{second.name}/epochs/1")
    assert metadata["fiveshot.initial_lora_digest"] == second.initial_lora_digest != ""
    assert await worker.terminate() == 0

    with pytest.raises(InvalidArgument) as refused:
        await trainer.create(project, initial_lora=lora, parameters=Parameters(num_epochs=1, rank=2))
    assert [each.field for each in refused.value.violations] == ["training_job.parameters.rank"]

    third = await trainer.create(project, initial_lora=lora, parameters=Parameters(num_epochs=1))
    await trainer.stub.DeleteEpoch(_Service.DeleteEpochRequest(name=lora), timeout=scaled(30))
    start_worker(trainer.target)
    failed = await wait_for(trainer, third.name, _ended)
    assert (failed.state, failed.error.reason) == (Job.STATE_FAILED, "INITIAL_LORA_GONE"), failed.error
    assert (failed.error.retryable, failed.epochs_completed) == (False, 0)
