"""Preview requests and their queue: the same in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from services.chassis.errors import Aborted, InvalidArgument, NotFound, ResourceExhausted
from services.chassis.listing.pages import Query
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_previews import SqlPreviewStore
from services.trainer.adapters.sql_tables import events
from services.trainer.app import MIGRATIONS
from services.trainer.models import preview_moves
from services.trainer.models.epoch import EpochFile
from services.trainer.models.job import Outcome
from services.trainer.models.preview_request import Drawing, DrawnCell, PreviewRequest, PreviewState
from services.trainer.models.queue import Starting, StartLimits
from services.trainer.ports import WorkerAsk
from services.trainer.ports.previews import PREVIEW_REQUESTS, PreviewMove, PreviewStore
from tests.contract.trainer_jobs.steps import LEASE, acquired
from tests.fakes.preview_store import FakePreviewStore
from tests.fixtures.lists import every_page
from tests.unit.trainer.jobs import NAME, NOW

ASK = WorkerAsk("worker-1", (), "", "cpu", draws=True)
NO_KEY = RequestKey("acme", "RequestPreviews", "", "")
KEEP = timedelta(days=1)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def previews(request: pytest.FixtureRequest, signals: Signals) -> AsyncIterator[PreviewStore]:
    if request.param == "memory":
        yield FakePreviewStore(signals)
        return
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url, MIGRATIONS)
    db = Database(url)
    yield SqlPreviewStore(db, Outbox(events), signals)
    await db.dispose()


def made(
    name: str = "one", project: str = "acme", *, age_s: float = 0, job: str = "", **changes: Any
) -> PreviewRequest:
    """A request for two cells."""
    source = job or f"projects/{project}/trainingJobs/job-1/epochs/1"
    drawing = Drawing((source,), (0.6, 1.0), ("a cat",), (7,), "", 64, 64, 6, 5.0)
    at = NOW - timedelta(seconds=age_s)
    name = f"projects/{project}/previewRequests/{name}"
    return PreviewRequest(name, project, "baseModels/tiny", drawing, at, NOW + KEEP, **changes)


def taking(token: str = "t", *, at: datetime = NOW) -> PreviewMove:
    def move(request: PreviewRequest) -> PreviewRequest:
        return preview_moves.acquire(request, worker_id="w", token=token, now=at, lease=LEASE, pretends=False)

    return move


def cell(index: int) -> DrawnCell:
    return DrawnCell(index, EpochFile(f"cell-{index + 1}", "c.png", "image/png", 3, "a" * 64, f"k/{index}"), 64, 64)


async def test_a_request_goes_through_its_life_and_comes_back_as_it_was_stored(previews: PreviewStore) -> None:
    first = made(wanted_until=NOW + timedelta(seconds=30))
    assert await previews.create(first, NO_KEY) == first == await previews.get(first.name)
    taken = await previews.acquire(ASK, taking())
    assert taken is not None
    assert (taken.state, taken.start_time) == (PreviewState.RUNNING, NOW)
    assert await previews.acquire(ASK, taking("u")) is None
    later = NOW + timedelta(seconds=5)

    def report(request: PreviewRequest) -> PreviewRequest:
        return preview_moves.report(request, [cell(1), cell(0)], token="t", now=later, lease=LEASE)

    await previews.change(first.name, report)

    def end(request: PreviewRequest) -> PreviewRequest:
        return preview_moves.complete(request, Outcome.SUCCEEDED, None, token="t", now=later, keep=KEEP)

    ended = await previews.change(first.name, end)
    assert ended == await previews.get(first.name)
    assert (ended.state, ended.expire_time, ended.lease) == (PreviewState.SUCCEEDED, later + KEEP, None)
    assert [each.index for each in ended.cells] == [0, 1]
    assert ended.etag != first.etag
    with pytest.raises(Aborted):
        await previews.change(first.name, report)
    assert await previews.unfinished("acme") == 0


async def test_projects_take_turns_and_within_one_the_oldest_goes_first(previews: PreviewStore) -> None:
    for request in (made("late", age_s=1), made("old", age_s=9), made("other", "other"), made("third", age_s=5)):
        await previews.create(request, NO_KEY)
    moments = [NOW + timedelta(seconds=number) for number in range(4)]
    found = [await previews.acquire(ASK, taking(moment.isoformat(), at=moment)) for moment in moments]
    assert [request.name.rsplit("/", 1)[1] for request in found if request] == ["old", "other", "third", "late"]


async def test_of_workers_that_ask_at_once_each_gets_another_request(previews: PreviewStore) -> None:
    for number in range(5):
        await previews.create(made(f"r-{number}"), NO_KEY)
    asks = (previews.acquire(replace(ASK, worker_id=f"w-{n}"), taking(f"t-{n}")) for n in range(5))
    found = [request for request in await asyncio.gather(*asks) if request is not None]
    # One may have looked while another held the row; none is ever given twice.
    assert len({request.name for request in found}) == len(found) >= 1


async def test_a_worker_gets_only_what_it_can_load_and_a_job_only_what_is_asked_of_it(previews: PreviewStore) -> None:
    await previews.create(made("of-job", job=NAME), NO_KEY)
    assert await previews.acquire(ASK, taking()) is None
    await previews.create(made("one"), NO_KEY)
    assert await previews.acquire(replace(ASK, base_models=("baseModels/other",)), taking()) is None
    assert await previews.acquire(ASK, taking(), job=f"{NAME}-other") is None
    of_job = await previews.acquire(ASK, taking(), job=NAME)
    assert of_job is not None
    assert of_job.name.endswith("/of-job")
    one = await previews.acquire(replace(ASK, base_models=("baseModels/tiny",)), taking())
    assert one is not None
    assert one.name.endswith("/one")


async def test_equal_calls_get_one_request_and_only_as_many_are_admitted_as_may_be(previews: PreviewStore) -> None:
    def admit(unfinished: int) -> None:
        if unfinished >= 2:
            raise ResourceExhausted("too many", reason="BUDGET_USED_UP")

    key = RequestKey("acme", "RequestPreviews", "r-1", "d")
    first = await previews.create(made("first"), key, admit)
    assert (await previews.create(made("again"), key, admit)).name == first.name
    with pytest.raises(InvalidArgument):
        await previews.recall(replace(key, digest="e"))
    results = await asyncio.gather(
        *(previews.create(made(f"r-{number}"), NO_KEY, admit) for number in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, PreviewRequest) for result in results) == 1
    assert await previews.unfinished("acme") == 2


async def test_what_is_due_is_found_and_nothing_else(previews: PreviewStore) -> None:
    for request in (
        made("fine"),
        made("silent", age_s=99),
        made("unwatched", wanted_until=NOW + timedelta(seconds=10)),
        made("watched", wanted_until=NOW + timedelta(seconds=1000)),
        made("of-a-job-that-is-gone", job=f"{NAME}-gone"),
        replace(made("old"), expire_time=NOW + timedelta(seconds=20)),
    ):
        await previews.create(request, NO_KEY)
    silent = await previews.acquire(ASK, taking())
    assert silent is not None
    due = await previews.due(NOW + timedelta(seconds=40), 10)
    names = {name.rsplit("/", 1)[1] for name in due}
    assert names == {"silent", "unwatched", "of-a-job-that-is-gone", "old"}
    assert len(await previews.due(NOW + timedelta(seconds=40), 2)) == 2


async def test_a_deleted_request_is_gone_unless_the_check_keeps_it(previews: PreviewStore) -> None:
    await previews.create(made(), NO_KEY)

    def refuse(request: PreviewRequest) -> None:
        raise Aborted(request.name, reason="ETAG_MISMATCH")

    with pytest.raises(Aborted):
        await previews.delete(made().name, refuse)
    assert (await previews.delete(made().name, lambda _: None)).name == made().name
    with pytest.raises(NotFound):
        await previews.get(made().name)


async def test_pages_filters_and_orders(previews: PreviewStore) -> None:
    for number in range(5):
        await previews.create(made(f"r-{number}", age_s=number), NO_KEY)
    await previews.create(made("foreign", "other"), NO_KEY)
    await previews.change(made("r-2").name, lambda request: preview_moves.cancel(request, NOW, KEEP))

    async def read(query: Query) -> Sequence[PreviewRequest]:
        return (await previews.list("acme", query))[0]

    async def names(filter: str = "", order_by: str = "") -> list[str]:
        found = await every_page(PREVIEW_REQUESTS, read, filter=filter, order_by=order_by)
        return [request.name.rsplit("/", 1)[1] for request in found]

    assert await names() == ["r-0", "r-1", "r-2", "r-3", "r-4"]
    assert await names("state = CANCELLED") == ["r-2"]
    of_model = 'base_model = "tiny" AND state != STATE_CANCELLED'
    assert await names(of_model, "create_time") == ["r-4", "r-3", "r-1", "r-0"]


async def test_the_time_at_work_counts_as_gpu_seconds_and_a_project_without_any_left_waits(database: Database) -> None:
    previews = SqlPreviewStore(database, Outbox(events), Signals())
    jobs = SqlJobStore(database, Outbox(events), Signals())
    await previews.create(made(), NO_KEY)
    await previews.acquire(ASK, taking())
    later = NOW + timedelta(seconds=12)
    await previews.change(made().name, lambda request: preview_moves.cancel(request, later, KEEP))
    use = await jobs.usage("acme", since=NOW - timedelta(hours=1), now=later)
    assert (use.gpu_seconds, use.previews) == (12.0, 0)
    async with database.connect() as conn:
        (told,) = (await conn.execute(select(events.c.type, events.c.payload))).all()
    assert told.type == "fiveshot.usage.gpu_seconds"
    assert json.loads(told.payload)["preview_request"] == made().name

    await previews.create(made("two"), NO_KEY)
    limited = Starting(lambda _: StartLimits(gpu_seconds=12), NOW - timedelta(hours=1), later)
    assert await previews.acquire(ASK, taking("u"), limited) is None
    assert await previews.acquire(ASK, taking("u"), replace(limited, limits=lambda _: StartLimits(gpu_seconds=13)))
    # A job as it stands now is drawn within the time of its attempt, which counts already.
    held = await acquired(jobs)
    await previews.create(made("three", job=held.name), NO_KEY)
    assert await previews.acquire(ASK, taking("v"), job=held.name)
    assert made("three").name not in await previews.due(NOW, 10)
    await previews.change(made("three").name, lambda request: preview_moves.cancel(request, later, KEEP))
    assert (await jobs.usage("acme", since=NOW - timedelta(hours=1), now=NOW)).gpu_seconds == 12.0
