"""The store of audit records and the table of those on their way, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from services.chassis.audit.outbox import AuditOutbox
from services.chassis.audit.records import CALL, AuditRecord, CallEntry
from services.chassis.errors import PermissionDenied, Unavailable
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.request_context import RequestContext
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.registry.adapters.sql_audit import SqlAuditStore
from services.registry.adapters.sql_tables import AUDIT_OUTBOX, MODELS
from services.registry.app import MIGRATIONS
from services.registry.use_cases.audit_log import AuditLog
from tests.fixtures.patience import until

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CALLER = RequestContext("r-1", frozenset({"pets"}), "key:backend", "", "editor", "192.0.2.7")
DELETE = "fiveshot.registry.v1.RegistryService.DeleteModel"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    await upgrade(database_url, MIGRATIONS)
    database = Database(database_url)
    yield database
    await database.dispose()


@pytest.fixture
def log(db: Database) -> AuditLog:
    return AuditLog(SqlAuditStore(db), PageTokens(b"0" * 16), lambda: NOW, keep=timedelta(days=90), most=1000)


def record(minutes: int = 0, **changes: object) -> AuditRecord:
    made = AuditRecord(DELETE, project="pets", principal="key:a", time=NOW + timedelta(minutes=minutes))
    return replace(made, **changes)  # type: ignore[arg-type]


async def listed(log: AuditLog, parent: str = "projects/pets", **asked: object) -> list[AuditRecord]:
    found, token = await log.list(ListRequest(parent=parent, **asked))  # type: ignore[arg-type]
    assert token == ""
    return found


async def test_a_record_is_kept_once_in_its_highest_revision(log: AuditLog) -> None:
    first = record()
    corrected = replace(first, revision=2, code="ABORTED", reason="ETAG_MISMATCH")
    await log.take([first])
    await log.take([first, corrected])
    await log.take([first])
    assert await listed(log) == [corrected]
    await log.take([])


async def test_a_list_is_paged_filtered_and_kept_apart_by_project(log: AuditLog) -> None:
    records = [record(minute, code="OK" if minute % 2 else "ABORTED") for minute in range(7)]
    other = record(99, project="toys", principal="key:b")
    nobodys = record(100, project="", principal="", count=17)
    await log.take([*records, other, nobodys])
    assert await listed(log) == records[::-1]
    assert await listed(log, order_by="time") == records
    assert await listed(log, filter='code != "OK"') == records[::-2]
    assert await listed(log, filter=f'principal = "key:a" AND time > "{records[4].time.isoformat()}"') == records[:4:-1]
    assert await listed(log, "projects/-") == [nobodys, other, *records[::-1]]
    pages, token = [], ""
    while True:
        page, token = await log.list(ListRequest(parent="projects/pets", page_size=3, page_token=token))
        pages.append(page)
        if not token:
            break
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each for page in pages for each in page] == records[::-1]


async def test_what_is_too_old_or_too_much_is_forgotten(db: Database, log: AuditLog) -> None:
    old = [replace(record(), time=NOW - timedelta(days=days)) for days in (91, 200)]
    young = [record(minute) for minute in range(10)]
    await log.take([*old, *young])
    assert await log.forget_now() == 2
    assert await log.forget_now() == 0
    few = AuditLog(SqlAuditStore(db), PageTokens(b"0" * 16), lambda: NOW, keep=timedelta(days=90), most=4)
    assert await few.forget_now() == 6
    assert await listed(log) == young[:5:-1]


class Calls:
    """An outbox and the calls that pass it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.away = False
        self.stranger = False
        self.delivered: list[AuditRecord] = []
        self.outbox = AuditOutbox(db, AUDIT_OUTBOX, self._deliver)

    async def _deliver(self, records: Sequence[AuditRecord]) -> None:
        if self.away:
            raise Unavailable("away", reason="AWAY")
        if self.stranger:
            raise PermissionDenied("who are you?", reason="CALLER_NOT_ALLOWED")
        self.delivered += records

    async def model(self, project: str = "pets", *, fails: bool = False) -> None:
        """A transaction that changes something."""
        async with self.db.begin() as conn:
            values: dict[str, object] = dict.fromkeys(("display_name", "search_name", "description"), "")
            await conn.execute(
                insert(MODELS).values(
                    **values,
                    project=project,
                    model_id=f"m-{uuid.uuid4().hex}",
                    uid="u",
                    last_version=0,
                    revision=1,
                    create_time=utcnow(),
                    update_time=utcnow(),
                )
            )
            if fails:
                raise ValueError

    async def models(self) -> int:
        async with self.db.connect() as conn:
            return int(await conn.scalar(select(func.count()).select_from(MODELS)) or 0)

    async def stored(self) -> list[AuditRecord]:
        """What lies in the table, by revision."""
        async with self.db.connect() as conn:
            rows = (await conn.execute(select(AUDIT_OUTBOX).order_by(AUDIT_OUTBOX.c.revision))).mappings().all()
        return [AuditRecord(**row) for row in rows]

    def entry(self, *, changes: bool = True, caller: RequestContext = CALLER) -> CallEntry:
        entry = CallEntry(DELETE, caller, changes=changes)
        entry.about("projects/pets/models/rex")
        CALL.set(entry)
        return entry


