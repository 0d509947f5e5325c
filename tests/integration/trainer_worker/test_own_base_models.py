"""A project's own base model, from the file on its owner's disk to a LoRA: real store, real worker, real weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2
from safetensors.torch import load_file, save_file

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.s3 import ObjectStore
from tests.fixtures import own_base_models as own
from tests.fixtures.miniatures import write_stable_diffusion
from tests.fixtures.own_base_models import State
from tests.fixtures.patience import scaled, until
from tests.fixtures.single_file import write_single_file
from tests.fixtures.trainer import StartTrainer, Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
_Service = training_service_pb2
_ENDED = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature Stable Diffusion as one file with other weights than the catalogue's."""
    folder = tmp_path_factory.mktemp("own-base-model")
    write_stable_diffusion(folder / "sd", "v_prediction")
    path, _ = write_single_file(folder / "sd", folder / "single")
    tensors = load_file(path)
    name = "model.diffusion_model.out.2.weight"
    save_file({**tensors, name: tensors[name] * 1.5}, path)
    return path


async def _objects(objects: ObjectStore, name: str) -> list[str]:
    return [each.key async for each in objects.list(f"trainer/{name}/")]


async def _two_wrong_ones(trainer: Trainer, project: str, checkpoint: Path) -> dict[str, str]:
    """Files with right headers: one was damaged on its way, the other lacks its decoder. Name to expected reason.

    The first claims the digest of a file that the worker has checked before.
    """
    data = bytearray(checkpoint.read_bytes())
    damaged = await own.announce(trainer, project, bytes(data), "damaged")
    data[-1] ^= 1
    await own.send(trainer, damaged.name, bytes(data))
    tensors = {name: each for name, each in load_file(checkpoint).items() if ".decoder." not in name}
    part = checkpoint.with_name("lacking.safetensors")
    save_file(tensors, part)
    lacking = await own.upload(trainer, project, part, "lacking")
    return {damaged.name: "BASE_MODEL_DIGEST_DIFFERS", lacking.name: "BASE_MODEL_CORRUPT"}


async def _refused(trainer: Trainer, project: str, wrong: Mapping[str, str]) -> None:
    for name, reason in wrong.items():
        found = await own.checked(trainer, name)
        assert (found.state, found.error.reason) == (State.STATE_FAILED, reason), found.error
        assert found.error.remedy

        async def removed(name: str = name) -> bool:
            return not await _objects(trainer.objects, name)

        await until(removed, limit_s=30.0, what="the removal of its file")
        with pytest.raises(FailedPrecondition) as refused:
            await trainer.create(project, base_model=name)
        assert refused.value.metadata["state"] == "FAILED"


async def test_an_uploaded_base_model_is_checked_trained_on_and_removed(
    trainer: Trainer, project: str, checkpoint: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    came = await own.upload(trainer, project, checkpoint, "house", labels={"team": "art"})
    assert (came.state, came.uploaded_bytes) == (State.STATE_CHECKING, checkpoint.stat().st_size)
    with pytest.raises(FailedPrecondition) as early:
        await trainer.create(project, base_model=came.name)
    assert (early.value.reason, early.value.metadata["state"]) == ("BASE_MODEL_STATE", "CHECKING")
    wrong = await _two_wrong_ones(trainer, project, checkpoint)
    start_worker(trainer.target)
    ready = await own.checked(trainer, came.name)
    assert ready.state == State.STATE_READY, ready.error
    await _refused(trainer, project, wrong)
    assert (ready.family, ready.based_on, ready.precision) == ("stable-diffusion", "baseModels/tiny", "fp32")
    assert ready.available
    assert "num_epochs" in {spec.parameter for spec in ready.parameter_specs}

    on_own = await trainer.create(project, base_model=ready.name, training_job_id="own")
    done = await wait_for(trainer, on_own.name, lambda job: job.state in _ENDED)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert done.base_model == ready.name
    on_tiny = await trainer.create(project, training_job_id="tiny")
    await wait_for(trainer, on_tiny.name, lambda job: job.state in _ENDED)
    first = [
        [
            file.sha256
            for file in (await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=name))).epochs[0].files
        ]
        for name in (on_own.name, on_tiny.name)
    ]
    # Other weights learn otherwise: the job did not fall back on the catalogue's.
    assert not set(first[0]) & set(first[1])
    cached = tmp_path / "scratch" / "base-models" / f"{ready.sha256}.safetensors"
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == ready.sha256

    with pytest.raises(FailedPrecondition) as used:
        await own.delete(trainer, ready.name)
    assert (used.value.reason, used.value.metadata["ended_jobs"]) == ("BASE_MODEL_IN_USE", "1")
    assert await _objects(trainer.objects, ready.name)
    await own.delete(trainer, ready.name, force=True)
    assert await _objects(trainer.objects, ready.name) == []
    with pytest.raises(NotFound):
        await own.read(trainer, ready.name)
    with pytest.raises(FailedPrecondition) as gone:
        await trainer.stub.ExtendTrainingJob(
            _Service.ExtendTrainingJobRequest(name=on_own.name, additional_epochs=1), timeout=scaled(30)
        )
    assert gone.value.reason == "BASE_MODEL_NOT_FOUND"


async def test_a_worker_that_is_killed_while_it_checks_loses_the_check_to_another(
    start_trainer: StartTrainer, sqlite_url: str, project: str, checkpoint: Path, start_worker: StartWorker
) -> None:
    async with start_trainer(sqlite_url, lease_seconds=scaled(2.0)) as trainer:
        came = await own.upload(trainer, project, checkpoint, "house")
        first = start_worker(trainer.target, "worker-1")
        await until(lambda: "check_started" in first.log.read_text(), limit_s=120.0, what="the check")
        first.kill()
        start_worker(trainer.target, "worker-2")
        ready = await own.checked(trainer, came.name)
        assert ready.state == State.STATE_READY, ready.error
