"""Heartbeats: many that come at once are stored together, and each does what it would have done alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import update

from services.chassis.errors import Aborted, NotFound
from services.chassis.outbox import Outbox
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_tables import events, jobs
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.job import Directive, JobState, Progress, TrainingJob
from services.trainer.ports import JobStore, Move
from tests.contract.trainer_jobs.steps import LEASE, acquired, metrics_of
from tests.fixtures.patience import within
from tests.unit.trainer.jobs import NOW

NAMES = [f"projects/acme/trainingJobs/j{number}" for number in range(12)]


def beat(*steps: int, at: datetime = NOW, token: str = "", notices: Iterable[str] = ()) -> Move:
    """A heartbeat with the points of some steps."""

    def move(job: TrainingJob) -> Change:
        return worker_moves.heartbeat(
            job,
            token=token or f"t-{job.job_id}",
            progress=Progress(step=max(steps, default=0)),
            running=True,
            metrics=metrics_of(*steps),
            now=at,
            lease=LEASE,
            notices=tuple(notices),
        )

    return move


async def test_many_at_once_are_all_stored_with_their_events_and_points(store: JobStore) -> None:
    for name in NAMES:
        await acquired(store, name)
    # The first makes a job RUNNING, which is more than a plain one; the second says nothing that is new.
    for step in (1, 1, 2):
        later = NOW + timedelta(seconds=step)
        told = await asyncio.gather(*(store.heartbeat(name, beat(step, at=later)) for name in NAMES))
    for number, name in enumerate(NAMES):
        job, newest = await store.snapshot(name)
        assert job == told[number]
        assert (job.state, job.progress.step) == (JobState.RUNNING, 2)
        assert job.lease is not None
        assert job.lease.expires_at == later + LEASE
        found = await store.events(name, after=0, limit=100)
        assert [event.sequence for event in found] == list(range(1, newest + 1))
        assert [event.payload.count('"progress"') for event in found][-2:] == [1, 1]
        points = await store.metrics(name, ["loss"], since_step=0, stride=1, limit=10)
        assert [point.step for point in points] == [1, 2]
        assert await store.standing(name) == (JobState.RUNNING, newest)


async def test_all_who_look_at_once_see_what_is_new_to_each(store: JobStore) -> None:
    for name in NAMES[:4]:
        await acquired(store, name)
        for step in range(1, 5):
            await store.heartbeat(name, beat(step, at=NOW + timedelta(seconds=step)))
    whole = {name: await store.events(name, after=0, limit=100) for name in NAMES[:4]}
    assert [len(found) for found in whole.values()] == [7, 7, 7, 7]
    asked = [(name, after, limit) for name in NAMES[:4] for after in range(9) for limit in (1, 3, 100)] * 2
    found = await asyncio.gather(*(store.events(name, after=after, limit=limit) for name, after, limit in asked))
    for (name, after, limit), events_of in zip(asked, found, strict=True):
        assert list(events_of) == [event for event in whole[name] if event.sequence > after][:limit]


async def test_one_that_is_refused_leaves_nothing_behind_and_disturbs_no_other(store: JobStore) -> None:
    for name in NAMES[:3]:
        await acquired(store, name)
        await store.heartbeat(name, beat(1))
    before = await store.snapshot(NAMES[1])
    later = NOW + timedelta(seconds=1)
    good, stranger, unknown = await asyncio.gather(
        store.heartbeat(NAMES[0], beat(2, at=later)),
        store.heartbeat(NAMES[1], beat(2, at=later, token="t-of-before")),
        store.heartbeat("projects/acme/trainingJobs/none", beat(2, at=later)),
        return_exceptions=True,
    )
    assert isinstance(good, TrainingJob)
    assert good.progress.step == 2
    assert isinstance(stranger, Aborted)
    assert stranger.reason == "LEASE_LOST"
    assert isinstance(unknown, NotFound)
    assert await store.snapshot(NAMES[1]) == before


async def test_two_of_one_job_and_a_cancel_between_lose_nothing(store: JobStore) -> None:
    job = await acquired(store)
    await store.heartbeat(job.name, beat(1))
    later = [NOW + timedelta(seconds=second) for second in range(1, 5)]
    await asyncio.gather(
        store.heartbeat(job.name, beat(2, at=later[0])),
        store.heartbeat(job.name, beat(3, at=later[1], notices=["Went on in parts."])),
        store.change(job.name, lambda current: moves.cancel(current, later[2])),
        store.heartbeat(job.name, beat(4, at=later[3])),
    )
    after, newest = await store.snapshot(job.name)
    assert after.state is JobState.CANCELLING
    assert after.notices == ("Went on in parts.",)
    found = await store.events(job.name, after=0, limit=100)
    assert [event.sequence for event in found] == list(range(1, newest + 1))
    points = await store.metrics(job.name, ["loss"], since_step=0, stride=1, limit=10)
    # Whichever came last: points up to the last step that is stored are those of before.
    assert points[-1].step == 4
    again = await store.heartbeat(job.name, beat(5, at=NOW + timedelta(seconds=9)))
    assert worker_moves.directive_of(again) is Directive.CANCEL


async def test_a_job_whose_row_is_held_holds_up_no_other(postgres_url: str) -> None:
    await upgrade(postgres_url, MIGRATIONS)
    database = Database(postgres_url)
    store = SqlJobStore(database, Outbox(events), Signals())
    for name in NAMES[:2]:
        await acquired(store, name)
        await store.heartbeat(name, beat(1))
    later = NOW + timedelta(seconds=1)
    async with database.begin() as conn:
        await conn.execute(update(jobs).where(jobs.c.name == NAMES[0]).values(display_name="held"))
        held = asyncio.create_task(store.heartbeat(NAMES[0], beat(2, at=later)))
        async with within():
            assert (await store.heartbeat(NAMES[1], beat(2, at=later))).progress.step == 2
        assert not held.done()
    job = await held
    assert (job.display_name, job.progress.step) == ("held", 2)
    assert job == await store.get(NAMES[0])
    await database.dispose()
