"""A project's own base model, from the file on its owner's disk to a LoRA and its pictures: real store, real worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, training_service_pb2
from safetensors.torch import load_file, save_file

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.s3 import ObjectStore
from tests.fixtures import own_base_models as own
from tests.fixtures.miniatures import write_sdxl, write_stable_diffusion
from tests.fixtures.own_base_models import State
from tests.fixtures.patience import scaled, until
from tests.fixtures.single_file import write_single_file
from tests.fixtures.trainer import StartTrainer, Trainer
from tests.fixtures.worker import MINIATURE, StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Request = preview_request_pb2.PreviewRequest
_Service = training_service_pb2
_ENDED = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a miniature Stable Diffusion XL whose two text encoders are of different widths."""
    return Path(write_sdxl(tmp_path_factory.mktemp("own-xl") / "folder", wide=24).source)


@pytest.fixture
def catalogue_file(tmp_path: Path, miniature: str, large: Path) -> Path:
    """A catalogue with `baseModels/tiny` and `baseModels/xl`."""
    xl = MINIATURE.replace("base_models.tiny", "base_models.xl").replace('"stable-diffusion"', '"sdxl"')
    xl = xl.replace("stable-diffusion-v2-768-v", "stable-diffusion-xl-v1-base")
    path = tmp_path / "catalogue.toml"
    path.write_text(MINIATURE.format(source=miniature) + xl.format(source=large))
    return path


def _other(path: Path, dtype: torch.dtype) -> Path:
    """The checkpoint as somebody's fine-tune: other weights, of another number format."""
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    name = "model.diffusion_model.out.2.weight"
    save_file({**tensors, name: tensors[name] * 1.5}, path)
    return path


@pytest.fixture(scope="session")
def xl_checkpoint(tmp_path_factory: pytest.TempPathFactory, large: Path) -> Path:
    """A miniature Stable Diffusion XL as the one file that people share, in half precision."""
    path, _ = write_single_file(large, tmp_path_factory.mktemp("own-xl-file") / "single", layers_per_block=2)
    return _other(path, torch.float16)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature Stable Diffusion as one file with other weights than the catalogue's."""
    folder = tmp_path_factory.mktemp("own-base-model")
    write_stable_diffusion(folder / "sd", "v_prediction")
    path, _ = write_single_file(folder / "sd", folder / "single")
    return _other(path, torch.float32)


async def _objects(objects: ObjectStore, name: str) -> list[str]:
    return [each.key async for each in objects.list(f"trainer/{name}/")]


async def _drawn(trainer: Trainer, project: str, epoch: str) -> list[str]:
    """Digests of two pictures on request: the base model's, and that of an epoch."""
    asked = Request(sources=[epoch], prompts=["a dog"], seeds=[5], strengths=[0.0, 1.0])
    request = _Service.RequestPreviewsRequest(parent=f"projects/{project}", preview_request=asked)
    watch = _Service.WatchPreviewRequestRequest(
        name=(await trainer.stub.RequestPreviews(request, timeout=scaled(30))).name
    )
    last = Request()
    async for answer in trainer.stub.WatchPreviewRequest(watch, timeout=scaled(120)):
        last = answer.preview_request
    assert last.state == Request.STATE_SUCCEEDED, last.error
    return [cell.file.sha256 for cell in last.cells]


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
    trainer: Trainer, project: str, xl_checkpoint: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    came = await own.upload(trainer, project, xl_checkpoint, "house", labels={"team": "art"})
    assert (came.state, came.uploaded_bytes) == (State.STATE_CHECKING, xl_checkpoint.stat().st_size)
    with pytest.raises(FailedPrecondition) as early:
        await trainer.create(project, base_model=came.name)
    assert (early.value.reason, early.value.metadata["state"]) == ("BASE_MODEL_STATE", "CHECKING")
    wrong = await _two_wrong_ones(trainer, project, xl_checkpoint)
    start_worker(trainer.target)
    ready = await own.checked(trainer, came.name)
    assert ready.state == State.STATE_READY, ready.error
    await _refused(trainer, project, wrong)
    assert (ready.family, ready.based_on, ready.precision) == ("sdxl", "baseModels/xl", "fp16")
    assert ready.available
    assert "num_epochs" in {spec.parameter for spec in ready.parameter_specs}

    on_own = await trainer.create(project, base_model=ready.name, training_job_id="own")
    done = await wait_for(trainer, on_own.name, lambda job: job.state in _ENDED)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert done.base_model == ready.name
    assert len(done.base_previews) == 3
    on_base = await trainer.create(project, base_model="baseModels/xl", training_job_id="xl")
    await wait_for(trainer, on_base.name, lambda job: job.state in _ENDED)
    own_epochs, base_epochs = [
        (await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=name))).epochs
        for name in (on_own.name, on_base.name)
    ]
    assert [file.file_id for file in own_epochs[0].files] == ["kohya", "diffusers"]
    # Other weights learn otherwise: the job did not fall back on the catalogue's.
    assert not {file.sha256 for file in own_epochs[0].files} & {file.sha256 for file in base_epochs[0].files}
    digests = await _drawn(trainer, project, own_epochs[0].name)
    assert len(set(digests)) == 2
    assert not set(digests) & set(await _drawn(trainer, project, base_epochs[0].name)), "each has its own base model"
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
