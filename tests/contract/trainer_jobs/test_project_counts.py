"""The jobs of each project that wait and run, which the databases count by themselves; and whose turn it is by that."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta

from sqlalchemy import insert, select, text

from services.chassis.errors import DomainError
from services.chassis.outbox import Outbox
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_deletes import SqlDeletions
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_rows import job_to_row
from services.trainer.adapters.sql_tables import events, jobs, shares
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.job import Attempt, JobState, Lease, Outcome, TrainingJob
from services.trainer.ports import Move
from tests.contract.trainer_jobs.steps import ASK, LEASE, NO_KEY, take
from tests.unit.trainer.jobs import NOW, make_job

PROJECTS = ("acme", "bell", "crow")


def named(number: int) -> str:
    return f"projects/{PROJECTS[number % 3]}/trainingJobs/job-{number}"


async def kept(db: Database) -> dict[str, tuple[int, int]]:
    async with db.connect() as conn:
        rows = await conn.execute(select(shares.c.project, shares.c.waiting, shares.c.running))
        return {row.project: (row.waiting, row.running) for row in rows}


async def counted(db: Database) -> dict[str, tuple[int, int]]:
    waits, runs = Counter[str](), Counter[str]()
    async with db.connect() as conn:
        for row in await conn.execute(select(jobs.c.project, jobs.c.state, jobs.c.lease_token)):
            waits[row.project] += row.state == "QUEUED"
            runs[row.project] += row.lease_token is not None
        known = await conn.scalars(select(shares.c.project))
        return {project: (waits[project], runs[project]) for project in known}


async def test_the_numbers_are_right_after_whatever_happens_to_jobs(database: Database) -> None:
    outbox = Outbox(events)
    store, deletions = SqlJobStore(database, outbox, Signals()), SqlDeletions(database, outbox)
    chance = random.Random(5)
    now, seen = NOW, Counter[str]()

    def given_back(job: TrainingJob) -> Change:
        token = job.lease.token if job.lease else "none"
        return worker_moves.complete(job, token=token, outcome=Outcome.RELEASED, error=None, now=now, max_failures=3)

    def taken(job: TrainingJob) -> Change:
        return worker_moves.acquire(job, worker_id="worker-1", token=f"t-{now:%H%M%S}", now=now, lease=LEASE)

    verbs: dict[str, Move] = {
        "cancel": lambda job: moves.cancel(job, now),
        "pause": lambda job: moves.pause(job, now),
        "resume": lambda job: moves.resume(job, now),
        "retry": lambda job: moves.retry(job, now),
        "expire": lambda job: moves.expire(job, now, max_losses=2),
        "give back": given_back,
    }
    made = [named(number) for number in range(12)]
    for name in made:
        await store.create(moves.create(make_job(name)), NO_KEY)
    for step in range(300):
        now += timedelta(seconds=20)
        verb, name = chance.choice(["create", "acquire", "acquire", "delete", *verbs]), chance.choice(made)
        before = await counted(database)
        try:
            if verb == "create":
                await store.create(moves.create(make_job(name)), NO_KEY)
            elif verb == "acquire":
                await store.acquire(ASK, taken)
            elif verb == "delete":
                await deletions.job(name, lambda job, epochs: None)
            else:
                await store.change(name, verbs[verb])
        except DomainError:
            pass
        after = await counted(database)
        seen[verb] += before != after
        assert await kept(database) == after, (step, verb, name)
    # Each has changed a number at least once.
    assert min(seen[verb] for verb in ("create", "acquire", "delete", *verbs)) > 0, seen


async def test_jobs_that_begin_and_end_at_once_are_all_counted(database: Database) -> None:
    store = SqlJobStore(database, Outbox(events), Signals())
    await asyncio.gather(*(store.create(moves.create(make_job(named(number))), NO_KEY) for number in range(30)))
    assert await kept(database) == dict.fromkeys(PROJECTS, (10, 0))
    taken = await asyncio.gather(*(store.acquire(ASK, take) for _ in range(15)))
    assert len({job.name for job in taken if job}) == 15
    numbers = await kept(database)
    assert numbers == await counted(database)
    assert sum(running for _, running in numbers.values()) == 15
    await asyncio.gather(
        *(store.change(job.name, lambda one: moves.expire(one, NOW + 2 * LEASE, max_losses=9)) for job in taken if job),
        *(store.create(moves.create(make_job(named(number))), NO_KEY) for number in range(30, 36)),
    )
    assert await kept(database) == dict.fromkeys(PROJECTS, (12, 0))


async def test_an_upgrade_counts_the_jobs_that_there_are(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS, revision="0018")
    db = Database(database_url)
    held = Lease("t", "w", NOW + LEASE)
    running = {"state": JobState.RUNNING, "lease": held, "attempts": (Attempt(1, "w", "t", NOW),)}
    async with db.begin() as conn:
        for project in (*PROJECTS, "none"):
            await conn.execute(text("INSERT INTO project_shares (project) VALUES (:project)"), {"project": project})
        for number in range(20):
            how = {} if number < 12 else running if number < 18 else {"state": JobState.SUCCEEDED}
            await conn.execute(insert(jobs).values(job_to_row(make_job(named(number), **how))))
    await upgrade(database_url, MIGRATIONS)
    assert await kept(db) == {"acme": (4, 2), "bell": (4, 2), "crow": (4, 2), "none": (0, 0)}
    # And goes on from there.
    assert await SqlJobStore(db, Outbox(events), Signals()).acquire(ASK, take) is not None
    assert await kept(db) == await counted(db)
    await db.dispose()
