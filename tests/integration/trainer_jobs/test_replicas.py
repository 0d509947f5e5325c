"""Several replicas and many workers on one PostgreSQL: every job is taken once, and projects get their turns."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2
from sqlalchemy import select

from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import workers
from services.trainer.use_cases import watching, working
from tests.fakes.dataset_server import FakeDatasetServer
from tests.fixtures.patience import scaled, until, within
from tests.fixtures.trainer import StartTrainer, Trainer

Job = training_job_pb2.TrainingJob
Attempt = training_job_pb2.Attempt
_Service = training_service_pb2

# `make test-long` takes 1,000.
JOBS = int(os.environ.get("QUEUE_JOBS", "200"))
WORKERS = 16
LONGEST_WAIT_S = 60.0
"""That the API lets a worker ask for; a slow machine may not ask for more."""


async def test_sixteen_workers_on_two_replicas_take_each_of_many_jobs_once(
    start_trainer: StartTrainer, postgres_url: str, project: str
) -> None:
    taken: Counter[str] = Counter()

    async def work(trainer: Trainer, worker_id: str) -> None:
        worker = trainer.worker(worker_id)
        while (held := await worker.acquire()) is not None:
            taken[held.job.name] += 1
            await worker.heartbeat(held, step=1)
            await worker.complete(held, Attempt.OUTCOME_FAILED, reason="DONE_HERE")

    async with start_trainer(postgres_url) as one, start_trainer(postgres_url) as two:
        parameters = training_job_pb2.TrainingParameters(num_epochs=1)
        created: list[str] = []

        async def create(count: int) -> None:
            for _ in range(count):
                created.append((await one.create(project, parameters=parameters)).name)

        await asyncio.gather(*(create(JOBS // 10) for _ in range(10)))
        await asyncio.gather(*(work((one, two)[n % 2], f"worker-{n}") for n in range(WORKERS)))
        assert taken == Counter(created)
        listed = await two.stub.ListTrainingJobs(
            _Service.ListTrainingJobsRequest(parent=f"projects/{project}", page_size=1000)
        )
    assert [len(job.attempts) for job in listed.training_jobs] == [1] * JOBS
    assert {job.state for job in listed.training_jobs} == {Job.STATE_FAILED}
    assert len({job.attempts[0].worker_id for job in listed.training_jobs}) > WORKERS // 2


async def test_a_watch_on_one_replica_follows_what_happens_on_another(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as one, start_trainer(database_url) as two:
        job = await one.create(project)
        call = aiter(two.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=job.name)))
        assert (await anext(call)).job.state == Job.STATE_QUEUED
        held = await one.worker().acquire()
        assert held is not None
        async with within(30):
            assert (await anext(call)).event.state == Job.STATE_PREPARING


async def test_replicas_tell_each_other_so_that_nobody_has_to_look(
    start_trainer: StartTrainer,
    postgres_url: str,
    nats_url: str,
    project: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (working, watching):
        monkeypatch.setattr(module, "LOOK_AGAIN_S", 600)
        monkeypatch.setattr(module, "SHARED_LOOK_AGAIN_S", 600)
    async with (
        start_trainer(postgres_url, nats_url=nats_url) as one,
        start_trainer(postgres_url, nats_url=nats_url) as two,
    ):
        job = await one.create(project)
        call = aiter(two.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=job.name)))
        assert (await anext(call)).job.state == Job.STATE_QUEUED
        heard = asyncio.ensure_future(anext(call))

        async def told_anew() -> bool:
            await one.stub.PauseTrainingJob(_Service.PauseTrainingJobRequest(name=job.name))
            await one.stub.ResumeTrainingJob(_Service.ResumeTrainingJobRequest(name=job.name))
            return heard.done()

        # Both connect in their own time; what is told before is told to nobody.
        await until(told_anew, what="the other replica to hear")
        first = await one.worker("worker-1").acquire()
        assert first is not None
        waiting = asyncio.create_task(two.worker("worker-2").acquire(wait_s=LONGEST_WAIT_S))
        await _seen(postgres_url, "worker-2")
        other = await one.create(project)
        async with within(30):
            held = await waiting
        assert held is not None
        assert held.job.name == other.name


async def test_a_waiting_worker_gets_the_job_that_comes(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as one, start_trainer(database_url) as two:
        waiting = [asyncio.create_task(side.worker(side.target).acquire(wait_s=LONGEST_WAIT_S)) for side in (one, two)]
        await _seen(database_url, one.target, two.target)
        names = {(await one.create(project)).name for _ in range(2)}
        async with within(30):
            held = await asyncio.gather(*waiting)
        assert {item.job.name for item in held if item is not None} == names


async def _seen(database_url: str, *worker_ids: str) -> None:
    """Waits until workers have looked in vain: from then on they wait."""
    db = Database(database_url)

    async def all_seen() -> bool:
        async with db.connect() as conn:
            return set(worker_ids) <= set(await conn.scalars(select(workers.c.worker_id)))

    try:
        await until(all_seen, what="workers to wait")
    finally:
        await db.dispose()


async def test_projects_take_turns_then_priority_then_age(
    start_trainer: StartTrainer, database_url: str, project: str, dataset_service: FakeDatasetServer
) -> None:
    other = f"{project}-b"
    dataset_service.sets[f"projects/{other}/datasets/dog"] = dataset_service.sets[f"projects/{project}/datasets/dog"]
    async with start_trainer(database_url) as trainer:
        a = [(await trainer.create(project, display_name=f"a{n}")).name for n in range(3)]
        urgent = (await trainer.create(project, priority=5)).name
        b = [(await trainer.create(other, display_name=f"b{n}")).name for n in range(2)]
        expected = [urgent, b[0], a[0], b[1], a[1], a[2]]
        positions = {name: (await trainer.get(name)).queue_position for name in expected}
        order = []
        for number in range(6):
            held = await trainer.worker(f"worker-{number}").acquire()
            assert held is not None
            order.append(held.job.name)
    assert order == expected
    assert positions == {name: number for number, name in enumerate(expected, 1)}


async def test_a_worker_prefers_the_base_model_that_it_holds_and_takes_only_what_it_can_load(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        old = await trainer.create(project)
        warm = await trainer.create(project, base_model="baseModels/other")
        first = await trainer.worker().acquire(warm="baseModels/other")
        assert first is not None
        assert first.job.name == warm.name
        assert await trainer.worker("worker-2").acquire(models=["baseModels/other"]) is None
        second = await trainer.worker("worker-2").acquire(models=["baseModels/tiny", "baseModels/other"])
        assert second is not None
        assert second.job.name == old.name

        models = await trainer.stub.ListBaseModels(_Service.ListBaseModelsRequest())
        assert {model.name: model.available for model in models.base_models} == {
            "baseModels/tiny": True,
            "baseModels/other": True,
        }


async def test_a_silent_worker_loses_its_job_and_the_budget_is_not_spent(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url, lease_seconds=scaled(0.5), max_losses=3) as trainer:
        job = await trainer.create(project)
        for _ in range(2):
            held = await trainer.worker().acquire(wait_s=LONGEST_WAIT_S)
            assert held is not None
        held = await trainer.worker().acquire(wait_s=LONGEST_WAIT_S)
        assert held is not None
        await trainer.worker().work(held)
        done = await trainer.get(job.name)
        assert done.state == Job.STATE_SUCCEEDED
        assert [attempt.outcome for attempt in done.attempts] == [
            Attempt.OUTCOME_LEASE_LOST,
            Attempt.OUTCOME_LEASE_LOST,
            Attempt.OUTCOME_SUCCEEDED,
        ]

        deadly = await trainer.create(project)
        for _ in range(3):
            assert await trainer.worker().acquire(wait_s=LONGEST_WAIT_S) is not None
        watch = trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=deadly.name))
        async with within(30):
            async for _ in watch:
                pass
        assert (await trainer.get(deadly.name)).error.reason == "WORKER_LOST_REPEATEDLY"
