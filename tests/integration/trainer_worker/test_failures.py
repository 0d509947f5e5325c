"""Jobs that cannot go on: they end with a reason and a remedy, and what was finished stays and can be saved."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2, training_service_pb2

from services.chassis.grpc_client import channel
from services.chassis.service import serving
from services.chassis.store_settings import S3Settings
from services.registry.app import build
from services.registry.settings import Settings
from tests.fixtures.patience import scaled
from tests.fixtures.processes import finished
from tests.fixtures.trainer import Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Parameters = training_job_pb2.TrainingParameters
_Service = training_service_pb2
LONG = Parameters(num_epochs=50, num_repeats=20)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 48 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = finished(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder])
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    # Lazily: the worker that is killed after this may still have files there.
    assert finished(["umount", "-l", folder]).returncode == 0


def _ended(job: Job) -> bool:
    return job.state in (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


async def _can_be_saved(trainer: Trainer, job: Job, s3: S3Settings, folder: Path) -> None:
    """Every finished epoch has its files and previews, and the registry takes the last one."""
    listed = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=job.name))
    assert len(listed.epochs) == job.epochs_completed >= 1
    for epoch in listed.epochs:
        for file_id in ("kohya", *(preview.file_id for preview in epoch.previews)):
            request = _Service.DownloadEpochFileRequest(name=epoch.name, file_id=file_id)
            messages = [message async for message in trainer.stub.DownloadEpochFile(request)]
            data = b"".join(message.chunk for message in messages)
            assert hashlib.sha256(data).hexdigest() == messages[0].file.sha256
        assert len(epoch.previews) == 3
    database = f"sqlite+aiosqlite:///{folder / 'registry.db'}"
    settings = Settings(**s3.model_dump(), database_url=database, trainer_target=trainer.target, shutdown_grace_s=0.2)
    async with serving(settings, build(settings)) as running:
        connection = channel(running.target)
        version = await RegistryServiceStub(connection).SaveEpoch(
            registry_service_pb2.SaveEpochRequest(
                parent="/".join(job.name.split("/")[:2]),
                epoch=listed.epochs[-1].name,
                model_id="kept",
                create_model=True,
            ),
            timeout=scaled(60),
        )
        await connection.close(None)
    last = listed.epochs[-1]
    kept, made = ({file.file_id: file for file in files} for files in (version.files, (*last.files, *last.pictures)))
    assert kept.keys() == made.keys()
    # A LoRA gets its version's name into its metadata; pictures are kept byte by byte.
    assert all(kept[name].sha256 == made[name].sha256 for name in kept if made[name].file_name.endswith(".png"))
    assert {"kohya", "preview-1", "preview-2", "preview-3", "contact-sheet"} <= {f.file_id for f in version.files}
    for picture in ("preview-1", "contact-sheet"):
        assert f"({kept[picture].file_name})" in version.model_card


async def test_a_full_disk_ends_the_job_with_a_remedy_and_keeps_its_epochs(
    trainer: Trainer,
    project: str,
    start_worker: StartWorker,
    small_disk: Path,
    s3_settings: S3Settings,
    tmp_path: Path,
) -> None:
    start_worker(trainer.target, SCRATCH_DIR=str(small_disk), SCRATCH_ROOM_MIB="1")
    job = await trainer.create(project, parameters=LONG)
    await wait_for(trainer, job.name, lambda job: job.epochs_completed >= 1)
    await asyncio.to_thread(_fill, small_disk)
    failed = await wait_for(trainer, job.name, _ended)
    assert failed.state == Job.STATE_FAILED
    assert failed.error.reason == "DISK_FULL", failed.error
    assert "scratch folder" in failed.error.remedy
    assert len(failed.attempts) == 1
    await _can_be_saved(trainer, failed, s3_settings, tmp_path)

    # The remedy helps: with space again, the job goes on from its last epoch.
    (small_disk / "ballast").unlink()
    await trainer.stub.RetryTrainingJob(_Service.RetryTrainingJobRequest(name=job.name))
    again = await wait_for(trainer, job.name, lambda job: job.epochs_completed > failed.epochs_completed)
    assert len(again.attempts) == 2
    await trainer.stub.CancelTrainingJob(_Service.CancelTrainingJobRequest(name=job.name))


async def test_a_loss_that_is_no_number_once_is_told_and_the_job_goes_on(
    trainer: Trainer, project: str, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 5 * 4 // 2
    monkeypatch.setenv("NAN_AFTER", str(steps + 4))
    start_worker(trainer.target, module="tests.fakes.nan_worker")
    parameters = Parameters(num_epochs=2, num_repeats=4, lr_scheduler="constant", lr_warmup_steps=0)
    job = await trainer.create(project, parameters=parameters)
    done = await wait_for(trainer, job.name, _ended)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert len(done.attempts) == 1
    (notice,) = done.notices
    assert notice.startswith(f"The loss at step {steps + 5} is not a number; training went back to step {steps}")
    told = [event.notice.text async for event in _events(trainer, job.name) if event.WhichOneof("payload") == "notice"]
    assert told == [notice]
    # Each step once: those of the second try in place of those that it trained anew.
    request = _Service.ListMetricsRequest(parent=job.name, keys=["learning_rate"], page_size=1000)
    points = (await trainer.stub.ListMetrics(request)).metrics
    assert [point.step for point in points] == list(range(1, 2 * steps + 1))
    first, second = points[0].value, points[-1].value
    assert [point.value for point in points] == [first] * steps + [second] * steps
    assert second == pytest.approx(first / 2)


async def _events(trainer: Trainer, name: str) -> AsyncIterator[training_event_pb2.TrainingJobEvent]:
    """All events of a job that has ended."""
    async for answer in trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=name, from_start=True)):
        if answer.WhichOneof("update") == "event":
            yield answer.event


async def test_a_loss_that_is_no_number_again_ends_the_job_with_a_remedy_and_keeps_its_epochs(
    trainer: Trainer,
    project: str,
    start_worker: StartWorker,
    s3_settings: S3Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = 5 * 8 // 2
    # The first try sees it by the end of its third epoch; the second one begins with that epoch and meets another.
    monkeypatch.setenv("NAN_AFTER", f"{steps * 2 + 7},{steps * 3 + 1}")
    start_worker(trainer.target, module="tests.fakes.nan_worker")
    job = await trainer.create(project, parameters=Parameters(num_epochs=5, num_repeats=8))
    failed = await wait_for(trainer, job.name, _ended)
    assert failed.state == Job.STATE_FAILED
    assert failed.error.reason == "LOSS_NOT_FINITE", failed.error
    assert "learning rate" in failed.error.remedy
    assert (failed.epochs_completed, len(failed.attempts)) == (2, 1)
    await _can_be_saved(trainer, failed, s3_settings, tmp_path)
