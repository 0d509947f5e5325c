from __future__ import annotations

import asyncio

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.tagger.models.jobs import ImageOutcome, ImageState, JobState
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.tag_jobs import StartRequest
from services.tagger.use_cases.taggers import MEASURED_ONLY_NOTE
from tests.fakes.tagger_world import DATASET, ScriptedTagger
from tests.fixtures.patience import until, within
from tests.unit.tagger.conftest import World


async def test_a_new_job_waits_with_every_image_of_the_filter(world: World) -> None:
    world.datasets.add("cat-1", "cat-2", "dog-1")
    job = await world.start(filter="cat")
    assert job.state == JobState.QUEUED
    assert [outcome.image[-5:] for outcome in job.outcomes] == ["cat-1", "cat-2"]
    assert job.name.startswith("projects/acme/tagJobs/tag-")


async def test_the_same_request_id_gives_the_same_job_even_when_the_dataset_has_gone(world: World) -> None:
    world.datasets.add("a")
    first = await world.start(request_id="once")
    world.datasets.images.clear()
    assert (await world.start(request_id="once")).name == first.name
    with pytest.raises(InvalidArgument) as caught:
        await world.start(TagOptions(max_tags=3), request_id="once")
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_dataset_of_another_project_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await world.verbs.start(StartRequest("other", DATASET, TagOptions()))
    assert (caught.value.field, caught.value.reason) == ("dataset", "DATASET_ELSEWHERE")


async def test_unknown_datasets_and_empty_ones_are_told_apart(world: World) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await world.start()
    assert (caught.value.field, caught.value.reason) == ("dataset", "DATASET_EMPTY")
    world.datasets.add("a")
    with pytest.raises(FailedPrecondition) as caught:
        await world.start(filter="zebra")
    assert (caught.value.field, caught.value.reason) == ("filter", "NO_IMAGE_MATCHES")
    with pytest.raises(NotFound) as missing:
        await world.verbs.start(StartRequest("acme", "projects/acme/datasets/none", TagOptions()))
    assert missing.value.field == "dataset"


async def test_unknown_taggers_and_categories_name_what_there_is(world: World) -> None:
    world.datasets.add("a")
    with pytest.raises(NotFound) as caught:
        await world.start(TagOptions(tagger="taggers/wd"))
    assert caught.value.field == "options.tagger"
    assert "taggers/scripted" in caught.value.remedy
    with pytest.raises(InvalidArgument) as wrong:
        await world.start(TagOptions(category_thresholds=(("style", 0.5),)))
    assert wrong.value.field == "options.category_thresholds"
    assert "general" in wrong.value.remedy


async def test_a_job_that_can_only_measure_says_so(world: World) -> None:
    world.datasets.add("a")
    assert (await world.start()).note == ""
    world.tagger = ScriptedTagger(measures_only=True)
    note = (await world.start()).note
    assert note == MEASURED_ONLY_NOTE
    assert "fiveshot taggers add" in note


async def test_watch_tells_every_state_once_and_ends_with_the_job(world: World) -> None:
    (name,) = world.datasets.add("a")
    job = await world.start()
    seen: list[JobState] = []

    async def watch() -> None:
        async for state in world.verbs.watch(job.name):
            seen.append(state.state)

    watching = asyncio.create_task(watch())
    await until(lambda: seen == [JobState.QUEUED])
    await world.jobs.claim("me", now=world.now, until=world.now)
    world.changes.notify(job.name)
    await until(lambda: len(seen) == 2)
    await world.jobs.record(job.name, "me", ImageOutcome(name, ImageState.SKIPPED), now=world.now)
    await world.verbs.cancel(job.name)
    async with within():
        await watching
    assert seen == [JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED]


async def test_watch_of_a_job_that_ended_shows_it_and_ends(world: World) -> None:
    world.datasets.add("a")
    job = await world.start()
    await world.verbs.cancel(job.name)
    assert [state.state async for state in world.verbs.watch(job.name)] == [JobState.CANCELLED]
    with pytest.raises(NotFound):
        await anext(world.verbs.watch("projects/acme/tagJobs/none"))


async def test_what_has_ended_cannot_be_cancelled_and_what_goes_on_cannot_be_retried(world: World) -> None:
    world.datasets.add("a")
    job = await world.start()
    with pytest.raises(FailedPrecondition) as caught:
        await world.verbs.retry(job.name)
    assert caught.value.reason == "TAG_JOB_ACTIVE"
    await world.verbs.cancel(job.name)
    with pytest.raises(FailedPrecondition) as caught:
        await world.verbs.cancel(job.name)
    assert (caught.value.reason, caught.value.metadata) == ("TAG_JOB_ENDED", {"state": "CANCELLED"})
    with pytest.raises(FailedPrecondition) as caught:
        await world.verbs.retry(job.name)
    assert caught.value.reason == "NOTHING_TO_RETRY"
