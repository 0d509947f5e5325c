"""What is kept of ended jobs, thinned out and deleted, the same on every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_tables import events
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.job import Progress, TrainingJob
from services.trainer.ports import Deletions, History, JobStore
from tests.contract.trainer_jobs.steps import ASK, LEASE, NO_KEY, acquired, metrics_of, report, take
from tests.unit.trainer.jobs import NAME, NOW, make_epoch, make_job


async def test_an_ended_job_loses_the_events_of_its_progress_and_keeps_all_others_with_their_numbers(
    store: JobStore, history: History
) -> None:
    async def numbers() -> list[int]:
        return [event.sequence for event in await store.events(NAME, after=0, limit=99)]

    job = await acquired(store)
    await report(store, job, metrics_of(1))
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
    again = await store.acquire(ASK, lambda job: replace(take(job), forget_metrics_after=None))
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
    job = await acquired(store)
    await report(store, job, metrics_of(1))
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


async def test_a_delete_takes_all_of_a_job_and_a_check_that_refuses_leaves_it(
    store: JobStore, deletions: Deletions
) -> None:
    held = await acquired(store)
    await report(store, held, metrics_of(1, 2))
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
