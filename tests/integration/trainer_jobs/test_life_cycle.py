"""A job's life over gRPC: from its creation to its epochs, with every way to steer it."""

from __future__ import annotations

import hashlib

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2, worker_service_pb2

from services.chassis.errors import (
    Aborted,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
)
from tests.fixtures.trainer import Trainer

Job = training_job_pb2.TrainingJob
Attempt = training_job_pb2.Attempt
_Service = training_service_pb2


async def test_a_job_goes_from_the_queue_to_files_that_can_be_downloaded(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project, display_name="My dog")
    assert job.state == Job.STATE_QUEUED
    assert job.dataset_version == f"projects/{project}/datasets/dog/versions/1"
    assert (job.queue_position_in_project, job.queue_position) == (1, 1)
    # Five pictures, four repeats, batches of four: five steps an epoch, two epochs.
    assert job.total_steps == 10
    assert list(job.parameters.preview_prompts) == [
        "sks dog, picture 0",
        "a photo of sks dog in the snow",
        "sks dog, picture 1",
    ]

    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    assert held.job.name == job.name
    assert (await trainer.get(job.name)).state == Job.STATE_PREPARING
    assert await worker.heartbeat(held, step=1) == worker_service_pb2.DIRECTIVE_CONTINUE
    assert (await trainer.get(job.name)).state == Job.STATE_RUNNING
    await worker.report(await worker.epoch_report(held, 0))
    for number in (1, 2):
        await worker.report(await worker.epoch_report(held, number))
    assert await worker.complete(held) == Job.STATE_SUCCEEDED

    done = await trainer.get(job.name)
    assert done.epochs_completed == 2
    assert done.recommended_epoch == 2
    assert len(done.base_previews) == 1
    assert [attempt.outcome for attempt in done.attempts] == [Attempt.OUTCOME_SUCCEEDED]
    listed = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=job.name))
    assert [epoch.recommended for epoch in listed.epochs] == [False, True]
    assert [file.file_id for file in listed.epochs[0].files] == ["kohya", "diffusers"]
    assert [file.file_id for file in listed.epochs[0].pictures] == ["preview-1", "contact-sheet"]
    assert {file.object_key for file in (*listed.epochs[0].files, *listed.epochs[0].pictures)} == {""}

    for file_id in ("kohya", "preview-1", "contact-sheet"):
        request = _Service.DownloadEpochFileRequest(name=f"{job.name}/epochs/2", file_id=file_id)
        messages = [message async for message in trainer.stub.DownloadEpochFile(request)]
        data = b"".join(message.chunk for message in messages)
        assert hashlib.sha256(data).hexdigest() == messages[0].file.sha256


async def test_a_changed_file_is_not_handed_out_as_good(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    report = await worker.epoch_report(held, 1)
    await worker.report(report)
    stored = report.epoch.files[0]
    await trainer.objects.put(stored.object_key, b"x" * stored.size_bytes)
    request = _Service.DownloadEpochFileRequest(name=f"{job.name}/epochs/1")
    with pytest.raises(DataLoss):
        async for _ in trainer.stub.DownloadEpochFile(request):
            pass


async def test_an_epoch_whose_files_are_not_stored_is_refused(trainer: Trainer, project: str) -> None:
    await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    report = await worker.epoch_report(held, 1)
    await trainer.objects.delete(report.epoch.files[0].object_key)
    for ending in ("", "/../elsewhere"):
        report.epoch.files[0].object_key += ending
        with pytest.raises(FailedPrecondition) as refused:
            await worker.report(report)
        assert refused.value.reason == "FILE_MISSING"
    assert (await trainer.get(held.job.name)).epochs_completed == 0


async def test_cancel_while_waiting_and_while_running(trainer: Trainer, project: str) -> None:
    waiting = await trainer.create(project)
    cancelled = await trainer.stub.CancelTrainingJob(_Service.CancelTrainingJobRequest(name=waiting.name))
    assert cancelled.state == Job.STATE_CANCELLED

    running = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    assert held.job.name == running.name
    await worker.report(await worker.epoch_report(held, 1))
    request = _Service.CancelTrainingJobRequest(name=running.name)
    assert (await trainer.stub.CancelTrainingJob(request)).state == Job.STATE_CANCELLING
    assert (await trainer.stub.CancelTrainingJob(request)).state == Job.STATE_CANCELLING
    assert await worker.heartbeat(held, step=6) == worker_service_pb2.DIRECTIVE_CANCEL
    assert await worker.complete(held, Attempt.OUTCOME_CANCELLED) == Job.STATE_CANCELLED
    kept = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=running.name))
    assert kept.total_size == 1


