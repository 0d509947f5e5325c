"""Preview requests on a real worker: of a job between two of its steps, and of epochs between two jobs."""

from __future__ import annotations

import io

from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, training_service_pb2
from PIL import Image

from tests.fixtures.patience import scaled
from tests.fixtures.trainer import Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Request = preview_request_pb2.PreviewRequest
_Service = training_service_pb2


async def _asked(trainer: Trainer, project: str, *sources: str, attended: bool = False) -> Request:
    asked = Request(sources=sources, prompts=["a dog", "a cat"], seeds=[5], strengths=[0.5, 1.0], attended=attended)
    request = _Service.RequestPreviewsRequest(parent=f"projects/{project}", preview_request=asked)
    return await trainer.stub.RequestPreviews(request, timeout=scaled(30))


async def _ended(trainer: Trainer, request: Request) -> Request:
    last = request
    watch = _Service.WatchPreviewRequestRequest(name=request.name)
    async for answer in trainer.stub.WatchPreviewRequest(watch, timeout=scaled(120)):
        last = answer.preview_request
    return last


async def _picture(trainer: Trainer, request: Request, file_id: str) -> Image.Image:
    asked = _Service.DownloadPreviewFileRequest(name=request.name, file_id=file_id)
    parts = [part.chunk async for part in trainer.stub.DownloadPreviewFile(asked, timeout=scaled(30))]
    return Image.open(io.BytesIO(b"".join(parts)))


async def test_a_job_is_drawn_as_it_stands_and_its_epoch_once_the_worker_is_free(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    worker = start_worker(trainer.target)
    job = await trainer.create(project, parameters=training_job_pb2.TrainingParameters(num_epochs=900))
    await wait_for(trainer, job.name, lambda job: job.epochs_completed >= 1 and job.state == Job.STATE_RUNNING)
    live = await _ended(trainer, await _asked(trainer, project, job.name))
    assert live.state == Request.STATE_SUCCEEDED, live.error
    (step,) = {cell.step for cell in live.cells}
    assert step > 0
    assert [(cell.prompt, cell.strength) for cell in live.cells] == [
        ("a dog", 0.5), ("a cat", 0.5), ("a dog", 1.0), ("a cat", 1.0)
    ]  # fmt: skip
    assert (await _picture(trainer, live, "cell-2")).size == (live.width, live.height) == (16, 16)

    waiting = await _asked(trainer, project, f"{job.name}/epochs/1")
    assert waiting.state == Request.STATE_QUEUED
    cancelled = await _asked(trainer, project, f"{job.name}/epochs/1", attended=True)
    name = _Service.CancelPreviewRequestRequest(name=cancelled.name)
    assert (await trainer.stub.CancelPreviewRequest(name, timeout=scaled(30))).state == Request.STATE_CANCELLED
    await trainer.stub.CancelTrainingJob(_Service.CancelTrainingJobRequest(name=job.name), timeout=scaled(30))
    drawn = await _ended(trainer, waiting)
    assert drawn.state == Request.STATE_SUCCEEDED, drawn.error
    assert len({cell.file.sha256 for cell in drawn.cells}) == len(drawn.cells) == 4
    assert {cell.step for cell in drawn.cells} == {0}
    assert (await _ended(trainer, cancelled)).state == Request.STATE_CANCELLED
    assert await worker.terminate() == 0
