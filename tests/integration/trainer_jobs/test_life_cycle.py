"""A job's life over gRPC: from its creation to its epochs, with every way to steer it."""

from __future__ import annotations

import hashlib

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2, worker_service_pb2

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from services.trainer.recipe.parameters import DEFAULT_SPECS
from tests.fakes.dataset_server import FakeDatasetServer
from tests.fixtures.trainer import StartTrainer, Trainer

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
    with pytest.raises(FailedPrecondition) as refused:
        await worker.report(report)
    assert refused.value.reason == "FILE_MISSING"
    assert (await trainer.get(held.job.name)).epochs_completed == 0


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"parameters": {"num_epochs": 0}}, InvalidArgument, "training_job.parameters.num_epochs"),
        ({"parameters": {"num_epochs": 10_000}}, InvalidArgument, "training_job.parameters.num_epochs"),
        ({"parameters": {"rank": 100_000}}, InvalidArgument, "training_job.parameters.rank"),
        ({"parameters": {"optimizer": "magic"}}, InvalidArgument, "training_job.parameters.optimizer"),
        ({"base_model": "baseModels/unknown"}, NotFound, "training_job.base_model"),
        ({"base_model": ""}, InvalidArgument, "training_job.base_model"),
        ({"dataset_version": "{project}/datasets/absent"}, NotFound, "training_job.dataset_version"),
        ({"dataset_version": "{project}/datasets/dog/versions/7"}, NotFound, "training_job.dataset_version"),
        ({"dataset_version": "{project}/datasets/empty"}, FailedPrecondition, "training_job.dataset_version"),
        ({"dataset_version": "{project}/datasets/../dog"}, InvalidArgument, "training_job.dataset_version"),
        ({"dataset_version": "projects/elsewhere/datasets/dog"}, InvalidArgument, "training_job.dataset_version"),
        ({"dataset_version": "{project}/datasets/pair"}, FailedPrecondition, "training_job.dataset_version"),
        ({"trigger_word": "zwx"}, InvalidArgument, "training_job.trigger_word"),
        ({"priority": 101}, InvalidArgument, "training_job.priority"),
    ],
)
@pytest.mark.parametrize("validate_only", [False, True])
async def test_bad_input_names_its_field_and_stores_nothing(
    trainer: Trainer,
    project: str,
    dataset_service: FakeDatasetServer,
    changes: dict[str, object],
    error: type[Exception],
    field: str,
    validate_only: bool,
) -> None:
    fields = dict(changes)
    if "dataset_version" in fields:
        fields["dataset_version"] = str(fields["dataset_version"]).format(project=f"projects/{project}")
    if "parameters" in fields:
        fields["parameters"] = training_job_pb2.TrainingParameters(**fields["parameters"])  # type: ignore[arg-type]
    with pytest.raises(error) as refused:
        await trainer.create(project, validate_only=validate_only, **fields)
    assert refused.value.field == field  # type: ignore[attr-defined]
    assert refused.value.remedy  # type: ignore[attr-defined]
    jobs = await trainer.stub.ListTrainingJobs(_Service.ListTrainingJobsRequest(parent=f"projects/{project}"))
    assert jobs.total_size == 0
    assert not any(photos.versions for photos in dataset_service.sets.values())


@pytest.mark.parametrize("method", ["create", "validate_only", "estimate"])
async def test_all_wrong_parameters_are_named_at_once(
    trainer: Trainer, project: str, dataset_service: FakeDatasetServer, method: str
) -> None:
    wrong = {"rank": 0, "alpha": -1.0, "optimizer": "magic", "lr_num_cycles": 0, "preview_steps": 10_000}
    job = Job(
        base_model="baseModels/tiny",
        dataset_version=f"projects/{project}/datasets/dog",
        parameters=training_job_pb2.TrainingParameters(num_epochs=1, **wrong),  # type: ignore[arg-type]
    )
    parent = f"projects/{project}"
    create = _Service.CreateTrainingJobRequest(parent=parent, training_job=job, validate_only=method == "validate_only")
    estimate = _Service.EstimateTrainingJobRequest(parent=parent, training_job=job)
    calls = {"estimate": lambda: trainer.stub.EstimateTrainingJob(estimate)}
    with pytest.raises(InvalidArgument) as refused:
        await calls.get(method, lambda: trainer.stub.CreateTrainingJob(create))()
    assert refused.value.reason == "PARAMETER_INVALID"
    assert {item.field for item in refused.value.violations} == {f"training_job.parameters.{name}" for name in wrong}
    assert all(item.description for item in refused.value.violations)
    assert not any(photos.versions for photos in dataset_service.sets.values())


