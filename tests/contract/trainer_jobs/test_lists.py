"""Pages, filters and the order of the queue, the same on every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.listing.pages import Query
from services.trainer.models import moves
from services.trainer.models.job import TrainingJob
from services.trainer.ports import JOBS, JobStore
from tests.contract.trainer_jobs.steps import ASK, NO_KEY, take
from tests.fixtures.lists import every_page, first_page
from tests.unit.trainer.jobs import NOW, make_job


async def test_the_order_of_the_queue(store: JobStore) -> None:
    def job(name: str, project: str, **changes: Any) -> TrainingJob:
        return make_job(f"projects/{project}/trainingJobs/{name}", **changes)

    for number, waiting in enumerate(
        (
            job("a-old", "a"),
            job("a-warm", "a", base_model="baseModels/warm"),
            job("a-first", "a", priority=1),
            job("b-old", "b"),
            job("b-late", "b", base_model="baseModels/warm"),
        )
    ):
        late = 90 if waiting.job_id == "b-late" else number
        await store.create(moves.create(replace(waiting, queued_at=NOW + timedelta(seconds=late))), NO_KEY)
    a_old = await store.get("projects/a/trainingJobs/a-old")
    assert await store.position_in_project(a_old) == 2
    load = await store.load()
    assert [(queue.project, queue.waiting, queue.active) for queue in load.projects] == [("a", 3, 0), ("b", 2, 0)]
    warm = replace(ASK, warm_base_model="baseModels/warm")
    order = []
    for ask in (warm, warm, warm, warm, warm):
        taken = await store.acquire(ask, lambda job: replace(take(job), forget_metrics_after=None))
        assert taken is not None
        order.append(taken.job_id)
    # Turns a b a b a; the priority outweighs the warm model, which outweighs age up to a minute.
    assert order == ["a-first", "b-old", "a-warm", "b-late", "a-old"]
    assert await store.acquire(ask, take) is None


async def test_pages_do_not_repeat_or_skip_when_values_are_equal(store: JobStore) -> None:
    for number in range(7):
        await store.create(moves.create(make_job(f"projects/acme/trainingJobs/j{number}")), NO_KEY)

    async def read(query: Query) -> Sequence[TrainingJob]:
        found, total = await store.list("acme", query)
        assert total == 7
        return found

    paged = await every_page(JOBS, read, page_size=3)
    assert [job.job_id for job in paged] == [f"j{number}" for number in range(6, -1, -1)]
    for order_by in ("create_time, priority desc", "priority desc, create_time"):
        paged = await every_page(JOBS, read, page_size=3, order_by=order_by)
        assert sorted(job.job_id for job in paged) == [f"j{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f'create_time > "{NOW.isoformat()}"', 0),
        ('display_name:"A J" AND state = "QUEUED"', 1),
        ('display_name:"%"', 0),
        ("state = STATE_QUEUED", 1),
        ("state != QUEUED", 0),
        ("state = (QUEUED OR FAILED)", 1),
        ("NOT state = QUEUED", 0),
        ("base_model = tiny", 1),
        ('base_model = "baseModels/tiny"', 1),
        ('base_model = "t*y"', 1),
        ('base_model = "T*Y"', 0),
        ('base_model != "*tiny"', 0),
        ('base_model:"TIN"', 1),
        ("display_name = a*b*", 0),
        ("labels:team", 1),
        ('labels.team = "pets"', 1),
        ("labels.team != pets OR labels:other", 0),
        ("priority < 1e300 AND priority > -1e300", 1),
        ('start_time > "2000-01-01"', 0),
        ('NOT start_time > "2000-01-01"', 1),
        ('create_time > "0001-01-01T00:00:00Z" OR priority = 99', 1),
    ],
)
async def test_jobs_are_filtered(store: JobStore, text: str, count: int) -> None:
    await store.create(moves.create(make_job(labels={"team": "pets"})), NO_KEY)
    found, total = await store.list("acme", first_page(JOBS, filter=text))
    assert (len(found), total) == (count, count)
