"""What callers read of jobs: places in the queue, expected ends, points, epochs and files."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import NotFound
from services.chassis.listing.pages import ListRequest
from services.trainer.models.change import Change
from services.trainer.models.epoch import Metric
from services.trainer.models.job import JobState
from services.trainer.ports import WorkerAsk
from services.trainer.use_cases.placing import WORKER_MEMORY
from tests.unit.trainer.jobs import NOW
from tests.unit.trainer.verbs import BASE_MODEL, MODEL, NO_KEY, Verbs

PROJECT = ListRequest("projects/acme")


@pytest.fixture
def verbs() -> Verbs:
    return Verbs()


async def test_waiting_jobs_have_places_and_an_end_once_a_pace_is_known(verbs: Verbs) -> None:
    assert (await verbs.reading.get((await verbs.create()).name)).expected_end is None
    await verbs.take()
    for number in (1, 2):
        await verbs.finish_epoch("projects/acme/trainingJobs/job-1", number)
    verbs.now += timedelta(seconds=40)
    done = await verbs.end("projects/acme/trainingJobs/job-1")
    # Ten steps of four samples in 40 seconds.
    assert done.seconds_per_sample == pytest.approx(1.0)
    first, second = await verbs.create(), await verbs.create()
    view = await verbs.reading.get(first.name)
    assert (view.position_in_project, view.position) == (1, 1)
    assert view.expected_end == verbs.now + timedelta(seconds=40)
    view = await verbs.reading.get(second.name)
    assert (view.position_in_project, view.position) == (2, 2)
    assert view.expected_end == verbs.now + timedelta(seconds=80)


async def test_places_count_the_turns_of_other_projects(verbs: Verbs) -> None:
    first, second = await verbs.create(), await verbs.create()
    job = await verbs.store.get(first.name)
    other = replace(job, name="projects/other/trainingJobs/o", project="other")
    await verbs.store.create(Change(other), replace(NO_KEY, project="other"))
    views = [await verbs.reading.get(name) for name in (first.name, other.name, second.name)]
    assert [view.position for view in views] == [1, 2, 3]
    assert [view.position_in_project for view in views] == [1, 1, 2]


async def test_a_job_at_work_ends_when_its_worker_says_and_an_ended_one_has_no_place(verbs: Verbs) -> None:
    job = await verbs.create()
    await verbs.take()
    assert (await verbs.reading.get(job.name)).expected_end is None
    await verbs.train(job.name, step=3, eta_s=12.0)
    view = await verbs.reading.get(job.name)
    assert (view.position, view.expected_end) == (0, NOW + timedelta(seconds=12))
    done = await Verbs().finished()
    assert done.state is JobState.SUCCEEDED
    assert (await verbs.reading.view(done)).expected_end is None


async def test_pages_of_a_project_hold_its_own_jobs_alone(verbs: Verbs) -> None:
    jobs = [await verbs.create() for _ in range(3)]
    await verbs.take()
    views, token, total = await verbs.reading.list(replace(PROJECT, page_size=2))
    assert [view.job.name for view in views] == [jobs[2].name, jobs[1].name]
    assert [view.position for view in views] == [2, 1]
    assert total == 3
    views, token, total = await verbs.reading.list(replace(PROJECT, page_size=2, page_token=token))
    assert ([view.job.name for view in views], token, total) == ([jobs[0].name], "", 3)
    assert (await verbs.reading.list(replace(PROJECT, filter="state = QUEUED")))[2] == 2
    assert await verbs.reading.list(ListRequest("projects/other")) == ([], "", 0)


async def test_base_models_are_available_while_a_worker_that_can_load_them_is_there(verbs: Verbs) -> None:
    assert not (await verbs.reading.base_model(BASE_MODEL)).available
    await verbs.store.seen(WorkerAsk("w", ("baseModels/other",), "", "cpu"), verbs.now)
    assert not (await verbs.reading.base_model(BASE_MODEL)).available
    await verbs.store.seen(WorkerAsk("w", (BASE_MODEL,), "", "cpu"), verbs.now)
    assert [(one.model.id, one.available) for one in await verbs.reading.base_models()] == [(MODEL.id, True)]
    verbs.now += WORKER_MEMORY + timedelta(seconds=1)
    assert not (await verbs.reading.base_model(BASE_MODEL)).available
    with pytest.raises(NotFound) as missing:
        await verbs.reading.base_model("baseModels/none")
    assert (missing.value.field, missing.value.reason) == ("name", "BASE_MODEL_NOT_FOUND")


async def test_points_are_read_in_parts_that_follow_each_other(verbs: Verbs) -> None:
    job = await verbs.create()
    points = tuple(Metric(step, 1, "loss", step / 10, NOW) for step in range(1, 8))
    await verbs.store.change(job.name, lambda current: Change(current, metrics=points))
    seen: list[int] = []
    parts = 0
    since = 0
    while True:
        found, since = await verbs.reading.metrics(job.name, ["loss"], since_step=since, stride=1, page_size=3)
        seen += [point.step for point in found]
        parts += 1
        if not since:
            break
    assert (seen, parts) == ([1, 2, 3, 4, 5, 6, 7], 3)
    thinned = await verbs.reading.metrics(job.name, [], since_step=0, stride=3, page_size=0)
    assert thinned == ([points[2], points[5]], 0)
    with pytest.raises(NotFound):
        await verbs.reading.metrics("projects/acme/trainingJobs/none", ["loss"], since_step=0, stride=1, page_size=3)


async def test_epochs_are_read_in_order_and_a_missing_file_names_those_there_are(verbs: Verbs) -> None:
    job = await verbs.finished()
    asked = ListRequest(job.name, page_size=1)
    found, token, total, of = await verbs.reading.epochs(asked)
    assert ([epoch.number for epoch in found], bool(token), total, of) == ([1], True, 2, job)
    found, token, _, _ = await verbs.reading.epochs(replace(asked, page_token=token))
    assert ([epoch.number for epoch in found], token) == ([2], "")
    epoch, of = await verbs.reading.epoch(job.name, 2)
    assert (epoch.number, of) == (2, job)
    file, chunks = await verbs.reading.file(job.name, 2, "kohya")
    assert b"".join([chunk async for chunk in chunks]) == file.object_key.encode()
    some = verbs.reading.part(job.name, file, range(2, 7))
    assert b"".join([chunk async for chunk in some]) == file.object_key.encode()[2:7]
    with pytest.raises(NotFound) as missing:
        await verbs.reading.file(job.name, 2, "preview-9")
    assert (missing.value.field, missing.value.reason) == ("file_id", "FILE_NOT_FOUND")
    assert "kohya" in missing.value.remedy
    with pytest.raises(NotFound) as gone:
        await verbs.reading.epoch(job.name, 3)
    assert gone.value.reason == "EPOCH_NOT_FOUND"
    with pytest.raises(NotFound) as unknown:
        await verbs.reading.epochs(ListRequest(f"{job.name}x"))
    assert unknown.value.reason == "JOB_NOT_FOUND"


async def test_progress_is_told_at_most_twice_a_second_and_read_at_once(verbs: Verbs) -> None:
    job = await verbs.create()
    await verbs.take()
    told = []
    for step in range(1, 5):
        await verbs.train(job.name, step=step)
        assert (await verbs.reading.get(job.name)).job.progress.step == step
        told.append(len(await verbs.store.events(job.name, after=0, limit=99)))
        verbs.now += timedelta(milliseconds=300)
    # Created, taken, training began; progress at 0 and at 600 ms.
    assert told == [4, 4, 5, 5]