@pytest.fixture
def calls(db: Database) -> Calls:
    return Calls(db)


async def test_a_change_and_its_record_are_one_transaction(calls: Calls) -> None:
    entry = calls.entry()
    await calls.model()
    # Nothing of the call has ended yet, and a process that dies now has lost nothing.
    (stored,) = await calls.stored()
    assert (stored, stored.code) == (entry.record, "OK")
    calls.entry()
    with pytest.raises(ValueError):  # noqa: PT011
        await calls.model(fails=True)
    assert (await calls.models(), len(await calls.stored())) == (1, 1)


async def test_transactions_of_one_call_leave_one_record(calls: Calls) -> None:
    entry = calls.entry()
    await asyncio.gather(*(calls.model() for _ in range(4)))
    await calls.model()
    calls.outbox.close_call(entry, "OK")
    await calls.outbox.flush()
    assert len(await calls.stored()) == 1
    # What the call left running is no call any more.
    await calls.model()
    assert len(await calls.stored()) == 1


async def test_a_call_that_fails_after_its_first_transaction_corrects_its_record(calls: Calls) -> None:
    entry = calls.entry()
    await calls.model()
    calls.outbox.close_call(entry, "DATA_LOSS", "FILE_DAMAGED")
    await calls.outbox.flush()
    assert [(each.revision, each.code, each.reason) for each in await calls.stored()] == [
        (1, "OK", ""), (2, "DATA_LOSS", "FILE_DAMAGED"),
    ]  # fmt: skip


async def test_what_was_made_is_named(calls: Calls) -> None:
    entry = calls.entry()
    await calls.model()
    calls.outbox.close_call(entry, "OK", made="projects/pets/models/rex/versions/3")
    await calls.outbox.flush()
    assert [each.resource for each in await calls.stored()] == [
        "projects/pets/models/rex", "projects/pets/models/rex/versions/3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "known", "recorded"),
    [
        (True, "OK", True, True),
        (True, "NOT_FOUND", True, True),
        (True, "PERMISSION_DENIED", False, False),
        (False, "OK", True, False),
        (False, "NOT_FOUND", True, False),
        (False, "PERMISSION_DENIED", True, True),
        (False, "PERMISSION_DENIED", False, False),
    ],
)
async def test_which_outcomes_are_recorded(calls: Calls, changes: bool, code: str, known: bool, recorded: bool) -> None:
    caller = CALLER if known else replace(CALLER, principal="")
    calls.outbox.close_call(calls.entry(changes=changes, caller=caller), code)
    await calls.outbox.flush()
    assert len(await calls.stored()) == recorded


async def test_a_call_that_looks_writes_nothing_with_a_transaction(calls: Calls) -> None:
    calls.entry(changes=False)
    await calls.model()
    assert await calls.stored() == []


async def test_records_stay_until_they_are_taken(calls: Calls) -> None:
    calls.outbox.close_call(calls.entry(), "NOT_FOUND")
    await calls.outbox.flush()
    calls.away = True
    with pytest.raises(Unavailable):
        await calls.outbox.deliver_some()
    assert len(await calls.stored()) == 1
    calls.away = False
    assert await calls.outbox.deliver_some() == 1
    assert await calls.stored() == []
    assert [each.code for each in calls.delivered] == ["NOT_FOUND"]
    assert await calls.outbox.deliver_some() == 0


async def test_a_keeper_that_refuses_ends_no_process(calls: Calls) -> None:
    """As in an upgrade, before the registry knows a new caller; the next record has it try again."""
    calls.stranger = True
    calls.outbox.close_call(calls.entry(), "NOT_FOUND")
    running = asyncio.create_task(calls.outbox.run())
    await until(calls.stored)
    calls.stranger = False
    calls.outbox.close_call(calls.entry(), "ABORTED")

    async def taken() -> bool:
        return len(calls.delivered) == 2

    await until(taken)
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