async def test_even_when_every_parameter_is_wrong_the_error_arrives_with_all_names(
    trainer: Trainer, project: str
) -> None:
    numbers = {"int": -7, "float": -7.0, "string": "no such"}
    wrong = {
        spec.name: numbers[spec.type]
        for spec in DEFAULT_SPECS
        if spec.type in numbers and spec.name not in ("trigger_word", "preview_negative_prompt")
    }
    with pytest.raises(InvalidArgument) as refused:
        await trainer.create(project, parameters=training_job_pb2.TrainingParameters(**wrong))  # type: ignore[arg-type]
    assert len(wrong) > len(refused.value.violations) > 10
    assert all(name in refused.value.message for name in wrong)


async def test_the_least_number_of_images_is_a_setting(
    start_trainer: StartTrainer, project: str, sqlite_url: str
) -> None:
    pair = f"projects/{project}/datasets/pair"
    async with start_trainer(sqlite_url, min_images=2) as trainer:
        assert (await trainer.create(project, dataset_version=pair)).image_count == 2
    async with start_trainer(sqlite_url, min_images=4) as trainer:
        with pytest.raises(FailedPrecondition) as refused:
            await trainer.create(project, dataset_version=f"{pair}/versions/1")
        assert refused.value.reason == "DATASET_TOO_SMALL"
        assert "4" in refused.value.message
        wanted = Job(base_model="baseModels/tiny", dataset_version=pair)
        with pytest.raises(FailedPrecondition):
            await trainer.stub.EstimateTrainingJob(
                _Service.EstimateTrainingJobRequest(parent=f"projects/{project}", training_job=wanted)
            )


async def test_a_job_as_it_was_read_can_be_created_again(trainer: Trainer, project: str) -> None:
    first = await trainer.create(project)
    assert first.trigger_word == "sks"
    again = await trainer.stub.CreateTrainingJob(
        _Service.CreateTrainingJobRequest(parent=f"projects/{project}", training_job=first)
    )
    assert (again.name != first.name, again.parameters) == (True, first.parameters)


async def test_validate_only_shows_the_job_and_stores_nothing(
    trainer: Trainer, project: str, dataset_service: FakeDatasetServer
) -> None:
    job = await trainer.create(project, validate_only=True)
    assert job.total_steps == 10
    assert dataset_service.sets[f"projects/{project}/datasets/dog"].versions == []
    with pytest.raises(NotFound):
        await trainer.get(job.name)


async def test_an_estimate_counts_the_steps_that_the_job_will_have(trainer: Trainer, project: str) -> None:
    parameters = training_job_pb2.TrainingParameters(num_epochs=3, num_repeats=7, batch_size=4)
    wanted = Job(
        base_model="baseModels/tiny", dataset_version=f"projects/{project}/datasets/dog", parameters=parameters
    )
    request = _Service.EstimateTrainingJobRequest(parent=f"projects/{project}", training_job=wanted)
    estimate = await trainer.stub.EstimateTrainingJob(request)
    assert (estimate.steps_per_epoch, estimate.total_steps, estimate.image_count) == (9, 27, 5)
    assert not estimate.HasField("duration")
    job = await trainer.create(project, parameters=parameters)
    assert job.total_steps == estimate.total_steps

    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    await worker.work(held)
    done = await trainer.get(job.name)
    took = done.end_time.ToDatetime() - done.start_time.ToDatetime()
    estimate = await trainer.stub.EstimateTrainingJob(request)
    assert estimate.basis == "finished jobs"
    # A step stands for a rounded number of pictures, so it is the time that the job took, nearly.
    assert estimate.duration.ToTimedelta() == pytest.approx(took, rel=0.2)


async def test_a_repeated_create_gives_the_first_job_and_another_body_is_refused(
    trainer: Trainer, project: str, dataset_service: FakeDatasetServer
) -> None:
    first = await trainer.create(project, request_id="r-1", display_name="A")
    again = await trainer.create(project, request_id="r-1", display_name="A")
    assert again.name == first.name
    with pytest.raises(InvalidArgument) as refused:
        await trainer.create(project, request_id="r-1", display_name="B")
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert len(dataset_service.sets[f"projects/{project}/datasets/dog"].versions) == 1


async def test_a_taken_id_is_refused(trainer: Trainer, project: str) -> None:
    await trainer.create(project, training_job_id="mine")
    with pytest.raises(AlreadyExists) as refused:
        await trainer.create(project, training_job_id="mine")
    assert refused.value.field == "training_job_id"


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
