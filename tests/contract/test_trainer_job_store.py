"""The trainer's job store in memory, on SQLite and on PostgreSQL: one suite, the same promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, Table, insert, select, update

from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.chassis.listing.pages import Query
from services.chassis.outbox import Outbox, stable_id
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters import sql_metrics
from services.trainer.adapters.sql_deletes import SqlDeletions
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_rows import job_to_row
from services.trainer.adapters.sql_tables import events, jobs, shares
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.epoch import Metric, Preview
from services.trainer.models.job import JobState, Outcome, Progress, TrainingJob
from services.trainer.models.queue import Starting, StartLimits
from services.trainer.ports import EPOCHS, JOBS, QUEUE, Admit, Deletions, History, JobStore, WorkerAsk
from tests.fakes.job_store import FakeDeletions, FakeJobStore
from tests.fixtures.lists import every_page, first_page
from tests.unit.trainer.jobs import NAME, NOW, make_epoch, make_job

LEASE = timedelta(seconds=30)
NO_KEY = RequestKey("acme", "CreateTrainingJob", "", "")
ASK = WorkerAsk("worker-1", (), "", "cpu")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    await upgrade(database_url, MIGRATIONS)
    db = Database(database_url)
    yield db
    await db.dispose()


@pytest.fixture
def signals() -> Signals:
    """Signals of this process."""
    return Signals()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def kept(request: pytest.FixtureRequest, signals: Signals) -> AsyncIterator[tuple[JobStore, History, Deletions]]:
    """An empty store, and what is kept in it of ended jobs."""
    if request.param == "memory":
        fake = FakeJobStore(signals)
        yield fake, fake, FakeDeletions(fake)
        return
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    yield SqlJobStore(db, Outbox(events), signals), SqlHistory(db, published_only=False), SqlDeletions(db)
    await db.dispose()


@pytest.fixture
def deletions(kept: tuple[JobStore, History, Deletions]) -> Deletions:
    return kept[2]


@pytest.fixture
def store(kept: tuple[JobStore, History, Deletions]) -> JobStore:
    return kept[0]


@pytest.fixture
def history(kept: tuple[JobStore, History, Deletions]) -> History:
    return kept[1]


def _take(job: TrainingJob) -> Change:
    return worker_moves.acquire(job, worker_id="worker-1", token=f"t-{job.job_id}", now=NOW, lease=LEASE)


async def _held(store: JobStore, name: str = NAME) -> TrainingJob:
    await store.create(moves.create(make_job(name)), NO_KEY)
    held = await store.acquire(ASK, _take)
    assert held is not None
    return held


def _points(*steps: int) -> tuple[Metric, ...]:
    return tuple(Metric(step, 1, key, step / 10, NOW) for step in steps for key in ("loss", "learning_rate"))


async def _report(store: JobStore, job: TrainingJob, points: tuple[Metric, ...]) -> None:
    def move(current: TrainingJob) -> Change:
        assert current.lease is not None
        return worker_moves.heartbeat(
            current,
            token=current.lease.token,
            progress=Progress(step=points[-1].step if points else 0),
            running=True,
            metrics=points,
            now=NOW,
            lease=LEASE,
        )

    await store.change(job.name, move)


async def test_a_database_of_the_first_revision_is_upgraded_with_its_jobs(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS, revision="0001")
    db = Database(database_url)
    row = job_to_row(make_job())
    del row["last_event"], row["last_metric_step"], row["labels"], row["state_time"]
    async with db.begin() as conn:
        # The table as the first revision had it.
        old = Table(jobs.name, MetaData(), *(Column(name, jobs.c[name].type) for name in row))
        await conn.execute(insert(old).values(row))
        await conn.execute(insert(shares).values(project="acme", served_at=None))
        outbox = Outbox(events)
        for number in (1, 2):
            await outbox.append(
                conn, aggregate=NAME, type="t", subject="s", source=NAME, payload="{}", sequence=number
            )
        assert await sql_metrics.add_metrics(conn, NAME, _points(1, 2, 3), stored=0) == 3
    await upgrade(database_url, MIGRATIONS)
    store = SqlJobStore(db, Outbox(events), Signals())
    assert await store.snapshot(NAME) == (make_job(), 2)
    held = await store.acquire(ASK, lambda job: replace(_take(job), forget_metrics_after=None))
    assert held is not None
    await _report(store, held, _points(3, 4))
    assert [event.sequence for event in await store.events(NAME, after=0, limit=9)] == [1, 2, 3, 4, 5]
    points = await store.metrics(NAME, ["loss"], since_step=0, stride=1, limit=9)
    assert [point.step for point in points] == [1, 2, 3, 4]
    await db.dispose()


async def test_a_job_comes_back_as_it_was_stored(store: JobStore) -> None:
    job = replace(
        make_job(),
        base_previews=(Preview("preview-1", "a dog", 7, 64, 64, "b" * 64),),
        recommendation_reason="Fits best — “so far”.",
    )
    await store.create(moves.create(job), NO_KEY)
    assert await store.get(NAME) == job
    held = await store.acquire(ASK, _take)
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
    job = await _held(store)
    await _report(store, job, _points(1, 2, 3))
    await _report(store, job, _points(3, 4))
    await _report(store, job, _points(5, 6, 7, 8, 9, 10, 11, 12))

    async def steps(key: str = "loss", since: int = 0, stride: int = 1, limit: int = 100) -> list[int]:
        found = await store.metrics(NAME, [key], since_step=since, stride=stride, limit=limit)
        assert all(point.value == point.step / 10 and point.create_time == NOW for point in found)
        return [point.step for point in found]

    assert await steps() == list(range(1, 13))
    assert await steps(since=4, stride=3) == [6, 9, 12]
    assert await steps(key="learning_rate", since=10, limit=1) == [11]
    await store.change(NAME, lambda current: replace(Change(current), forget_metrics_after=10))
    assert await steps() == list(range(1, 11))
    await _report(store, job, _points(11))
    assert (await steps())[-1] == 11


async def test_epochs_are_read_in_order_and_by_number(store: JobStore) -> None:
    job = await _held(store)
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
    await _held(store)
    assert list(await store.expired(NOW + LEASE - timedelta(microseconds=1), 10)) == []
    assert list(await store.expired(NOW + LEASE, 10)) == [NAME]


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
        taken = await store.acquire(ask, lambda job: replace(_take(job), forget_metrics_after=None))
        assert taken is not None
        order.append(taken.job_id)
    # Turns a b a b a; the priority outweighs the warm model, which outweighs age up to a minute.
    assert order == ["a-first", "b-old", "a-warm", "b-late", "a-old"]
    assert await store.acquire(ask, _take) is None


async def test_a_worker_takes_only_what_it_can_load_and_is_remembered(store: JobStore) -> None:
    await store.create(moves.create(make_job()), NO_KEY)
    picky = replace(ASK, worker_id="picky", base_models=("baseModels/other",))
    await store.seen(picky, NOW)
    await store.seen(picky, NOW + timedelta(seconds=1))
    assert await store.acquire(picky, _take) is None
    assert await store.loadable(NOW) == {"baseModels/other"}
    assert await store.loadable(NOW + timedelta(seconds=2)) == set()
    await store.seen(ASK, NOW)
    assert await store.loadable(NOW) is None
    assert await store.acquire(ASK, _take) is not None
    # Busy for long, yet there: it holds a job.
    assert await store.loadable(NOW + timedelta(hours=1)) is None


async def test_an_ended_job_loses_the_events_of_its_progress_and_keeps_all_others_with_their_numbers(
    store: JobStore, history: History
) -> None:
    async def numbers() -> list[int]:
        return [event.sequence for event in await store.events(NAME, after=0, limit=99)]

    job = await _held(store)
    await _report(store, job, _points(1))
    running = await numbers()
    assert await history.thin(NOW) == 0
    end = NOW + timedelta(seconds=1)
    await store.change(NAME, lambda job: moves.expire(job, NOW + LEASE, max_losses=1))
    assert await history.thin(end) == 0
    assert await numbers() == [*running, running[-1] + 1]
    # Created, taken, training began, progress, failed.
    assert await history.thin(NOW + LEASE) == 1
    assert await numbers() == [1, 2, 3, 5]
    assert await history.thin(NOW + LEASE) == 0
    # It goes on behind the gap, and is thinned out again at its next end.
    await store.change(NAME, lambda job: moves.retry(job, NOW + LEASE))
    again = await store.acquire(ASK, lambda job: replace(_take(job), forget_metrics_after=None))
    assert again is not None
    later = NOW + timedelta(seconds=60)
    await store.change(
        NAME,
        lambda job: worker_moves.heartbeat(
            job, token="t-job-1", progress=Progress(step=1), running=False, metrics=(), now=later, lease=LEASE
        ),
    )
    assert await numbers() == [1, 2, 3, 5, 6, 7, 8]
    await store.change(NAME, lambda job: moves.expire(job, later + LEASE, max_losses=1))
    assert await history.thin(later + LEASE) == 1
    assert await numbers() == [1, 2, 3, 5, 6, 7, 9]


async def test_what_the_bus_has_still_to_get_is_not_thinned_out(database: Database, signals: Signals) -> None:
    store = SqlJobStore(database, Outbox(events), signals)
    job = await _held(store)
    await _report(store, job, _points(1))
    await store.change(NAME, lambda job: moves.expire(job, NOW + LEASE, max_losses=1))
    assert await SqlHistory(database, published_only=True).thin(NOW + LEASE) == 1
    assert [event.sequence for event in await store.events(NAME, after=0, limit=99)] == [1, 2, 3, 4, 5]


async def test_old_request_ids_are_forgotten(store: JobStore, history: History) -> None:
    key = RequestKey("acme", "CreateTrainingJob", "r-1", "digest")
    await store.create(moves.create(make_job()), key)
    assert await history.forget_requests(datetime.now(UTC) - timedelta(minutes=1)) == 0
    assert await store.recall(key) is not None
    assert await history.forget_requests(datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert await store.recall(key) is None


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


async def test_a_change_wakes_those_who_wait_for_it(store: JobStore, signals: Signals) -> None:
    queue = signals.next(QUEUE)
    await store.create(moves.create(make_job()), NO_KEY)
    assert queue.is_set()
    job, other = signals.next(NAME), signals.next("projects/acme/trainingJobs/other")
    await store.change(NAME, lambda current: moves.cancel(current, datetime.now(UTC)))
    assert job.is_set()
    assert not other.is_set()


async def test_a_completed_job_keeps_its_measured_pace(store: JobStore) -> None:
    job = await _held(store)
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


async def test_a_delete_takes_all_of_a_job_and_a_check_that_refuses_leaves_it(
    store: JobStore, deletions: Deletions
) -> None:
    held = await _held(store)
    await _report(store, held, _points(1, 2))
    for number in (0, 1, 2):
        epoch = make_epoch(number)
        await store.change(NAME, lambda job, epoch=epoch: Change(job, epoch=epoch))  # type: ignore[misc]
    counted: list[int] = []

    def refuse(job: TrainingJob, epochs: int) -> None:
        counted.append(epochs)
        raise FailedPrecondition("pinned", reason="JOB_STATE")

    with pytest.raises(FailedPrecondition):
        await deletions.job(NAME, refuse)
    assert (counted, await store.count_epochs(NAME)) == ([2], 2)
    assert (await deletions.epoch(NAME, 1, lambda job, epoch: None)).number == 1
    assert (await store.count_epochs(NAME), [epoch.number for epoch in await store.epochs(NAME)]) == (1, [0, 2])
    assert (await deletions.job(NAME, lambda job, epochs: None)).name == NAME
    for ask in (
        store.get(NAME),
        store.epoch(NAME, 2),
        deletions.job(NAME, lambda job, epochs: None),
        deletions.epoch(NAME, 2, lambda job, epoch: None),
    ):
        with pytest.raises(NotFound):
            await ask
    # The name is free, and nothing of the old job comes back.
    await store.create(moves.create(make_job()), NO_KEY)
    assert [event.sequence for event in await store.events(NAME, after=0, limit=9)] == [1]
    assert await store.metrics(NAME, ["loss"], since_step=0, stride=1, limit=9) == []


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
    asks = (store.acquire(replace(ASK, worker_id=f"w-{n}"), _take, _starting(running_jobs=2)) for n in range(4))
    taken = [job for job in await asyncio.gather(*asks) if job is not None]
    assert len({job.name for job in taken}) == len(taken) == 2
    await store.create(moves.create(make_job(_named(1, "other"))), NO_KEY)
    next_one = await store.acquire(ASK, _take, _starting(running_jobs=2))
    assert next_one is not None
    assert next_one.project == "other"
    assert (await store.usage("acme", since=NOW, now=NOW)).running == 2
    await store.change(taken[0].name, lambda job: moves.expire(job, NOW + 2 * LEASE, max_losses=9))
    back = await store.acquire(ASK, _take, _starting(running_jobs=2))
    assert back is not None
    assert back.project == "acme"


async def test_gpu_seconds_are_those_of_attempts_within_the_window(
    store: JobStore, deletions: Deletions, history: History
) -> None:
    held = await _held(store)
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
    assert await store.acquire(ASK, _take, late) is None
    assert await store.acquire(ASK, _take, _starting(now=NOW + hour + minute, gpu_seconds=61)) is not None
    assert await history.forget_usage(NOW + 2 * hour) == 1
    assert await used(NOW + hour + minute) == 3600


async def test_the_end_of_an_attempt_tells_its_gpu_seconds_once(database: Database) -> None:
    store = SqlJobStore(database, Outbox(events), Signals())
    await _held(store)
    await store.change(NAME, lambda job: moves.expire(job, NOW + timedelta(minutes=2), max_losses=9))
    again = await store.acquire(ASK, _take)
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
    await _held(store)
    async with database.begin() as conn:
        await conn.execute(update(jobs).values(lease_token=None, state="FAILED"))
    later = NOW + timedelta(hours=1)
    assert (await store.usage("acme", since=NOW, now=later)).gpu_seconds == 0
    assert await history.forget_usage(later) == 1
