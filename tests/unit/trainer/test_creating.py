"""CreateTrainingJob: a job as it was asked for, once for each request, and nothing when it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import AlreadyExists, DomainError, FailedPrecondition, InvalidArgument, NotFound
from services.chassis.requests.keys import RequestKey
from services.trainer.models.job import JobState
from tests.unit.trainer.jobs import NOW
from tests.unit.trainer.verbs import DATASET, NO_KEY, REQUEST, VERSION, Verbs

KEY = RequestKey("acme", "CreateTrainingJob", "r-1", "digest")


@pytest.fixture
def verbs() -> Verbs:
    return Verbs()


async def test_a_job_is_queued_with_the_frozen_version_and_its_exact_steps(verbs: Verbs) -> None:
    job = await verbs.create(priority=3)
    assert job.name == "projects/acme/trainingJobs/job-1"
    assert (job.state, job.create_time, job.queued_at, job.priority) == (JobState.QUEUED, NOW, NOW, 3)
    assert (job.dataset_version, job.dataset_digest, job.image_count) == (VERSION, "d" * 64, 5)
    assert (job.steps_per_epoch, job.samples_per_step, job.total_steps) == (5, 4, 10)
    assert job.trigger_word == job.parameters.trigger_word == "sks"
    assert len(job.parameters.preview_prompts) == 3
    assert await verbs.store.get(job.name) == job
    assert [event.sequence for event in await verbs.store.events(job.name, after=0, limit=9)] == [1]


async def test_a_validation_gives_the_same_job_and_stores_nothing(verbs: Verbs) -> None:
    asked = replace(REQUEST, job_id="mine")
    looked = (await verbs.creator.create(asked, KEY, validate_only=True)).job
    assert (looked.dataset_version, verbs.datasets.pinned) == (DATASET, [])
    with pytest.raises(NotFound):
        await verbs.store.get(looked.name)
    made = (await verbs.creator.create(asked, KEY, validate_only=False)).job
    assert replace(looked, dataset_version=made.dataset_version, dataset_digest=made.dataset_digest) == made


async def test_a_repeated_request_gives_the_first_job_also_after_it_moved_and_freezes_once(verbs: Verbs) -> None:
    made = await verbs.creator.create(REQUEST, KEY, validate_only=False)
    assert (made.position_in_project, made.position) == (1, 1)
    taken = await verbs.take()
    again = await verbs.creator.create(REQUEST, KEY, validate_only=False)
    assert (again.job, again.position) == (taken, 0)
    assert (taken.name, verbs.datasets.pinned) == (made.job.name, [DATASET])
    with pytest.raises(InvalidArgument) as reused:
        await verbs.creator.create(REQUEST, replace(KEY, digest="other"), validate_only=False)
    assert (reused.value.reason, reused.value.field) == ("REQUEST_ID_REUSED", "request_id")


@pytest.mark.parametrize("key", [NO_KEY, KEY], ids=["without request_id", "with one"])
async def test_an_id_is_taken_once_and_the_first_job_stays(verbs: Verbs, key: RequestKey) -> None:
    first = await verbs.create(job_id="mine")
    with pytest.raises(AlreadyExists) as taken:
        await verbs.creator.create(replace(REQUEST, job_id="mine", display_name="B"), key, validate_only=False)
    assert (taken.value.reason, taken.value.field) == ("JOB_EXISTS", "training_job_id")
    assert await verbs.store.get(first.name) == first
    # A caller that cannot repeat its request has nothing frozen for a job that it does not get.
    assert len(verbs.datasets.pinned) == (1 if key is NO_KEY else 2)


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"base_model": ""}, InvalidArgument, "training_job.base_model"),
        ({"base_model": "baseModels/none"}, NotFound, "training_job.base_model"),
        ({"parameters": {"num_epochs": 0}}, InvalidArgument, "training_job.parameters.num_epochs"),
        ({"dataset": "dog"}, InvalidArgument, "training_job.dataset_version"),
        ({"dataset": "projects/other/datasets/dog"}, InvalidArgument, "training_job.dataset_version"),
        ({"dataset": "projects/acme/datasets/cat"}, NotFound, "training_job.dataset_version"),
    ],
)
async def test_a_wrong_request_names_its_field_and_leaves_nothing(
    verbs: Verbs, changes: dict[str, object], kind: type[DomainError], field: str
) -> None:
    with pytest.raises(kind) as refused:
        await verbs.create(job_id="mine", **changes)
    assert refused.value.field == field
    assert refused.value.remedy
    assert verbs.datasets.pinned == []
    with pytest.raises(NotFound):
        await verbs.store.get("projects/acme/trainingJobs/mine")
    # The id is free for the next try.
    assert (await verbs.create(job_id="mine")).job_id == "mine"


async def test_an_empty_dataset_is_refused(verbs: Verbs) -> None:
    verbs.datasets.set = replace(verbs.datasets.set, images=())
    with pytest.raises(FailedPrecondition) as refused:
        await verbs.create()
    assert (refused.value.reason, refused.value.field) == ("DATASET_EMPTY", "training_job.dataset_version")
