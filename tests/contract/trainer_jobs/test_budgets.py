"""How many jobs of a project wait and run, and the GPU seconds that it has used: the same on every store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from services.chassis.errors import ResourceExhausted
from services.chassis.outbox import Outbox, stable_id
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_tables import events, jobs
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.models import moves
from services.trainer.models.job import JobState
from services.trainer.models.queue import Starting, StartLimits
from services.trainer.ports import Admit, Deletions, History, JobStore
from tests.contract.trainer_jobs.steps import ASK, LEASE, NO_KEY, acquired, take
from tests.unit.trainer.jobs import NAME, NOW, make_job


def _named(number: int, project: str = "acme") -> str:
    return f"projects/{project}/trainingJobs/job-{number}"


def _at_most(most: int) -> Admit:
    def admit(waiting: int) -> None:
        if waiting >= most:
            raise ResourceExhausted(f"{waiting} wait", reason="BUDGET_USED_UP")

    return admit


def _starting(*, now: datetime = NOW, **limits: int) -> Starting:
    return Starting(lambda project: StartLimits(**limits), now - timedelta(hours=1), now)


async def test_of_jobs_created_at_once_only_as_many_are_admitted_as_may_wait(store: JobStore) -> None:
    async def made(number: int) -> bool:
        try:
            await store.create(moves.create(make_job(_named(number))), NO_KEY, _at_most(3))
        except ResourceExhausted:
            return False
        return True

    assert sum(await asyncio.gather(*map(made, range(8)))) == 3
    assert (await store.usage("acme", since=NOW, now=NOW)).waiting == 3
    await store.create(moves.create(make_job(_named(1, "other"))), NO_KEY, _at_most(1))


async def test_a_repeated_create_is_answered_where_no_more_may_wait(store: JobStore) -> None:
    key = RequestKey("acme", "CreateTrainingJob", "r-1", "d")
    await store.create(moves.create(make_job()), key, _at_most(1))
    assert (await store.create(moves.create(make_job(_named(2))), key, _at_most(1))).name == NAME


async def test_a_job_that_goes_back_to_the_queue_on_request_is_admitted_like_a_new_one(store: JobStore) -> None:
    for number in (1, 2):
        await store.create(moves.create(make_job(_named(number))), NO_KEY)
    await store.change(_named(1), lambda job: moves.pause(job, NOW))
    key = RequestKey("acme", "ResumeTrainingJob", "r-1", "d")
    with pytest.raises(ResourceExhausted):
        await store.change(_named(1), lambda job: moves.resume(job, NOW), key, _at_most(1))
    assert (await store.get(_named(1))).state is JobState.PAUSED
    await store.change(_named(1), lambda job: moves.resume(job, NOW), key, _at_most(2))
    assert (await store.change(_named(1), lambda job: moves.resume(job, NOW), key, _at_most(0))).name == _named(1)


async def test_a_project_with_as_many_jobs_at_work_as_it_may_have_waits(store: JobStore) -> None:
    for number in range(4):
        await store.create(moves.create(make_job(_named(number))), NO_KEY)
    asks = (store.acquire(replace(ASK, worker_id=f"w-{n}"), take, _starting(running_jobs=2)) for n in range(4))
    taken = [job for job in await asyncio.gather(*asks) if job is not None]
    assert len({job.name for job in taken}) == len(taken) == 2
    await store.create(moves.create(make_job(_named(1, "other"))), NO_KEY)
    next_one = await store.acquire(ASK, take, _starting(running_jobs=2))
    assert next_one is not None
    assert next_one.project == "other"
    assert (await store.usage("acme", since=NOW, now=NOW)).running == 2
    await store.change(taken[0].name, lambda job: moves.expire(job, NOW + 2 * LEASE, max_losses=9))
    back = await store.acquire(ASK, take, _starting(running_jobs=2))
    assert back is not None
    assert back.project == "acme"


async def test_gpu_seconds_are_those_of_attempts_within_the_window(
    store: JobStore, deletions: Deletions, history: History
) -> None:
    held = await acquired(store)
    minute, hour = timedelta(minutes=1), timedelta(hours=1)

    async def used(at: datetime) -> float:
        return (await store.usage("acme", since=at - hour, now=at)).gpu_seconds

    assert await used(NOW + minute) == 60
    await store.change(held.name, lambda job: moves.expire(job, NOW + 2 * minute, max_losses=1))
    assert await used(NOW + hour) == 120
    assert await used(NOW + hour + minute) == 60
    await deletions.job(held.name, lambda job, epochs: None)
    assert await used(NOW + hour + minute) == 60
    await store.create(moves.create(make_job(_named(2))), NO_KEY)
    late = _starting(now=NOW + hour + minute, gpu_seconds=60)
    assert await store.acquire(ASK, take, late) is None
    assert await store.acquire(ASK, take, _starting(now=NOW + hour + minute, gpu_seconds=61)) is not None
    assert await history.forget_usage(NOW + 2 * hour) == 1
    assert await used(NOW + hour + minute) == 3600


async def test_the_end_of_an_attempt_tells_its_gpu_seconds_once(database: Database) -> None:
    store = SqlJobStore(database, Outbox(events), Signals())
    await acquired(store)
    await store.change(NAME, lambda job: moves.expire(job, NOW + timedelta(minutes=2), max_losses=9))
    again = await store.acquire(ASK, take)
    assert again is not None
    async with database.connect() as conn:
        rows = (await conn.execute(select(events).where(events.c.type == "fiveshot.usage.gpu_seconds"))).all()
    (row,) = rows
    assert (row.subject, row.source) == ("fiveshot.events.v1.acme.usage.trainer.gpu_seconds", NAME)
    assert json.loads(row.payload) == {
        "project": "projects/acme",
        "gpu_seconds": 120.0,
        "training_job": NAME,
        "attempt": 1,
        "outcome": "LEASE_LOST",
        "base_model": "baseModels/tiny",
        "worker_id": "worker-1",
    }
    assert row.id == stable_id("gpu_seconds", NAME, f"attempts/1/{NOW.isoformat()}")
    assert all(event.sequence for event in await store.events(NAME, after=0, limit=99))


async def test_an_attempt_that_a_replica_of_the_release_before_ended_uses_nothing_for_ever(database: Database) -> None:
    store, history = SqlJobStore(database, Outbox(events), Signals()), SqlHistory(database, published_only=False)
    await acquired(store)
    async with database.begin() as conn:
        await conn.execute(update(jobs).values(lease_token=None, state="FAILED"))
    later = NOW + timedelta(hours=1)
    assert (await store.usage("acme", since=NOW, now=later)).gpu_seconds == 0
    assert await history.forget_usage(later) == 1
