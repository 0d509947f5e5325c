"""Budgets of the queue, over gRPC, with callers and workers that come at once to two replicas of one database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2
from sqlalchemy import select

from services.chassis.errors import ResourceExhausted
from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import events
from tests.fixtures.patience import until
from tests.fixtures.trainer import StartTrainer, Trainer

Attempt = training_job_pb2.Attempt
Job = training_job_pb2.TrainingJob
_Service = training_service_pb2


@pytest.fixture
def budgets_file(tmp_path: Path) -> Path:
    file = tmp_path / "budgets.toml"
    file.write_text("", encoding="utf-8")
    return file


def allow(budgets_file: Path, project: str, **limits: int) -> None:
    """As the operator does it: a new file in place of the old."""
    partial = budgets_file.with_suffix(".partial")
    lines = (f"{name} = {limit}\n" for name, limit in limits.items())
    partial.write_text(f"[projects.{project}]\n{''.join(lines)}", encoding="utf-8")
    partial.replace(budgets_file)


@pytest.fixture
async def replicas(
    start_trainer: StartTrainer, database_url: str, budgets_file: Path
) -> AsyncIterator[tuple[Trainer, Trainer]]:
    """Two on one PostgreSQL, or the same one twice on SQLite."""
    async with start_trainer(database_url, budgets_file=budgets_file) as one:
        if database_url.startswith("sqlite"):
            yield one, one
            return
        async with start_trainer(database_url, budgets_file=budgets_file) as two:
            yield one, two


async def used(trainer: Trainer, project: str) -> dict[str, tuple[int, int]]:
    answer = await trainer.stub.GetUsage(_Service.GetUsageRequest(name=f"projects/{project}/trainingUsage"))
    assert [budget.window.seconds for budget in answer.budgets] == [0, 0, 0, 86_400, 0]
    return {budget.budget: (budget.used, budget.limit) for budget in answer.budgets}


async def test_of_jobs_made_at_once_exactly_as_many_are_queued_as_may_wait(
    replicas: tuple[Trainer, Trainer], project: str, budgets_file: Path
) -> None:
    allow(budgets_file, project, waiting_jobs=3)
    calls = (replicas[number % 2].create(project, request_id=f"r-{number}") for number in range(8))
    found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in found if isinstance(one, ResourceExhausted)]
    made = [one for one in found if not isinstance(one, BaseException)]
    assert (len(made), len(refused)) == (3, 5), found
    error = refused[0]
    assert (error.reason, error.field, error.metadata["budget"]) == ("BUDGET_USED_UP", "parent", "waiting_jobs")
    assert error.quotas[0].subject == f"projects/{project}"
    assert (await used(replicas[1], project))["waiting_jobs"] == (3, 3)
    listed = await replicas[0].stub.ListTrainingJobs(_Service.ListTrainingJobsRequest(parent=f"projects/{project}"))
    assert listed.total_size == 3
    # What was made is answered again; a retry of what ended needs a place like a new job.
    for number, answer in enumerate(found):
        if not isinstance(answer, BaseException):
            assert (await replicas[1].create(project, request_id=f"r-{number}")).name == answer.name
    await replicas[0].stub.CancelTrainingJob(_Service.CancelTrainingJobRequest(name=made[0].name))
    await replicas[0].create(project)
    with pytest.raises(ResourceExhausted):
        await replicas[0].stub.RetryTrainingJob(_Service.RetryTrainingJobRequest(name=made[0].name))
    assert (await replicas[0].get(made[0].name)).state == Job.STATE_CANCELLED


async def test_a_project_at_its_limit_of_running_jobs_waits_and_goes_on_when_one_ends(
    replicas: tuple[Trainer, Trainer], project: str, budgets_file: Path
) -> None:
    allow(budgets_file, project, running_jobs=2)
    for _ in range(5):
        await replicas[0].create(project)
    workers = [replicas[number % 2].worker(f"w-{number}") for number in range(5)]
    held = [one for one in await asyncio.gather(*(worker.acquire() for worker in workers)) if one is not None]
    assert len({one.job.name for one in held}) == len(held) == 2
    usage = await used(replicas[0], project)
    assert (usage["waiting_jobs"], usage["running_jobs"]) == ((3, 10_000), (2, 2))
    # A worker that waits for a job is woken by the end of one of this project.
    waiting = asyncio.ensure_future(workers[4].acquire(wait_s=20))
    holder = replicas[0].worker((await replicas[0].get(held[0].job.name)).attempts[-1].worker_id)
    await holder.heartbeat(held[0], step=1)
    await holder.complete(held[0], Attempt.OUTCOME_FAILED, reason="DONE_HERE")
    next_one = await waiting
    assert next_one is not None
    assert next_one.job.name not in {one.job.name for one in held}


async def test_a_project_that_used_its_gpu_seconds_waits_and_others_do_not(
    replicas: tuple[Trainer, Trainer], project: str, budgets_file: Path, database_url: str
) -> None:
    await replicas[0].create(project)
    await replicas[0].create(project)
    worker = replicas[0].worker()
    held = await worker.acquire()
    assert held is not None
    await worker.heartbeat(held, step=1)
    await worker.complete(held, Attempt.OUTCOME_FAILED, reason="DONE_HERE")
    db = Database(database_url)
    async with db.connect() as conn:
        told = (await conn.execute(select(events).where(events.c.type == "fiveshot.usage.gpu_seconds"))).one()
    await db.dispose()
    data = json.loads(told.payload)
    assert (data["project"], data["training_job"], data["outcome"]) == (f"projects/{project}", held.job.name, "FAILED")
    assert data["gpu_seconds"] >= 0
    second = await worker.acquire()
    assert second is not None
    # At work already: it goes on, whatever the limit says by now.
    await replicas[0].create(project)
    allow(budgets_file, project, gpu_seconds=1)

    async def over() -> bool:
        return (await used(replicas[0], project))["gpu_seconds"][0] >= 1

    await until(over)
    assert await worker.heartbeat(second, step=1) == 1
    assert await replicas[1].worker("other").acquire() is None
    allow(budgets_file, project, gpu_seconds=3600)
    assert await replicas[1].worker("other").acquire() is not None


async def test_jobs_are_listed_by_their_labels(replicas: tuple[Trainer, Trainer], project: str) -> None:
    made = await replicas[0].create(project, labels={"team": "pets"})
    await replicas[0].create(project)
    for text in ('labels.team = "pets"', "labels:team", "-labels:none AND labels.team:p*"):
        request = _Service.ListTrainingJobsRequest(parent=f"projects/{project}", filter=text)
        assert [job.name for job in (await replicas[1].stub.ListTrainingJobs(request)).training_jobs] == [made.name]
