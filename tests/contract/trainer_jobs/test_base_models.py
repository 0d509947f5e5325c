"""Base models of projects: the same in memory, on SQLite and on PostgreSQL; and what jobs on them need of a worker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from services.chassis.errors import AlreadyExists, NotFound, ResourceExhausted
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_base_models import SqlBaseModelStore
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_tables import events
from services.trainer.app import MIGRATIONS
from services.trainer.models import moves
from services.trainer.models import own_base_model as model_moves
from services.trainer.models.job import JobError, Outcome
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState, Part, Users
from services.trainer.ports import JobStore, WorkerAsk
from services.trainer.ports.base_models import BASE_MODELS, BaseModelStore
from tests.contract.trainer_jobs.steps import LEASE, take
from tests.fakes.base_model_store import FakeBaseModelStore
from tests.fixtures.lists import every_page
from tests.unit.trainer.jobs import NOW, make_job

TINY = "baseModels/tiny"
NAME = "projects/acme/baseModels/house"
NO_KEY = RequestKey("acme", "CreateBaseModel", "", "")
ASK = WorkerAsk("worker-1", (TINY,), "", "cpu", takes_own=True)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, signals: Signals) -> AsyncIterator[BaseModelStore]:
    if request.param == "memory":
        yield FakeBaseModelStore()
        return
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    yield SqlBaseModelStore(db, Outbox(events), signals)
    await db.dispose()


def made(name: str = NAME, *, size: int = 10, at: datetime = NOW, **changes: Any) -> OwnBaseModel:
    """A base model of ten bytes whose file is still to come."""
    fields: dict[str, Any] = {
        "display_name": "House", "description": "", "license": "MIT", "file_name": "house.safetensors",
        "size_bytes": size, "sha256": "a" * 64, "header_bytes": 4, "header_sha256": "b" * 64, "precision": "fp16",
        "families": ("stable-diffusion",), "create_time": at, "update_time": at, **changes,
    }  # fmt: skip
    return OwnBaseModel(name=name, project=name.split("/")[1], **fields)


def part(number: int, size: int) -> Part:
    return Part(f"trainer/{NAME}/attempts/1/{number}", size, "c" * 64)


async def came(store: BaseModelStore, name: str = NAME, **fields: Any) -> OwnBaseModel:
    """One whose file has come, in two parts."""
    model = await store.create(made(name, **fields), NO_KEY)
    for offset, size in ((0, 4), (4, model.size_bytes - 4)):

        def move(found: OwnBaseModel, offset: int = offset, size: int = size) -> OwnBaseModel:
            return model_moves.with_part(found, part(offset, size), offset=offset, now=NOW)

        model = await store.change(name, move)
    return model


def taking(token: str = "t", at: datetime = NOW) -> Any:
    return lambda model: model_moves.acquire(model, worker_id="w", token=token, now=at, lease=LEASE, pretends=False)


def ending(token: str, outcome: Outcome = Outcome.SUCCEEDED, error: JobError | None = None) -> Any:
    found: dict[str, Any] = {"based_on": TINY, "family": "stable-diffusion", "token": token, "now": NOW}
    return lambda model: model_moves.complete(model, outcome, error, **found)


async def test_a_base_model_lives_from_its_announcement_to_its_deletion(store: BaseModelStore) -> None:
    model = await came(store, labels={"team": "art"})
    assert (model.state, model.uploaded_bytes) == (OwnBaseModelState.CHECKING, 10)
    assert await store.acquire(ASK, {"baseModels/other": "sdxl"}, taking()) is None
    taken = await store.acquire(ASK, {TINY: "stable-diffusion"}, taking())
    assert taken is not None
    assert await store.acquire(ASK, {TINY: "stable-diffusion"}, taking("u")) is None
    ready = await store.change(NAME, ending("t"))
    assert (ready.state, ready.based_on, ready.lease) == (OwnBaseModelState.READY, TINY, None)
    assert await store.get(NAME) == ready
    assert await store.users(NAME) == Users()

    def keep(found: OwnBaseModel, users: Users) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await store.delete(NAME, keep)
    assert await store.delete(NAME, lambda found, users: None) == ready
    with pytest.raises(NotFound):
        await store.get(NAME)


async def test_a_request_is_carried_out_once_and_a_name_is_taken_once(store: BaseModelStore) -> None:
    key = RequestKey("acme", "CreateBaseModel", "r-1", "d")
    assert await store.recall(key) is None
    first = await store.create(made(), key)
    assert await store.create(made(at=NOW + timedelta(hours=1)), key) == first
    assert await store.recall(key) == first
    with pytest.raises(AlreadyExists):
        await store.create(made(), NO_KEY)


async def test_bytes_are_counted_where_nobody_comes_between_and_a_failed_one_counts_no_more(
    store: BaseModelStore,
) -> None:
    told: list[int] = []

    def admit(used: int) -> None:
        told.append(used)
        if used > 15:
            raise ResourceExhausted("Full", reason="BUDGET_USED_UP")

    await came(store)
    await store.create(made(f"{NAME}-2", size=7), NO_KEY, admit)
    with pytest.raises(ResourceExhausted):
        await store.create(made(f"{NAME}-3"), NO_KEY, admit)
    assert (told, await store.stored_bytes("acme"), await store.stored_bytes("other")) == ([10, 17], 17, 0)
    await store.acquire(ASK, {TINY: "stable-diffusion"}, taking())
    await store.change(NAME, ending("t", Outcome.FAILED, JobError("BASE_MODEL_CORRUPT", "It is.", "Again.")))
    assert await store.stored_bytes("acme") == 7
    failed = await store.get(NAME)
    assert (failed.state, failed.parts) == (OwnBaseModelState.FAILED, ())


async def test_lists_are_filtered_and_paged(store: BaseModelStore) -> None:
    for number in range(4):
        labels = {"team": "art"} if number % 2 else {}
        await store.create(made(f"{NAME}-{number}", at=NOW + timedelta(hours=number), labels=labels), NO_KEY)
    await store.create(made("projects/other/baseModels/house"), NO_KEY)

    async def names(**asked: Any) -> list[str]:
        rows = await every_page(BASE_MODELS, lambda query: _rows(store, query), **asked)
        return [model.name.removeprefix(f"{NAME}-") for model in rows]

    assert await names() == ["3", "2", "1", "0"]
    assert await names(filter="labels.team = art", order_by="create_time") == ["1", "3"]
    assert await names(filter="state = READY OR display_name = Other") == []
    assert await names(filter="state = STATE_UPLOADING", order_by="create_time") == ["0", "1", "2", "3"]


async def _rows(store: BaseModelStore, query: Any) -> Any:
    return (await store.list("acme", query))[0]


async def test_what_stands_still_is_found(store: BaseModelStore) -> None:
    await came(store)
    old = NOW - timedelta(days=8)
    await store.create(made(f"{NAME}-old", at=old), NO_KEY)
    await store.create(made(f"{NAME}-new"), NO_KEY)
    asked: dict[str, Any] = {"idle_since": NOW - timedelta(days=7), "limit": 10}
    assert await store.due(NOW, **asked) == [f"{NAME}-old"]
    await store.acquire(ASK, {TINY: "stable-diffusion"}, taking())
    assert await store.due(NOW + LEASE, **asked) == [NAME, f"{NAME}-old"]


@pytest.fixture(params=["sqlite", "postgresql"])
async def both(
    request: pytest.FixtureRequest, signals: Signals
) -> AsyncIterator[tuple[Database, SqlBaseModelStore, JobStore]]:
    """The two stores on one database."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    yield db, SqlBaseModelStore(db, Outbox(events), signals), SqlJobStore(db, Outbox(events), signals)
    await db.dispose()


