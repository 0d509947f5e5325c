"""The newer families from a job's creation to its files and a picture on request, by the real worker, on miniatures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors
from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, training_service_pb2

from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families import families
from tests.fixtures.miniatures import MINIATURES
from tests.fixtures.patience import scaled, until
from tests.fixtures.trainer import Trainer
from tests.fixtures.worker import MINIATURE, StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Request = preview_request_pb2.PreviewRequest
_Service = training_service_pb2
NEWER = ("flux2-klein", "z-image", "qwen-image", "chroma", "sd3")
_ENDED = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, BaseModelFiles]:
    """A base model of each family by its name in the catalogue."""
    folder = tmp_path_factory.mktemp("newer-families")
    # Under other names than the published models', whose costs would count.
    return {f"small-{name}": MINIATURES[name](folder / name) for name in NEWER}


@pytest.fixture
def catalogue_file(tmp_path: Path, miniatures: Mapping[str, BaseModelFiles]) -> Path:
    """A catalogue that offers all of them."""
    path = tmp_path / "catalogue.toml"
    path.write_text("".join(entry(name, files) for name, files in miniatures.items()))
    return path


def entry(name: str, files: BaseModelFiles) -> str:
    """A miniature as the catalogue offers it."""
    text = MINIATURE.format(source=files.source).replace("base_models.tiny", f"base_models.{name}")
    text = text.replace('family = "stable-diffusion"', f'family = "{files.family}"')
    return text.replace('"stable-diffusion-v2-768-v"', f'"{files.architecture}"')


async def _file(trainer: Trainer, epoch: training_job_pb2.Epoch, file_id: str) -> bytes:
    asked = _Service.DownloadEpochFileRequest(name=epoch.name, file_id=file_id)
    parts = [part.chunk async for part in trainer.stub.DownloadEpochFile(asked, timeout=scaled(30))]
    return b"".join(parts)


async def test_every_newer_family_goes_from_a_job_to_files_and_a_picture_of_them(
    trainer: Trainer, project: str, miniatures: Mapping[str, BaseModelFiles], start_worker: StartWorker, tmp_path: Path
) -> None:
    wanted = training_job_pb2.TrainingParameters(num_epochs=1, num_repeats=1, batch_size=2)
    jobs = {
        name: (await trainer.create(project, base_model=f"baseModels/{name}", parameters=wanted)).name
        for name in miniatures
    }
    start_worker(trainer.target)
    drawn: dict[str, str] = {}
    for name, files in miniatures.items():
        done = await wait_for(trainer, jobs[name], lambda job: job.state in _ENDED)
        assert done.state == Job.STATE_SUCCEEDED, (name, done.error)
        assert len(done.base_previews) == 3
        (epoch,) = (await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=done.name))).epochs
        facts = families()[files.family]
        assert [file.file_id for file in epoch.files] == [form.form for form in facts.forms]
        for file in epoch.files:
            data = await _file(trainer, epoch, file.file_id)
            assert hashlib.sha256(data).hexdigest() == file.sha256
            path = tmp_path / f"{name}-{file.file_id}.safetensors"
            path.write_bytes(data)
            with safetensors.safe_open(path, "numpy") as opened:
                assert len(list(opened.keys())) > 0
                assert opened.metadata()["modelspec.architecture"] == f"{files.architecture}/lora"
        asked = Request(sources=[epoch.name], prompts=["a dog"], seeds=[5], strengths=[0.0, 1.0])
        request = _Service.RequestPreviewsRequest(parent=f"projects/{project}", preview_request=asked)
        drawn[name] = (await trainer.stub.RequestPreviews(request, timeout=scaled(30))).name
    for name, request_name in drawn.items():
        get = _Service.GetPreviewRequestRequest(name=request_name)

        async def ended(get: _Service.GetPreviewRequestRequest = get) -> Request | None:
            found = await trainer.stub.GetPreviewRequest(get, timeout=scaled(30))
            return found if found.state in (Request.STATE_SUCCEEDED, Request.STATE_FAILED) else None

        found = await until(ended, limit_s=120.0, what=f"pictures of {name}")
        assert found is not None
        assert found.state == Request.STATE_SUCCEEDED, (name, found.error)
        assert len({cell.file.sha256 for cell in found.cells}) == 2, "a trained LoRA draws another picture"
