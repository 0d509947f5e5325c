"""The worker process: it trains, obeys, gives back, and resumes so that nobody could tell from the files."""

from __future__ import annotations

from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from tests.fakes.dataset_server import FakeDatasetServer
from tests.fixtures.patience import scaled
from tests.fixtures.trainer import StartTrainer, Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Attempt = training_job_pb2.Attempt
Parameters = training_job_pb2.TrainingParameters
_Service = training_service_pb2


def _ended(job: Job) -> bool:
    return job.state in (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


async def _digests(trainer: Trainer, name: str) -> list[str]:
    listed = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=name))
    return [file.sha256 for epoch in listed.epochs for file in epoch.files if file.file_id == "kohya"]


async def test_a_job_is_trained_and_every_epoch_has_a_lora_and_three_previews(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    start_worker(trainer.target)
    job = await trainer.create(project)
    done = await wait_for(trainer, job.name, _ended)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert (done.step, done.epochs_completed) == (done.total_steps, 2)
    assert len(done.base_previews) == 3
    assert done.recommended_epoch in (1, 2)
    assert done.recommendation_reason
    epochs = (await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=job.name))).epochs
    for epoch in epochs:
        assert {"kohya", "diffusers"} <= {file.file_id for file in epoch.files}
        assert [preview.file_id for preview in epoch.previews] == ["preview-1", "preview-2", "preview-3"]
        assert [file.file_id for file in epoch.pictures] == ["preview-1", "preview-2", "preview-3", "contact-sheet"]
        assert [preview.prompt for preview in epoch.previews] == list(done.parameters.preview_prompts)
        assert epoch.evaluation.fit_loss > 0
        assert epoch.train_seconds > 0
    losses = (await trainer.stub.ListMetrics(_Service.ListMetricsRequest(parent=job.name))).metrics
    assert [point.step for point in losses] == list(range(1, done.total_steps + 1))


async def test_a_worker_that_is_told_to_go_gives_its_job_back_and_another_ends_it_alike(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    parameters = Parameters(num_epochs=3, num_repeats=12)
    undisturbed = await trainer.create(project, training_job_id="lora", parameters=parameters)
    first = start_worker(trainer.target, "worker-1")
    assert (await wait_for(trainer, undisturbed.name, _ended)).state == Job.STATE_SUCCEEDED

    disturbed = await trainer.create(project, parameters=parameters)
    await wait_for(trainer, disturbed.name, lambda job: job.epochs_completed >= 1)
    assert await first.terminate() == 0
    released = await trainer.get(disturbed.name)
    assert released.state == Job.STATE_QUEUED
    assert [attempt.outcome for attempt in released.attempts] == [Attempt.OUTCOME_RELEASED]
    assert released.epochs_completed < 3

    start_worker(trainer.target, "worker-2")
    done = await wait_for(trainer, disturbed.name, _ended)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert done.attempts[-1].worker_id == "worker-2"
    losses = (await trainer.stub.ListMetrics(_Service.ListMetricsRequest(parent=disturbed.name))).metrics
    assert [point.step for point in losses] == list(range(1, done.total_steps + 1))
    before = (await trainer.stub.ListMetrics(_Service.ListMetricsRequest(parent=undisturbed.name))).metrics
    assert [point.value for point in losses] == [point.value for point in before]


async def test_a_worker_that_is_told_to_go_in_the_middle_of_a_long_step_still_says_how_its_attempt_ended(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    """Letting go takes seconds then, for a step ends before it; nothing must cut the attempt's last words short."""
    long_steps = Parameters(num_epochs=100, num_repeats=1000, batch_size=16, gradient_accumulation_steps=8)
    job = await trainer.create(project, parameters=long_steps)
    worker = start_worker(trainer.target, SHUTDOWN_GRACE_S="60")
    await wait_for(trainer, job.name, lambda job: job.step >= 1)
    assert await worker.terminate(timeout_s=90) == 0
    released = await trainer.get(job.name)
    assert [attempt.outcome for attempt in released.attempts] == [Attempt.OUTCOME_RELEASED]
    assert released.state == Job.STATE_QUEUED
    assert "background_task_cancelled_again" not in worker.log.read_text()


async def test_a_worker_that_idles_ends_by_itself_and_no_failure_is_seen(
    trainer: Trainer, start_worker: StartWorker
) -> None:
    worker = start_worker(trainer.target, IDLE_EXIT_SECONDS="0.1", ACQUIRE_WAIT_SECONDS="1")
    assert await worker.ended() == 0
    assert "idled_long_enough" in worker.log.read_text()


async def test_a_killed_worker_loses_its_lease_and_the_job_goes_on(
    start_trainer: StartTrainer, sqlite_url: str, project: str, start_worker: StartWorker
) -> None:
    async with start_trainer(sqlite_url, lease_seconds=scaled(2.0)) as trainer:
        job = await trainer.create(project, parameters=Parameters(num_epochs=2, num_repeats=16))
        first = start_worker(trainer.target, "worker-1")
        await wait_for(trainer, job.name, lambda job: job.state == Job.STATE_RUNNING)
        first.kill()
        start_worker(trainer.target, "worker-2")
        done = await wait_for(trainer, job.name, _ended)
        assert done.state == Job.STATE_SUCCEEDED, done.error
        assert [attempt.outcome for attempt in done.attempts] == [
            Attempt.OUTCOME_LEASE_LOST,
            Attempt.OUTCOME_SUCCEEDED,
        ]


async def test_cancel_pause_and_stop_reach_the_engine(
    trainer: Trainer, project: str, start_worker: StartWorker
) -> None:
    start_worker(trainer.target)
    long = Parameters(num_epochs=50, num_repeats=16)
    cancelled = await trainer.create(project, parameters=long)
    await wait_for(trainer, cancelled.name, lambda job: job.state == Job.STATE_RUNNING)
    await trainer.stub.CancelTrainingJob(_Service.CancelTrainingJobRequest(name=cancelled.name))
    assert (await wait_for(trainer, cancelled.name, _ended)).state == Job.STATE_CANCELLED

    job = await trainer.create(project, parameters=long)
    await wait_for(trainer, job.name, lambda job: job.epochs_completed >= 1)
    await trainer.stub.PauseTrainingJob(_Service.PauseTrainingJobRequest(name=job.name))
    paused = await wait_for(trainer, job.name, lambda job: job.state == Job.STATE_PAUSED)
    await trainer.stub.ResumeTrainingJob(_Service.ResumeTrainingJobRequest(name=job.name))
    await wait_for(trainer, job.name, lambda job: job.state == Job.STATE_RUNNING)
    await trainer.stub.StopTrainingJob(_Service.StopTrainingJobRequest(name=job.name))
    done = await wait_for(trainer, job.name, _ended)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    assert paused.epochs_completed < done.epochs_completed < 50
    assert len(await _digests(trainer, job.name)) == done.epochs_completed


async def test_a_picture_that_is_not_what_was_pinned_ends_the_job_with_a_reason(
    trainer: Trainer, project: str, dataset_service: FakeDatasetServer, start_worker: StartWorker
) -> None:
    job = await trainer.create(project)
    dataset_service.spoilt.add(f"{job.dataset_version}/images/img-3")
    start_worker(trainer.target)
    failed = await wait_for(trainer, job.name, _ended)
    assert failed.state == Job.STATE_FAILED
    assert (failed.error.reason, failed.error.retryable) == ("DIGEST_MISMATCH", False)
    assert "photo-3.png" in failed.error.message
    assert failed.error.remedy
    assert len(failed.attempts) == 1
