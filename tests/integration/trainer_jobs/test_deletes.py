"""Deletes and edits of jobs: what goes along, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2
from sqlalchemy import select

from services.chassis.errors import (
    Aborted,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import events, metadata
from tests.fixtures.trainer import StartTrainer, Trainer

_Service = training_service_pb2
Job = training_job_pb2.TrainingJob


async def _ended(trainer: Trainer, project: str, *, epochs: int = 3) -> Job:
    """A job that succeeded with some epochs; the last one is recommended."""
    job = await trainer.create(project, parameters={"num_epochs": epochs})
    held = await trainer.worker().acquire()
    assert held is not None
    await trainer.worker().work(held)
    return await trainer.get(job.name)


async def _objects(trainer: Trainer, job: str) -> set[str]:
    return {info.key async for info in trainer.objects.list(f"trainer/{job}/")}


async def _rows(url: str) -> dict[str, int]:
    db = Database(url)
    try:
        async with db.connect() as conn:
            return {table.name: len((await conn.execute(table.select())).all()) for table in metadata.sorted_tables}
    finally:
        await db.dispose()


async def _events(url: str) -> list[str]:
    db = Database(url)
    try:
        async with db.connect() as conn:
            return list(await conn.scalars(select(events.c.type).order_by(events.c.position)))
    finally:
        await db.dispose()


async def test_an_ended_job_goes_with_its_epochs_points_log_and_files(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        job = await _ended(trainer, project)
        assert await _objects(trainer, job.name)
        with pytest.raises(FailedPrecondition) as pinned:
            await trainer.stub.DeleteTrainingJob(_Service.DeleteTrainingJobRequest(name=job.name))
        assert (pinned.value.reason, pinned.value.field) == ("JOB_HAS_EPOCHS", "force")
        with pytest.raises(Aborted):
            await trainer.stub.DeleteTrainingJob(
                _Service.DeleteTrainingJobRequest(name=job.name, etag="0" * 16, force=True)
            )
        assert (await trainer.get(job.name)).etag == job.etag

        await trainer.stub.DeleteTrainingJob(
            _Service.DeleteTrainingJobRequest(name=job.name, etag=job.etag, force=True)
        )
        with pytest.raises(NotFound):
            await trainer.get(job.name)
        with pytest.raises(NotFound):
            await trainer.stub.DeleteTrainingJob(_Service.DeleteTrainingJobRequest(name=job.name))
        assert await _objects(trainer, job.name) == set()
        rows = await _rows(database_url)
        assert (rows["training_jobs"], rows["epochs"], rows["metric_chunks"]) == (0, 0, 0)
        # But for what it used; and nobody has taken its events yet, of which the last tells that it is gone.
        assert rows["attempt_times"] == 1
        assert (await _events(database_url))[-1] == "fiveshot.training_job.deleted"
        # The id is free again, and its log begins anew.
        again = await trainer.create(project, training_job_id=job.name.rsplit("/", 1)[1])
        assert again.state == Job.STATE_QUEUED


@pytest.mark.parametrize("verb", ["none", "Pause", "acquire"])
async def test_a_job_that_has_not_ended_stays(trainer: Trainer, project: str, verb: str) -> None:
    job = await trainer.create(project)
    if verb == "Pause":
        await trainer.stub.PauseTrainingJob(_Service.PauseTrainingJobRequest(name=job.name))
    if verb == "acquire":
        await trainer.worker().acquire()
    with pytest.raises(FailedPrecondition) as refused:
        await trainer.stub.DeleteTrainingJob(_Service.DeleteTrainingJobRequest(name=job.name, force=True))
    assert (refused.value.reason, refused.value.field) == ("JOB_STATE", "name")
    assert (await trainer.get(job.name)).name == job.name


async def test_an_epoch_goes_with_its_files_unless_the_job_needs_it(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        job = await _ended(trainer, project)
        stored = await _objects(trainer, job.name)
        first = await trainer.stub.GetEpoch(_Service.GetEpochRequest(name=f"{job.name}/epochs/1"))
        other = await trainer.stub.GetEpoch(_Service.GetEpochRequest(name=f"{job.name}/epochs/2"))
        refusals: dict[DomainError | type[DomainError], _Service.DeleteEpochRequest] = {
            FailedPrecondition: _Service.DeleteEpochRequest(name=f"{job.name}/epochs/3"),
            NotFound: _Service.DeleteEpochRequest(name=f"{job.name}/epochs/9"),
            Aborted: _Service.DeleteEpochRequest(name=first.name, etag=other.etag),
            InvalidArgument: _Service.DeleteEpochRequest(name=f"{job.name}/epochs/0"),
        }
        for kind, request in refusals.items():
            with pytest.raises(kind):  # type: ignore[arg-type]
                await trainer.stub.DeleteEpoch(request)
        assert await _objects(trainer, job.name) == stored

        await trainer.stub.DeleteEpoch(_Service.DeleteEpochRequest(name=first.name, etag=first.etag))
        left = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=job.name))
        assert [epoch.name.rsplit("/", 1)[1] for epoch in left.epochs] == ["2", "3"]
        assert left.total_size == 2
        gone = stored - await _objects(trainer, job.name)
        assert {key.split("/")[-1] for key in gone} == {
            "kohya.safetensors", "diffusers.safetensors", "preview-1.png", "contact_sheet.png", "state.bin"
        }  # fmt: skip
        assert all("/1/" in key.split("attempts/1")[1] for key in gone)


async def test_a_job_can_be_renamed_labelled_and_moved_up_in_any_state(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        first = await trainer.create(project, labels={"team": "red"})
        second = await trainer.create(project, display_name="Second")
        assert first.labels == {"team": "red"}
        assert second.queue_position_in_project == 2
        change = Job(name=second.name, priority=5, labels={"team": "blue", "cost": ""}, etag=second.etag, loss=9.0)
        moved = await trainer.stub.UpdateTrainingJob(_Service.UpdateTrainingJobRequest(training_job=change))
        assert (moved.display_name, moved.priority, moved.queue_position_in_project) == ("Second", 5, 1)
        assert dict(moved.labels) == {"team": "blue", "cost": ""}
        assert (moved.loss, moved.state) == (0.0, Job.STATE_QUEUED)
        with pytest.raises(Aborted) as stale:
            await trainer.stub.UpdateTrainingJob(_Service.UpdateTrainingJobRequest(training_job=change))
        assert stale.value.field == "training_job.etag"

        held = await trainer.worker().acquire()
        assert held is not None
        assert held.job.name == second.name
        masked = _Service.UpdateTrainingJobRequest(training_job=Job(name=second.name))
        masked.update_mask.paths.extend(["display_name", "labels"])
        cleared = await trainer.stub.UpdateTrainingJob(masked)
        assert (cleared.display_name, dict(cleared.labels), cleared.priority) == ("", {}, 5)
        # Its worker goes on as if nothing had happened.
        await trainer.worker().work(held)
        assert (await trainer.get(second.name)).state == Job.STATE_SUCCEEDED


@pytest.mark.parametrize(
    ("job", "paths", "field"),
    [
        (Job(display_name="x" * 121), [], "training_job.display_name"),
        (Job(priority=101), [], "training_job.priority"),
        (Job(labels={"Team": "x"}), [], 'training_job.labels["Team"]'),
        (Job(labels={"team": "x" * 64}), [], 'training_job.labels["team"]'),
        (Job(labels={f"k{n}": "" for n in range(65)}), [], "training_job.labels"),
        (Job(), ["state"], "update_mask"),
        (Job(), ["parameters.num_epochs"], "update_mask"),
    ],
)
async def test_an_edit_that_is_refused_names_the_field_and_changes_nothing(
    trainer: Trainer, project: str, job: Job, paths: list[str], field: str
) -> None:
    made = await trainer.create(project)
    request = _Service.UpdateTrainingJobRequest(training_job=job)
    request.training_job.name = made.name
    request.update_mask.paths.extend(paths)
    with pytest.raises(InvalidArgument) as refused:
        await trainer.stub.UpdateTrainingJob(request)
    assert refused.value.violations
    assert refused.value.field.startswith(field.split("[", maxsplit=1)[0])
    assert (await trainer.get(made.name)).etag == made.etag


async def test_points_of_several_keys_come_by_step(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    worker = trainer.worker()
    held = await worker.acquire()
    assert held is not None
    for step in (1, 2, 3):
        await worker.heartbeat(held, step=step)
    asked = _Service.ListMetricsRequest(parent=job.name, keys=["loss", "learning_rate", "none"], page_size=2)
    page = await trainer.stub.ListMetrics(asked)
    assert [(point.step, point.key) for point in page.metrics] == [
        (1, "loss"), (1, "learning_rate"), (2, "loss"), (2, "learning_rate"),
    ]  # fmt: skip
    assert page.next_since_step == 2
    asked.since_step = page.next_since_step
    rest = await trainer.stub.ListMetrics(asked)
    assert ({point.step for point in rest.metrics}, rest.next_since_step) == ({3}, 0)
    with pytest.raises(InvalidArgument) as refused:
        await trainer.stub.ListMetrics(_Service.ListMetricsRequest(parent=job.name, key="loss", keys=["loss"]))
    assert refused.value.field == "keys"


async def test_a_watch_from_the_start_replays_all_events(trainer: Trainer, project: str) -> None:
    job = await _ended(trainer, project, epochs=2)
    request = _Service.WatchTrainingJobRequest(name=job.name, from_start=True)
    messages = [message async for message in trainer.stub.WatchTrainingJob(request)]
    assert not any(message.HasField("job") for message in messages)
    sequences = [message.event.sequence for message in messages]
    assert sequences == list(range(1, len(sequences) + 1))
    kinds = [message.event.WhichOneof("payload") for message in messages]
    assert kinds.count("epoch_completed") == 2
    assert messages[-1].event.state == Job.STATE_SUCCEEDED
    both = _Service.WatchTrainingJobRequest(name=job.name, from_start=True, resume_token=messages[0].resume_token)
    with pytest.raises(InvalidArgument) as refused:
        [message async for message in trainer.stub.WatchTrainingJob(both)]
    assert refused.value.field == "from_start"


async def test_operators_see_workers_and_queue_and_nobody_else_does(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        job, waiting = await trainer.create(project), await trainer.create(project)
        await trainer.worker("idle").acquire(models=["baseModels/other"])
        await trainer.worker("busy").acquire()
        everything = (("x-fiveshot-projects", "*"),)
        found = await trainer.stub.ListWorkers(_Service.ListWorkersRequest(), metadata=everything)
        assert [(w.worker_id, w.training_job, list(w.base_models), w.device) for w in found.workers] == [
            ("busy", job.name, [], "cpu"), ("idle", "", ["baseModels/other"], "cpu"),
        ]  # fmt: skip
        assert all(worker.HasField("last_seen_time") for worker in found.workers)
        queue = await trainer.stub.GetTrainingQueue(_Service.GetTrainingQueueRequest(), metadata=everything)
        assert (queue.waiting_jobs, queue.active_jobs) == (1, 1)
        assert [share.project for share in queue.projects] == [f"projects/{project}"]
        assert waiting.name
        for ask in (
            trainer.stub.ListWorkers(_Service.ListWorkersRequest(), metadata=(("x-fiveshot-projects", project),)),
            trainer.stub.GetTrainingQueue(
                _Service.GetTrainingQueueRequest(), metadata=(("x-fiveshot-projects", project),)
            ),
        ):
            with pytest.raises(PermissionDenied) as refused:
                await ask
            assert refused.value.reason == "ALL_PROJECTS_NEEDED"


async def test_a_clean_up_reports_first_and_then_deletes_rows_and_files_that_nobody_needs(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        job = await _ended(trainer, project)
        stored = await _objects(trainer, job.name)
        request = _Service.CleanUpTrainingJobsRequest(parent=f"projects/{project}", validate_only=True)
        kept = await trainer.stub.CleanUpTrainingJobs(request)
        assert [(kind.kind, kind.count, kind.lifetime.seconds // 86_400) for kind in kept.kinds] == [
            ("epochs", 0, 30),
            ("unsuccessful-jobs", 0, 90),
            ("successful-jobs", 0, 365),
        ]
        request.older_than.FromSeconds(0)
        found = await trainer.stub.CleanUpTrainingJobs(request)
        assert (found.kinds[0].count, found.kinds[0].oldest_time) == (2, job.end_time)
        assert await _objects(trainer, job.name) == stored
        request.validate_only = False
        assert (await trainer.stub.CleanUpTrainingJobs(request)).kinds[0].count == 2
        left = await trainer.stub.ListEpochs(_Service.ListEpochsRequest(parent=job.name))
        assert [epoch.name.rsplit("/", 1)[1] for epoch in left.epochs] == ["3"]
        gone = stored - await _objects(trainer, job.name)
        of_them = [f"/{folder}/{number}/" for folder in ("epochs", "checkpoints") for number in (1, 2)]
        assert gone == {key for key in stored if any(part in key for part in of_them)} != set()
        assert (await trainer.stub.CleanUpTrainingJobs(request)).kinds[0].count == 0