async def test_jobs_pin_their_base_model_and_go_to_workers_that_can_load_what_it_is_made_from(
    both: tuple[Database, SqlBaseModelStore, JobStore],
) -> None:
    _, store, jobs = both
    key = RequestKey("acme", "CreateTrainingJob", "", "")
    job = make_job(base_model=NAME, entry=TINY)
    with pytest.raises(NotFound):
        await jobs.create(moves.create(job), key)
    await came(store)
    with pytest.raises(NotFound):
        await jobs.create(moves.create(job), key)
    await store.acquire(ASK, {TINY: "stable-diffusion"}, taking())
    await store.change(NAME, ending("t"))
    await jobs.create(moves.create(job), key)
    assert await store.users(NAME) == Users(unfinished_jobs=1)

    for ask in (replace(ASK, takes_own=False), replace(ASK, base_models=("baseModels/other",))):
        assert await jobs.acquire(ask, take) is None
    assert await jobs.acquire(replace(ASK, base_models=(), takes_own=False), take) is None
    found = await jobs.acquire(ASK, take)
    assert found is not None
    assert (found.name, found.loads) == (job.name, TINY)
    await jobs.change(job.name, lambda held: moves.cancel(held, NOW))
    assert (await store.users(NAME)).unfinished_jobs == 1


async def test_each_step_is_told_as_an_event_and_bytes_once_an_hour(
    both: tuple[Database, SqlBaseModelStore, JobStore],
) -> None:
    db, store, _ = both
    await came(store)
    await store.acquire(ASK, {TINY: "stable-diffusion"}, taking())
    await store.change(NAME, lambda model: model_moves.renew(model, token="t", now=NOW, lease=LEASE))
    await store.change(NAME, ending("t"))
    await store.change(NAME, lambda model: replace(model, display_name="New", revision=model.revision + 1))
    for hour in (NOW, NOW, NOW + timedelta(hours=1)):
        await store.meter(hour)
    await store.delete(NAME, lambda found, users: None)
    async with db.connect() as conn:
        rows = (await conn.execute(select(events).order_by(events.c.position))).all()
    kinds = [row.type.removeprefix("fiveshot.") for row in rows]
    assert kinds == [
        "base_model.created", "base_model.state_changed", "usage.gpu_seconds", "base_model.state_changed",
        "base_model.updated", "usage.base_model_bytes", "usage.base_model_bytes", "base_model.deleted",
    ]  # fmt: skip
    own = [row for row in rows if row.type.startswith("fiveshot.base_model")]
    assert [row.sequence for row in own] == [1, 2, 3, 4, 5]
    ready = json.loads(own[2].payload)["stateChanged"]
    assert (ready["previousState"], ready["baseModel"]["basedOn"]) == ("STATE_CHECKING", TINY)
    assert json.loads(rows[5].payload)["base_model_bytes"] == 10
    assert own[0].subject == "fiveshot.events.v1.acme.baseModels.house.created"