async def test_pause_and_resume_go_on_from_the_last_epoch(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    await worker.heartbeat(held, step=5)
    await worker.report(await worker.epoch_report(held, 1))
    await worker.heartbeat(held, step=7)
    paused = await trainer.stub.PauseTrainingJob(_Service.PauseTrainingJobRequest(name=job.name))
    assert paused.state == Job.STATE_PAUSING
    assert await worker.heartbeat(held, step=8) == worker_service_pb2.DIRECTIVE_PAUSE
    assert await worker.complete(held, Attempt.OUTCOME_PAUSED) == Job.STATE_PAUSED
    assert await worker.acquire() is None

    with pytest.raises(FailedPrecondition) as refused:
        await trainer.stub.RetryTrainingJob(_Service.RetryTrainingJobRequest(name=job.name))
    assert refused.value.metadata["state"] == "PAUSED"
    assert "resume" in refused.value.metadata["allowed"]

    await trainer.stub.ResumeTrainingJob(_Service.ResumeTrainingJobRequest(name=job.name))
    second = await worker.acquire()
    assert second is not None
    assert second.attempt == 2
    assert second.job.epochs_completed == 1
    assert [file.file_id for file in second.checkpoint] == ["checkpoint-1"]
    # The points of the steps that are trained anew are gone.
    points = await trainer.stub.ListMetrics(_Service.ListMetricsRequest(parent=job.name))
    assert [point.step for point in points.metrics] == [5]
    await worker.work(second)
    assert (await trainer.get(job.name)).state == Job.STATE_SUCCEEDED


async def test_stop_keeps_what_is_done_and_extend_goes_on(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project, parameters=training_job_pb2.TrainingParameters(num_epochs=5))
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    await worker.heartbeat(held, step=1)
    await trainer.stub.StopTrainingJob(_Service.StopTrainingJobRequest(name=job.name))
    report = await worker.epoch_report(held, 1)
    assert await worker.report(report) == worker_service_pb2.DIRECTIVE_STOP
    assert await worker.complete(held) == Job.STATE_SUCCEEDED

    with pytest.raises(InvalidArgument) as refused:
        await trainer.stub.ExtendTrainingJob(_Service.ExtendTrainingJobRequest(name=job.name, additional_epochs=50))
    assert refused.value.field == "additional_epochs"
    extended = await trainer.stub.ExtendTrainingJob(
        _Service.ExtendTrainingJobRequest(name=job.name, additional_epochs=2)
    )
    assert extended.parameters.num_epochs == 3
    again = await worker.acquire()
    assert again is not None
    assert again.job.epochs_completed == 1
    await worker.work(again)
    done = await trainer.get(job.name)
    assert (done.state, done.epochs_completed) == (Job.STATE_SUCCEEDED, 3)


async def test_a_user_error_ends_the_job_and_another_failure_is_tried_again(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    assert await worker.complete(held, Attempt.OUTCOME_FAILED, reason="LOSS_NOT_FINITE") == Job.STATE_FAILED
    failed = await trainer.get(job.name)
    assert (failed.error.reason, failed.error.remedy) == ("LOSS_NOT_FINITE", "Change something.")

    await trainer.stub.RetryTrainingJob(_Service.RetryTrainingJobRequest(name=job.name))
    states = []
    for _ in range(3):
        held = await worker.acquire()
        assert held is not None
        states.append(await worker.complete(held, Attempt.OUTCOME_FAILED, reason="DISK_FULL", retryable=True))
    assert states == [Job.STATE_QUEUED, Job.STATE_QUEUED, Job.STATE_FAILED]


async def test_every_report_with_an_old_token_is_refused(trainer: Trainer, project: str) -> None:
    await trainer.create(project)
    worker = trainer.worker()
    old = await worker.acquire()
    assert old is not None
    report = await worker.epoch_report(old, 1)
    assert await worker.complete(old, Attempt.OUTCOME_RELEASED) == Job.STATE_QUEUED
    new = await worker.acquire()
    assert new is not None
    for call in (
        worker.heartbeat(old, step=1),
        worker.report(report),
        worker.complete(old, Attempt.OUTCOME_SUCCEEDED),
    ):
        with pytest.raises(Aborted) as refused:
            await call
        assert refused.value.reason == "LEASE_LOST"
    # A repeat of the very report that ended the attempt is no error: its answer may have been lost.
    assert await worker.complete(old, Attempt.OUTCOME_RELEASED) == Job.STATE_PREPARING


async def test_reporting_an_epoch_twice_counts_once(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    report = await worker.epoch_report(held, 1)
    await worker.report(report)
    await worker.report(report)
    assert (await trainer.get(job.name)).epochs_completed == 1
    with pytest.raises(FailedPrecondition) as refused:
        await worker.complete(held)
    assert refused.value.reason == "EPOCHS_MISSING"


async def test_points_can_be_read_by_key_step_and_stride(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    for step in range(1, 11):
        await worker.heartbeat(held, step=step)
    await worker.heartbeat(held, step=10)

    async def steps(**fields: object) -> tuple[list[int], int]:
        request = _Service.ListMetricsRequest(parent=job.name, **fields)  # type: ignore[arg-type]
        answer = await trainer.stub.ListMetrics(request)
        return [point.step for point in answer.metrics], answer.next_since_step

    assert await steps() == (list(range(1, 11)), 0)
    assert await steps(since_step=7) == ([8, 9, 10], 0)
    assert await steps(stride=4) == ([4, 8], 0)
    assert await steps(page_size=3) == ([1, 2, 3], 3)
    assert await steps(key="learning_rate", since_step=9) == ([10], 0)
    assert await steps(key="nothing") == ([], 0)


async def test_jobs_are_listed_in_pages_and_filtered(trainer: Trainer, project: str) -> None:
    for number in range(5):
        await trainer.create(project, display_name=f"Job {number}", priority=number)
    parent = f"projects/{project}"
    names: list[str] = []
    token = ""
    while True:
        page = await trainer.stub.ListTrainingJobs(
            _Service.ListTrainingJobsRequest(parent=parent, page_size=2, page_token=token, order_by="priority desc")
        )
        assert page.total_size == 5
        names += [job.display_name for job in page.training_jobs]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"Job {number}" for number in (4, 3, 2, 1, 0)]
    newest = await trainer.stub.ListTrainingJobs(_Service.ListTrainingJobsRequest(parent=parent, page_size=2))
    assert [job.display_name for job in newest.training_jobs] == ["Job 4", "Job 3"]
    found = await trainer.stub.ListTrainingJobs(
        _Service.ListTrainingJobsRequest(parent=parent, filter='state = "QUEUED" AND display_name:"job 3"')
    )
    assert [job.display_name for job in found.training_jobs] == ["Job 3"]
    assert found.training_jobs[0].queue_position == 2
