"""Budgets of the queue in the verbs: what is refused, what waits, and what its owner is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import NotFound, ResourceExhausted
from services.chassis.listing.pages import ListRequest
from services.chassis.requests.keys import RequestKey
from services.trainer.models import moves
from services.trainer.models.job import JobState
from services.trainer.models.queue import StartLimits
from tests.unit.trainer.verbs import DATASET, NO_KEY, REQUEST, Verbs, order


@pytest.mark.parametrize(
    ("limits", "active", "seconds", "allowed"),
    [
        (StartLimits(), 99, 1e9, True),
        (StartLimits(running_jobs=2), 1, 1e9, True),
        (StartLimits(running_jobs=2), 2, 0, False),
        (StartLimits(gpu_seconds=60), 99, 59.9, True),
        (StartLimits(gpu_seconds=60), 0, 60, False),
        (StartLimits(running_jobs=2, gpu_seconds=60), 1, 61, False),
    ],
)
def test_a_job_may_begin_while_both_budgets_leave_room(
    limits: StartLimits, active: int, seconds: float, allowed: bool
) -> None:
    assert limits.allow(active=active, gpu_seconds=seconds) is allowed


async def test_a_job_too_many_is_refused_before_its_dataset_is_frozen() -> None:
    verbs = Verbs(waiting_jobs=1)
    key = RequestKey("acme", "CreateTrainingJob", "r-1", "digest")
    made = await verbs.creator.create(REQUEST, key, validate_only=False)
    assert verbs.datasets.pinned == [DATASET]
    for validate_only in (False, True):
        with pytest.raises(ResourceExhausted) as refused:
            await verbs.creator.create(replace(REQUEST, job_id="second"), NO_KEY, validate_only=validate_only)
        assert (refused.value.field, refused.value.metadata["budget"]) == ("parent", "waiting_jobs")
    assert verbs.datasets.pinned == [DATASET]
    with pytest.raises(NotFound):
        await verbs.store.get("projects/acme/trainingJobs/second")
    assert (await verbs.creator.create(REQUEST, key, validate_only=False)).job == made.job


async def test_a_job_that_would_go_back_to_a_full_queue_stays_where_it_is() -> None:
    verbs = Verbs(waiting_jobs=1)
    job = await verbs.create()
    await verbs.steering.cancel(order(job))
    await verbs.create()
    with pytest.raises(ResourceExhausted) as refused:
        await verbs.steering.retry(order(job))
    assert refused.value.field == "name"
    assert (await verbs.store.get(job.name)).state is JobState.CANCELLED


async def test_who_waits_for_a_budget_is_told_and_gets_no_end_that_nobody_knows() -> None:
    verbs = Verbs(running_jobs=1)
    await verbs.create()
    await verbs.take()
    view = await verbs.reading.view(await verbs.create())
    assert view.held_back == "The project's budget 'running_jobs' is used up: 1 of 1 running jobs are in use."
    assert (view.position, view.expected_end) == (1, None)
    listed, _, _ = await verbs.reading.list(ListRequest("projects/acme"))
    assert [(one.job.state, bool(one.held_back)) for one in listed] == [
        (JobState.QUEUED, True), (JobState.PREPARING, False),
    ]  # fmt: skip


async def test_gpu_seconds_hold_a_project_back_until_they_lie_behind_the_window() -> None:
    verbs = Verbs(gpu_seconds=60)
    job = await verbs.create()
    await verbs.take()
    verbs.now += timedelta(minutes=2)
    await verbs.steering.cancel(order(job))
    waiting = await verbs.create()
    assert "'gpu_seconds' is used up: 120 of 60 seconds" in (await verbs.reading.view(waiting)).held_back
    verbs.now += timedelta(days=1)
    await verbs.store.change(job.name, lambda held: moves.expire(held, verbs.now, max_losses=1))
    verbs.now += timedelta(days=1)
    assert (await verbs.reading.view(waiting)).held_back == ""
