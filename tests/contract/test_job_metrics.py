"""What the trainer's metrics say of stored jobs: counters of each change, gauges of the queue as a whole."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update

from services.chassis.errors import Unavailable
from services.chassis.outbox import Outbox, Relay
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters import job_metrics
from services.trainer.adapters.job_metrics import QueueGauges
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_tables import events, jobs
from services.trainer.adapters.sql_workers import SqlWorkforce
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.job import JobError, Outcome, Progress, TrainedDataset, TrainingJob
from services.trainer.models.placement import WorkerKind
from services.trainer.ports import PresentWorker, WorkerAsk
from tests.unit.trainer.jobs import make_job

LEASE = timedelta(seconds=30)
ASK = WorkerAsk("worker-1", (), "", "cpu")


def value(name: str, **labels: str) -> float:
    """A sample, 0 while there is none."""
    found = REGISTRY.get_sample_value(f"fiveshot_trainer_{name}", labels)
    return 0.0 if found is None else found


def test_counters_of_the_catalogue_begin_at_nought() -> None:
    job_metrics.begin(["baseModels/never-trained"])
    for name, labels in (
        ("jobs_created_total", {}),
        ("epochs_total", {}),
        ("jobs_ended_total", {"state": "SUCCEEDED", "reason": ""}),
    ):
        told = REGISTRY.get_sample_value(f"fiveshot_trainer_{name}", {"base_model": "never-trained", **labels})
        assert told == 0.0, name


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    await upgrade(database_url, MIGRATIONS)
    database = Database(database_url)
    yield database
    await database.dispose()


def _gauges(db: Database) -> QueueGauges:
    relay = Relay(db, Outbox(events), None)
    return QueueGauges(db, SqlWorkforce(db), relay, ["tiny", "large"], memory=timedelta(minutes=5), pause_s=9)


async def _queue(store: SqlJobStore, number: int, *, waited_s: float, base_model: str = "tiny") -> None:
    since = utcnow() - timedelta(seconds=waited_s)
    job = make_job(f"projects/acme/trainingJobs/job-{number}", base_model=f"baseModels/{base_model}")
    job = replace(job, create_time=since, queued_at=since, state_time=since, update_time=since)
    await store.create(moves.create(job), RequestKey("acme", "CreateTrainingJob", "", ""))


def _take(job: TrainingJob) -> Change:
    return worker_moves.acquire(job, worker_id="worker-1", token="t", now=utcnow(), lease=LEASE)


async def test_the_queue_is_told_by_base_model_with_its_oldest_wait(db: Database) -> None:
    store, gauges = SqlJobStore(db, Outbox(events), Signals()), _gauges(db)
    for number, waited_s in enumerate((100.0, 50.0, 10.0)):
        await _queue(store, number, waited_s=waited_s)
    await gauges.look()
    assert (value("queue_depth", base_model="tiny"), value("queue_depth", base_model="large")) == (3, 0)
    assert value("queue_oldest_wait_seconds", base_model="tiny") == pytest.approx(100, abs=20)
    assert value("workers", state="busy") == 0

    assert await store.acquire(ASK, _take) is not None
    await gauges.look()
    assert (value("jobs", state="QUEUED"), value("jobs", state="PREPARING")) == (2, 1)
    assert (value("workers", state="busy"), value("workers", state="idle")) == (1, 0)
    assert value("queue_oldest_wait_seconds", base_model="tiny") == pytest.approx(50, abs=20)


async def test_jobs_that_no_worker_can_take_are_told(db: Database) -> None:
    store, gauges = SqlJobStore(db, Outbox(events), Signals()), _gauges(db)
    for number, needs in enumerate((40 << 30, 41 << 30, 8 << 30, 0)):
        job = make_job(f"projects/acme/trainingJobs/job-{number}", memory_bytes=needs, memory_low_bytes=needs)
        await store.create(moves.create(job), RequestKey("acme", "CreateTrainingJob", "", ""))
    await gauges.look()
    assert value("queue_unplaced", base_model="tiny") == 0
    await store.seen(WorkerAsk("worker-1", (), "", "NVIDIA L4", 24 << 30), utcnow())
    await gauges.look()
    assert (value("queue_unplaced", base_model="tiny"), value("queue_unplaced", base_model="large")) == (2, 0)
    await store.seen(WorkerAsk("worker-2", ("baseModels/other",), "", "NVIDIA H100", 80 << 30), utcnow())
    await store.seen(WorkerAsk("worker-1", (), "", "cpu", 80 << 30, mixed_precisions=("bf16",)), utcnow())
    await gauges.look()
    assert value("queue_unplaced", base_model="tiny") == 4


async def test_jobs_that_need_a_newer_worker_or_one_that_fetches_base_models_are_told(db: Database) -> None:
    store, gauges = SqlJobStore(db, Outbox(events), Signals()), _gauges(db)
    mixed = (TrainedDataset("projects/acme/datasets/a/versions/1", "a" * 64),)
    for name in ("mixed", "own", "plain"):
        job = make_job(f"projects/acme/trainingJobs/{name}", datasets=mixed if name == "mixed" else ())
        await store.create(moves.create(job), RequestKey("acme", "CreateTrainingJob", "", ""))
    async with db.begin() as conn:
        own = jobs.c.name.endswith("/own")
        await conn.execute(update(jobs).where(own).values(entry=jobs.c.base_model, base_model="projects/acme/x"))
    for told, unplaced in (({}, 2), ({"takes_own": True}, 1), ({"takes_own": True, "skill": 2}, 0)):
        await store.seen(WorkerAsk("worker-1", (), "", "cpu", **told), utcnow())
        await gauges.look()
        assert value("queue_unplaced", base_model="tiny") == unplaced


async def test_what_cannot_be_seen_is_not_told_as_nothing(db: Database) -> None:
    gauges = _gauges(db)
    await gauges.look()
    relay = Relay(db, Outbox(events), None)
    lost = QueueGauges(db, _NobodyAnswers(), relay, ["tiny"], memory=LEASE, pause_s=9)
    with pytest.raises(Unavailable):
        await lost.look()
    assert math.isnan(value("queue_depth", base_model="tiny"))
    assert math.isnan(value("workers", state="idle"))


class _NobodyAnswers:
    async def present(self, since: object) -> list[PresentWorker]:
        raise Unavailable("The database does not answer")

    async def kinds(self, since: object) -> list[WorkerKind]:
        raise Unavailable("The database does not answer")

    async def forget(self, before: object) -> int:
        raise Unavailable("The database does not answer")


async def test_jobs_are_counted_with_the_time_in_each_state_and_the_reason_of_their_end(db: Database) -> None:
    store = SqlJobStore(db, Outbox(events), Signals())
    waits, of_queued = value("job_state_seconds_sum", state="QUEUED"), value("job_state_seconds_count", state="QUEUED")
    failed = {"base_model": "tiny", "state": "FAILED"}
    before = {
        "created": value("jobs_created_total", base_model="tiny"),
        "known": value("jobs_ended_total", reason="OUT_OF_MEMORY", **failed),
        "odd": value("jobs_ended_total", reason="OTHER", **failed),
        "attempts": value("attempts_ended_total", outcome="FAILED"),
        "acquired": value("acquire_seconds_count", found="yes"),
        "in vain": value("acquire_seconds_count", found="no"),
        "told": value("progress_events_total"),
    }
    for number, reason in enumerate(("OUT_OF_MEMORY", "whatever /home/x says")):
        await _queue(store, number, waited_s=40)
        job = await store.acquire(ASK, _take)
        assert job is not None

        def beat(job: TrainingJob) -> Change:
            return worker_moves.heartbeat(
                job, token="t", progress=Progress(step=1), running=True, metrics=(), now=utcnow(), lease=LEASE
            )

        def fail(job: TrainingJob, reason: str = reason) -> Change:
            error = JobError(reason, "It failed.", "Try less.")
            return worker_moves.complete(
                job, token="t", outcome=Outcome.FAILED, error=error, now=utcnow(), max_failures=1
            )

        await store.change(job.name, beat)
        await store.change(job.name, fail)
        await store.change(job.name, fail)  # a report that is repeated changes nothing
    assert await store.acquire(ASK, _take) is None
    assert value("job_state_seconds_count", state="QUEUED") == of_queued + 2
    assert value("job_state_seconds_sum", state="QUEUED") - waits == pytest.approx(80, abs=40)
    assert value("jobs_created_total", base_model="tiny") == before["created"] + 2
    assert value("jobs_ended_total", reason="OUT_OF_MEMORY", **failed) == before["known"] + 1
    assert value("jobs_ended_total", reason="OTHER", **failed) == before["odd"] + 1
    assert value("attempts_ended_total", outcome="FAILED") == before["attempts"] + 2
    assert value("acquire_seconds_count", found="yes") == before["acquired"] + 2
    assert value("acquire_seconds_count", found="no") == before["in vain"] + 1
    assert value("progress_events_total") == before["told"] + 2
