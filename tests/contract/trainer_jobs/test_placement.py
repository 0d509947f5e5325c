"""Which waiting job a worker gets by what it can do: the same in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, text

from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters import sql_placement
from services.trainer.adapters.sql_rows import job_to_row
from services.trainer.adapters.sql_tables import jobs
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves
from services.trainer.models.job import EarlierLora, TrainedDataset
from services.trainer.models.placement import ROOM_HEAD_START, Fleet, Room, WorkerKind
from services.trainer.ports import JobStore, WorkerAsk
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.recipe.skills import SKILL
from tests.contract.trainer_jobs.steps import NO_KEY, take
from tests.unit.trainer.jobs import NOW, make_job

GIB = 1 << 30
TINY = "baseModels/tiny"


async def put(
    store: JobStore, name: str, *, needs: float = 0, low: float | None = None, after_s: float = 0, **changes: Any
) -> None:
    """Queues a job that needs so many GiB."""
    job = make_job(
        f"projects/acme/trainingJobs/{name}",
        memory_bytes=int(needs * GIB),
        memory_low_bytes=int((needs if low is None else low) * GIB),
        queued_at=NOW + timedelta(seconds=after_s),
        **changes,
    )
    await store.create(moves.create(job), NO_KEY)


def ask(room: Room, **changes: Any) -> WorkerAsk:
    return replace(WorkerAsk("w", (TINY,), "", "NVIDIA L4", 24 * GIB, room=room), **changes)


async def taken(store: JobStore, asked: WorkerAsk) -> str:
    """Id of the job that the worker gets; "" for none."""
    found = await store.acquire(asked, take)
    return found.job_id if found else ""


async def test_a_job_that_goes_on_from_another_waits_for_a_program_that_can(store: JobStore) -> None:
    lora = EarlierLora("projects/acme/models/rex/versions/2", "diffusers", "e" * 64)
    await put(store, "on", initial_lora=lora)
    preserving = resolve(DEFAULT_SPECS, {"preservation_weight": 1.0})
    await put(store, "preserves", after_s=1, parameters=preserving)
    await put(store, "plain", after_s=2)
    assert (await store.get("projects/acme/trainingJobs/on")).initial_lora == lora
    older = ask(Room())
    assert [await taken(store, older) for _ in range(2)] == ["plain", ""]
    of_today = ask(Room(), skill=SKILL)
    assert [await taken(store, of_today) for _ in range(3)] == ["on", "preserves", ""]
    await put(store, "mixes", datasets=(TrainedDataset("projects/acme/datasets/a/versions/1", "a" * 64),))
    assert [await taken(store, ask(Room(), skill=skill)) for skill in (0, 1, 2)] == ["", "", "mixes"]


async def test_a_worker_passes_over_what_is_too_large_for_it(store: JobStore) -> None:
    await put(store, "huge", needs=40)
    await put(store, "fits", needs=20, after_s=1)
    await put(store, "unknown", after_s=2)
    small = ask(Room(22 * GIB, ()))
    assert [await taken(store, small) for _ in range(3)] == ["fits", "unknown", ""]
    assert await taken(store, ask(Room(75 * GIB))) == "huge"


async def test_the_middle_of_an_estimate_counts_unless_nobody_has_more(store: JobStore) -> None:
    await put(store, "close", needs=24, low=21)
    assert await taken(store, ask(Room(22 * GIB, ()))) == ""
    assert await taken(store, ask(Room(22 * GIB, ("baseModels/other",)))) == ""
    assert await taken(store, ask(Room(20 * GIB, None))) == ""
    assert await taken(store, ask(Room(22 * GIB, (TINY,)))) == "close"


async def test_a_worker_that_does_not_tell_its_memory_takes_any_job(store: JobStore) -> None:
    await put(store, "huge", needs=400)
    assert await taken(store, ask(Room())) == "huge"


async def test_a_worker_gets_only_jobs_in_number_formats_of_its_device(store: JobStore) -> None:
    await put(store, "brain", parameters=resolve(DEFAULT_SPECS, {"mixed_precision": "bf16"}))
    old = ask(Room(), mixed_precisions=("no", "fp16"))
    assert await taken(store, old) == ""
    assert await taken(store, ask(Room(), mixed_precisions=("no", "bf16"))) == "brain"


async def test_a_large_worker_prefers_what_only_it_can_take_but_not_for_ever(store: JobStore) -> None:
    large = ask(Room(75 * GIB, None, 22 * GIB))
    await put(store, "small", needs=8)
    await put(store, "late", needs=40, after_s=ROOM_HEAD_START.total_seconds() + 1)
    await put(store, "big", needs=40, after_s=60)
    assert [await taken(store, large) for _ in range(3)] == ["big", "small", "late"]


async def test_priority_goes_before_room(store: JobStore) -> None:
    await put(store, "big", needs=40)
    await put(store, "urgent", needs=8, after_s=1, priority=5)
    assert await taken(store, ask(Room(75 * GIB, None, 22 * GIB))) == "urgent"


async def test_warmth_counts_among_jobs_that_need_the_room(store: JobStore) -> None:
    await put(store, "small", needs=8, base_model="baseModels/warm")
    await put(store, "big", needs=40, after_s=1)
    await put(store, "big-and-warm", needs=40, after_s=2, base_model="baseModels/warm")
    large = ask(Room(75 * GIB, None, 22 * GIB), base_models=(), warm_base_model="baseModels/warm")
    assert [await taken(store, large) for _ in range(3)] == ["big-and-warm", "big", "small"]


async def test_jobs_that_are_too_large_cost_a_worker_nothing(postgres_url: str) -> None:
    await upgrade(postgres_url, MIGRATIONS)
    db = Database(postgres_url)
    rows = [
        {**job_to_row(make_job(f"projects/acme/trainingJobs/job-{number}", memory_bytes=needs, memory_low_bytes=needs))}
        for number, needs in enumerate([40 * GIB] * 3000 + [8 * GIB])
    ]
    asked = ask(Room(22 * GIB, ()))
    statement = sql_placement.first(sql_placement.form_of(asked, postgres=True))
    values = {"of_project": "acme", **sql_placement.values_of(asked)}
    async with db.begin() as conn:
        await conn.execute(insert(jobs), rows)
        await conn.exec_driver_sql("ANALYZE training_jobs")
        sql = str(statement.params(**values).compile(conn.engine, compile_kwargs={"literal_binds": True}))
        plan = "\n".join(row[0] for row in await conn.execute(text("EXPLAIN ANALYZE " + sql)))
    await db.dispose()
    assert "ix_jobs_queue_memory" in plan
    read = [float(found) for found in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
    assert sum(read) < 100


async def test_many_workers_at_once_all_get_a_job(store: JobStore) -> None:
    for number in range(40):
        await put(store, f"job-{number}", needs=8, after_s=number)
    asked = ask(Room(22 * GIB, ()))
    found = await asyncio.gather(*(taken(store, replace(asked, worker_id=f"w-{number}")) for number in range(40)))
    assert sorted(found) == sorted(f"job-{number}" for number in range(40))


def test_a_fleet_says_what_each_of_its_workers_may_take() -> None:
    small, large = (
        WorkerKind("NVIDIA L4", 24 * GIB, (TINY, "baseModels/x")),
        WorkerKind("NVIDIA H100", 80 * GIB, (TINY,)),
    )
    fleet = Fleet((small, large))
    assert fleet.room(small) == Room(int(24 * GIB * 0.94), ("baseModels/x",), 0)
    assert fleet.room(large) == Room(int(80 * GIB * 0.94), None, small.usable)
