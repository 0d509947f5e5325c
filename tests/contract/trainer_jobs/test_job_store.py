"""The trainer's job store: one suite, the same promises in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, MetaData, Table, insert

from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.chassis.outbox import Outbox, new_event
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters import sql_metrics
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_rows import job_to_row
from services.trainer.adapters.sql_tables import events, jobs, shares
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.epoch import Preview
from services.trainer.models.job import JobState, Outcome, TrainedDataset, TrainingJob
from services.trainer.ports import EPOCHS, QUEUE, JobStore
from services.trainer.recipe.skills import SKILL
from tests.contract.trainer_jobs.steps import ASK, LEASE, NO_KEY, acquired, metrics_of, report, take
from tests.fixtures.lists import every_page
from tests.unit.trainer.jobs import NAME, NOW, make_epoch, make_job


async def test_a_database_of_the_first_revision_is_upgraded_with_its_jobs(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS, revision="0001")
    db = Database(database_url)
    row = job_to_row(make_job())
    later = ("last_event", "last_metric_step", "labels", "state_time", "notices", "traceparent", "initial_lora")
    needs = ("memory_bytes", "memory_low_bytes", "memory_class", "mixed_precision", "entry", "needs_skill", "datasets")
    row = {name: value for name, value in row.items() if name not in (*later, *needs)}
    async with db.begin() as conn:
        # The table as the first revision had it.
        old = Table(jobs.name, MetaData(), *(Column(name, jobs.c[name].type) for name in row))
        await conn.execute(insert(old).values(row))
        await conn.execute(insert(shares).values(project="acme", served_at=None))
        for number in (1, 2):
            told = new_event(aggregate=NAME, type="t", subject="s", source=NAME, payload="{}", sequence=number)
            columns = {name: value for name, value in vars(told).items() if name != "traceparent"}
            log = Table(events.name, MetaData(), *(Column(name, events.c[name].type) for name in columns))
            await conn.execute(insert(log).values(columns))
        assert await sql_metrics.add_metrics(conn, NAME, metrics_of(1, 2, 3), stored=0) == 3
    await upgrade(database_url, MIGRATIONS)
    store = SqlJobStore(db, Outbox(events), Signals())
    assert await store.snapshot(NAME) == (make_job(), 2)
    held = await store.acquire(ASK, lambda job: replace(take(job), forget_metrics_after=None))
    assert held is not None
    await report(store, held, metrics_of(3, 4))
    assert [event.sequence for event in await store.events(NAME, after=0, limit=9)] == [1, 2, 3, 4, 5]
    points = await store.metrics(NAME, ["loss"], since_step=0, stride=1, limit=9)
    assert [point.step for point in points] == [1, 2, 3, 4]
    await db.dispose()


async def test_a_job_comes_back_as_it_was_stored(store: JobStore) -> None:
    job = replace(
        make_job(),
        base_previews=(Preview("preview-1", "a dog", 7, 64, 64, "b" * 64),),
        recommendation_reason="Fits best — “so far”.",
        notices=("First.", "Then — “so”."),
        datasets=(
            TrainedDataset("projects/p/datasets/a/versions/1", "a" * 64, 2.5, False, 5, "sks", "dog"),
            TrainedDataset("projects/p/datasets/b/versions/3", "b" * 64, 0.0, True, 9),
        ),
    )
    await store.create(moves.create(job), NO_KEY)
    assert await store.get(NAME) == job
    held = await store.acquire(replace(ASK, skill=SKILL), take)
    assert held == await store.get(NAME)
    assert held is not None
    assert held.attempts[0].start_time == NOW
    with pytest.raises(NotFound) as missing:
        await store.get(NAME + "x")
    assert missing.value.field == "name"


async def test_a_refused_move_leaves_nothing_behind(store: JobStore) -> None:
    await store.create(moves.create(make_job()), NO_KEY)
    before = await store.snapshot(NAME)

    def broken(job: TrainingJob) -> Change:
        raise FailedPrecondition(f"no move for {job.name}")

    with pytest.raises(FailedPrecondition):
        await store.change(NAME, broken)

    def half(job: TrainingJob) -> Change:
        # An epoch that cannot be stored: the state and the event before it must go with it.
        return replace(moves.cancel(job, NOW), epoch=make_epoch(1, job=NAME + "-absent"))

    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await store.change(NAME, half)
    assert await store.snapshot(NAME) == before


async def test_events_are_numbered_without_gaps_when_many_move_one_job_at_once(store: JobStore) -> None:
    await store.create(moves.create(make_job()), NO_KEY)

    async def toggle() -> None:
        for move in (moves.pause, moves.resume):
            try:
                await store.change(NAME, lambda job, move=move: move(job, NOW))  # type: ignore[misc]
            except FailedPrecondition:
                continue

    await asyncio.gather(*(toggle() for _ in range(12)))
    found = await store.events(NAME, after=0, limit=500)
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    assert (await store.snapshot(NAME))[1] == len(found)
    assert [event.sequence for event in await store.events(NAME, after=2, limit=1)] == [3]


async def test_a_repeated_request_makes_one_job_also_when_both_come_at_once(store: JobStore) -> None:
    key = RequestKey("acme", "CreateTrainingJob", "r-1", "digest")
    made = await asyncio.gather(
        *(store.create(moves.create(make_job(f"projects/acme/trainingJobs/j{n}")), key) for n in range(4))
    )
    assert len({job.name for job in made}) == 1
    assert await store.recall(key) == made[0]
    with pytest.raises(InvalidArgument) as reused:
        await store.recall(replace(key, digest="other"))
    assert reused.value.reason == "REQUEST_ID_REUSED"
    assert await store.recall(replace(key, request_id="r-2")) is None
    with pytest.raises(AlreadyExists):
        await store.create(moves.create(made[0]), RequestKey("acme", "CreateTrainingJob", "r-3", "x"))


async def test_points_are_kept_once_and_forgotten_from_where_the_job_starts_anew(store: JobStore) -> None:
    job = await acquired(store)
    await report(store, job, metrics_of(1, 2, 3))
    await report(store, job, metrics_of(3, 4))
    await report(store, job, metrics_of(5, 6, 7, 8, 9, 10, 11, 12))

    async def steps(key: str = "loss", since: int = 0, stride: int = 1, limit: int = 100) -> list[int]:
        found = await store.metrics(NAME, [key], since_step=since, stride=stride, limit=limit)
        assert all(point.value == point.step / 10 and point.create_time == NOW for point in found)
        return [point.step for point in found]

    assert await steps() == list(range(1, 13))
    assert await steps(since=4, stride=3) == [6, 9, 12]
    assert await steps(key="learning_rate", since=10, limit=1) == [11]
    await store.change(NAME, lambda current: replace(Change(current), forget_metrics_after=10))
    assert await steps() == list(range(1, 11))
    await report(store, job, metrics_of(11))
    assert (await steps())[-1] == 11


async def test_epochs_are_read_in_order_and_by_number(store: JobStore) -> None:
    job = await acquired(store)
    for number in (0, 1, 2, 3):
        epoch = make_epoch(number)
        await store.change(NAME, lambda current, epoch=epoch: Change(current, epoch=epoch))  # type: ignore[misc]
    assert await store.epoch(NAME, 2) == make_epoch(2)
    assert [epoch.number for epoch in await store.epochs(NAME)] == [0, 1, 2, 3]
    for order, numbers in (("", [1, 2, 3]), ("step desc", [3, 2, 1])):
        paged = await every_page(EPOCHS, lambda query: store.epochs(NAME, query), order_by=order)
        assert [epoch.number for epoch in paged] == numbers
    with pytest.raises(NotFound) as missing:
        await store.epoch(job.name, 4)
    assert missing.value.reason == "EPOCH_NOT_FOUND"


async def test_expired_leases_are_found(store: JobStore) -> None:
    await acquired(store)
    assert list(await store.expired(NOW + LEASE - timedelta(microseconds=1), 10)) == []
    assert list(await store.expired(NOW + LEASE, 10)) == [NAME]


async def test_a_worker_takes_only_what_it_can_load_and_is_remembered(store: JobStore) -> None:
    await store.create(moves.create(make_job()), NO_KEY)
    picky = replace(ASK, worker_id="picky", base_models=("baseModels/other",))
    await store.seen(picky, NOW)
    await store.seen(picky, NOW + timedelta(seconds=1))
    assert await store.acquire(picky, take) is None
    assert await store.loadable(NOW) == {"baseModels/other"}
    assert await store.loadable(NOW + timedelta(seconds=2)) == set()
    await store.seen(ASK, NOW)
    assert await store.loadable(NOW) is None
    assert await store.acquire(ASK, take) is not None
    # Busy for long, yet there: it holds a job.
    assert await store.loadable(NOW + timedelta(hours=1)) is None


async def test_the_pace_is_the_median_of_finished_jobs(store: JobStore) -> None:
    assert await store.pace("baseModels/tiny") == 0.0
    for number, pace in enumerate((0.1, 0.2, 9.0)):
        job = make_job(
            f"projects/acme/trainingJobs/j{number}",
            state=JobState.SUCCEEDED,
            end_time=NOW,
            seconds_per_sample=pace,
        )
        await store.create(moves.create(job), NO_KEY)
    assert await store.pace("baseModels/tiny") == 0.2
    assert await store.pace("baseModels/other") == 0.0


async def test_a_change_wakes_those_who_wait_for_it(store: JobStore, signals: Signals) -> None:
    queue = signals.next(QUEUE)
    await store.create(moves.create(make_job()), NO_KEY)
    assert queue.is_set()
    job, other = signals.next(NAME), signals.next("projects/acme/trainingJobs/other")
    await store.change(NAME, lambda current: moves.cancel(current, datetime.now(UTC)))
    assert job.is_set()
    assert not other.is_set()


async def test_a_completed_job_keeps_its_measured_pace(store: JobStore) -> None:
    job = await acquired(store)
    done = NOW + timedelta(seconds=60)
    for number in (1, 2, 3):
        epoch = make_epoch(number)
        await store.change(
            NAME,
            lambda current, epoch=epoch: worker_moves.report_epoch(  # type: ignore[misc]
                current,
                epoch,
                token=f"t-{job.job_id}",
                recommended_epoch=epoch.number,
                recommendation_reason="",
                now=NOW,
                lease=LEASE,
            ),
        )
    ended = await store.change(
        NAME,
        lambda current: worker_moves.complete(
            current, token=f"t-{job.job_id}", outcome=Outcome.SUCCEEDED, error=None, now=done, max_failures=3
        ),
    )
    # Three epochs of ten steps of four samples in a minute.
    assert ended.seconds_per_sample == pytest.approx(0.5)
    assert await store.pace("baseModels/tiny") == pytest.approx(0.5)
