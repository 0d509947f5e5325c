"""What people type for names: the last job, an epoch by a word, a file's name, and what they meant."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fiveshot import errors
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.notifier.v1 import notifier_service_pb2, webhook_pb2
from fiveshot.registry.v1 import model_pb2, registry_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, training_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.cli import lookup, output
from gateway.cli.names import nearest_id
from gateway.cli.session import Session

JOB = "projects/p/trainingJobs/job-1"


class _Server:
    """All services: jobs newest first, epochs of every job, pictures of every dataset."""

    def __init__(self, *, jobs: int = 2, epochs: int = 3, recommended: int = 2, files: tuple[str, ...] = ()) -> None:
        self.jobs, self.epochs, self.recommended, self.files = jobs, epochs, recommended, files

    def ListTrainingJobs(self, request: Any) -> Any:
        assert request.order_by in ("", "create_time desc")
        names = [f"projects/p/trainingJobs/job-{number}" for number in range(self.jobs, 0, -1)]
        jobs = [training_job_pb2.TrainingJob(name=name) for name in names]
        return training_service_pb2.ListTrainingJobsResponse(training_jobs=jobs)

    def ListEpochs(self, request: Any) -> Any:
        numbers = range(1, self.epochs + 1)
        epochs = [
            training_job_pb2.Epoch(name=f"{request.parent}/epochs/{number}", recommended=number == self.recommended)
            for number in numbers
        ]
        return training_service_pb2.ListEpochsResponse(epochs=epochs)

    def GetTrainingJob(self, request: Any) -> Any:
        return training_job_pb2.TrainingJob(name=request.name, end_time=Timestamp(seconds=1))

    def ListImages(self, request: Any) -> Any:
        images = [
            dataset_pb2.Image(name=f"{request.parent}/images/img-{number}", file_name=name)
            for number, name in enumerate(self.files)
        ]
        return dataset_service_pb2.ListImagesResponse(images=images)

    def ListDatasets(self, request: Any) -> Any:
        datasets = [dataset_pb2.Dataset(name="projects/p/datasets/cat")]
        return dataset_service_pb2.ListDatasetsResponse(datasets=datasets)

    def ListWebhooks(self, request: Any) -> Any:
        webhooks = [webhook_pb2.Webhook(name="projects/p/webhooks/hook")]
        return notifier_service_pb2.ListWebhooksResponse(webhooks=webhooks)

    def ListTagJobs(self, request: Any) -> Any:
        return tagger_service_pb2.ListTagJobsResponse(tag_jobs=[tagger_pb2.TagJob(name="projects/p/tagJobs/tag-01n")])

    def ListPreviewRequests(self, request: Any) -> Any:
        found = [preview_request_pb2.PreviewRequest(name="projects/p/previewRequests/try-01n")]
        return training_service_pb2.ListPreviewRequestsResponse(preview_requests=found)

    def ListModels(self, request: Any) -> Any:
        return registry_service_pb2.ListModelsResponse(models=[model_pb2.Model(name="projects/p/models/my-cat")])


def _session(**facts: Any) -> Session:
    session, server = Session(project="p"), _Server(**facts)
    session.__dict__.update(trainer=server, dataset=server, registry=server, notifier=server, tagger=server)
    return session


def test_the_last_job_is_taken_when_none_is_named() -> None:
    assert lookup.job(_session(), "") == "projects/p/trainingJobs/job-2"
    assert lookup.job(_session(), "last") == "projects/p/trainingJobs/job-2"
    assert lookup.job(_session(), "job-1") == JOB
    with pytest.raises(errors.NotFound, match="no training job"):
        lookup.job(_session(jobs=0), "")


@pytest.mark.parametrize(
    ("words", "epoch"),
    [
        ([], "job-2/epochs/2"), (["3"], "job-2/epochs/3"), (["last"], "job-2/epochs/3"), (["best"], "job-2/epochs/2"),
        (["job-1"], "job-1/epochs/2"), (["job-1", "recommended"], "job-1/epochs/2"), (["job-1", "1"], "job-1/epochs/1"),
        (["last", "last"], "job-2/epochs/3"), (["03"], "job-2/epochs/3"), (["job-1/3"], "job-1/epochs/3"),
        (["job-1/epochs/3"], "job-1/epochs/3"), (["projects/p/trainingJobs/job-1/epochs/1"], "job-1/epochs/1"),
        (["job-1/best"], "job-1/epochs/2"), (["last/last"], "job-2/epochs/3"),
    ],
)  # fmt: skip
def test_an_epoch_is_a_number_or_a_word(words: list[str], epoch: str) -> None:
    assert lookup.job_and_epoch(_session(), words)[1] == f"projects/p/trainingJobs/{epoch}"


@pytest.mark.parametrize(
    ("facts", "words", "reason"),
    [
        ({"epochs": 0}, ["best"], "NO_EPOCH"), ({"recommended": 0}, ["best"], "NO_RECOMMENDATION"),
        ({}, ["job-1", "bset"], "INVALID_ARGUMENT"), ({}, ["job-1", "1", "x"], "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
def test_an_epoch_that_cannot_be_meant(facts: dict[str, int], words: list[str], reason: str) -> None:
    with pytest.raises(errors.FiveshotError) as refused:
        lookup.job_and_epoch(_session(**facts), words)
    assert refused.value.reason == reason


@pytest.mark.parametrize("words", [["99"], ["0"], ["job-2/99"], ["job-2", "9" * 18], ["job-2/epochs/99"]])
def test_an_epoch_that_a_job_has_not_is_answered_with_those_that_it_has(words: list[str]) -> None:
    with pytest.raises(errors.NotFound) as refused:
        lookup.job_and_epoch(_session(), words)
    number = words[-1].rpartition("/")[2]
    assert (refused.value.reason, refused.value.message) == ("EPOCH_NOT_FOUND", f"job-2 has no epoch {number}")
    assert refused.value.remedy == "It has 1 to 3: `fiveshot epochs list job-2`."
    assert output.describe(refused.value).count("fiveshot epochs list") == 1


def test_an_epoch_that_is_still_to_come_is_to_be_waited_for() -> None:
    session = _session()
    running = training_job_pb2.TrainingJob(parameters=training_job_pb2.TrainingParameters(num_epochs=5))
    cast(Any, session.trainer).GetTrainingJob = lambda request: running
    with pytest.raises(errors.FailedPrecondition, match="Epoch 5 of job-2 is not finished") as refused:
        lookup.job_and_epoch(session, ["5"])
    assert (refused.value.reason, "fiveshot train watch job-2" in refused.value.remedy) == ("EPOCH_NOT_FINISHED", True)
    with pytest.raises(errors.NotFound, match="job-2 has no epoch 6"):
        lookup.job_and_epoch(session, ["6"])


@pytest.mark.parametrize(
    ("given", "number"),
    [("00.jpg", 0), ("00.JPG", 0), ("photos/00.jpg", 0), ("02.jfif", 2), ("Rex 1.png", 1), ("Rex 1", 1)],
)
def test_a_picture_is_found_by_the_name_of_its_file(given: str, number: int) -> None:
    session = _session(files=("00.jpg", "rex 1.png", "02.jpg"))
    assert lookup.image(session, "cat", given).name == f"projects/p/datasets/cat/images/img-{number}"


def test_a_picture_that_is_not_there_or_there_twice() -> None:
    with pytest.raises(errors.NotFound) as missing:
        lookup.image(_session(files=("IMG_0001.jpg",)), "cat", "IMG_001.jpg")
    assert missing.value.remedy == "Did you mean IMG_0001.jpg?"
    with pytest.raises(errors.InvalidArgument, match="2 pictures") as twice:
        lookup.image(_session(files=("0.jpg", "0.jpg")), "cat", "0.jpg")
    assert "img-0, img-1" in twice.value.remedy


def test_the_last_two_jobs_are_compared_by_default() -> None:
    assert lookup.last_two_jobs(_session()) == ["projects/p/trainingJobs/job-1", "projects/p/trainingJobs/job-2"]


@pytest.mark.parametrize(
    ("given", "near"),
    [("backpack_dog", "backpack-dog"), ("Köter Nr. 5", "koter-nr-5"), ("2024", "dataset-2024")],
)
def test_the_nearest_legal_id_is_offered(given: str, near: str) -> None:
    assert nearest_id(given, "dataset") == near
    assert lookup.new_id(near, field="dataset_id", kind="dataset") == near
    with pytest.raises(errors.InvalidArgument) as refused:
        lookup.new_id(given, field="dataset_id", kind="dataset")
    assert refused.value.remedy.startswith(f"Did you mean '{near}'?")
    with pytest.raises(errors.InvalidArgument, match=f"Did you mean '{near}'"):
        _session().name("datasets", given)


@pytest.mark.parametrize("given", ["??", "кот", "猫"])
def test_no_id_is_offered_of_which_no_letter_was_typed(given: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        lookup.new_id(given, field="dataset_id", kind="dataset")
    assert refused.value.remedy.startswith("An id holds")
    with pytest.raises(errors.InvalidArgument) as unnamed:
        _session().name("datasets", given)
    assert unnamed.value.remedy.startswith("An id holds")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("datasets/cta", "cat"),
        ("models/mycat", "my-cat"),
        ("trainingJobs/jb-1", "job-1 or job-2"),
        ("webhooks/hok", "hook"),
        ("tagJobs/tag-01m", "tag-01n"),
        ("previewRequests/try-01m", "try-01n"),
    ],
)
def test_what_was_meant_is_said_when_a_name_is_not_found(name: str, near: str) -> None:
    missing = errors.NotFound(f"projects/p/{name} does not exist", field="name", remedy="Check it.")
    told = lookup.with_suggestion(_session(), missing)
    assert (told.remedy, told.field) == (f"Did you mean {near}? Check it.", "name")


def test_where_nothing_is_like_it_the_list_is_named_and_other_errors_stay_as_they_are() -> None:
    far = errors.NotFound("projects/p/datasets/zebra does not exist", remedy="Check it.")
    assert lookup.with_suggestion(_session(), far).remedy == (
        "Check it. Make it with `fiveshot dataset create zebra`, or see `fiveshot dataset list`."
    )
    job = errors.NotFound("projects/p/trainingJobs/zebra does not exist")
    assert lookup.with_suggestion(_session(), job).remedy == "See `fiveshot train list`."
    tagging = errors.NotFound("There is no tag job projects/p/tagJobs/zebra")
    assert lookup.with_suggestion(_session(), tagging).remedy == "See `fiveshot tag-jobs list`."
    below = errors.NotFound("projects/p/models/my-cat/versions/1 has no file 'x'", remedy="It has kohya.")
    assert lookup.with_suggestion(_session(), below) is below
    other = errors.InvalidArgument("projects/p/datasets/cta is wrong")
    assert lookup.with_suggestion(_session(), other) is other


def test_pictures_are_named_once_or_all_and_an_empty_dataset_is_told_where_something_is_to_be_done() -> None:
    session = _session(files=("a.jpg", "b.jpg"))
    dataset = "projects/p/datasets/cat"
    found = lookup.images_to_change(session, dataset, ("b.jpg", "b.jpg"), change=True)
    assert [each.file_name for each in found] == ["b.jpg"]
    assert len(lookup.images_to_change(session, dataset, (), change=True)) == 2
    empty = _session()
    assert lookup.images_to_change(empty, dataset, (), change=False) == []
    with pytest.raises(errors.FailedPrecondition) as caught:
        lookup.images_to_change(empty, dataset, (), change=True)
    assert caught.value.reason == "DATASET_EMPTY"
