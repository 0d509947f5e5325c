"""Creating jobs and asking what one would take, over gRPC: what is refused, and what a repeat gives."""

from __future__ import annotations

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.chassis.errors import (
    AlreadyExists,
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
        if spec.type in numbers and spec.name not in ("trigger_word", "preview_negative_prompt", "preservation_class")
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
