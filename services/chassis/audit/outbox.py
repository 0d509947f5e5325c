"""Records on their way: a table beside the change that they tell of, and what moves them on from there.

A change and its record are written in one transaction, so neither is there without the other. What no transaction wrote
(a refusal, a repeated request) waits in memory for a moment; a process that dies meanwhile loses it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    delete,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.audit.records import CALL, OK, REFUSALS, AuditRecord, CallEntry
from services.chassis.audit.wire import GATHER_S, LOST, MAX_WAITING, Deliver
from services.chassis.errors import DomainError, Unavailable
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.chassis.sql import Database, UtcDateTime

log = get_logger(__name__)

_BATCH = 500
# What a replica left behind that is no more.
_LOOK_AGAIN_S = 60.0
_NAMES = tuple(each.name for each in fields(AuditRecord))


def outbox_table(metadata: MetaData, name: str = "audit_outbox") -> Table:
    """The table of records on their way, for a service's metadata."""
    return Table(
        name,
        metadata,
        Column("id", String(36), nullable=False),
        Column("revision", Integer, nullable=False),
        *record_columns(),
        PrimaryKeyConstraint("id", "revision"),
    )


def record_columns() -> tuple[Column[object], ...]:
    """The columns of a record but for its id and revision."""
    return (
        Column("time", UtcDateTime, nullable=False),
        Column("project", String(63), nullable=False),
        Column("principal", String(300), nullable=False),
        Column("role", String(20), nullable=False),
        Column("method", String(200), nullable=False),
        Column("resource", String(512), nullable=False),
        Column("code", String(30), nullable=False),
        Column("reason", String(64), nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("address", String(64), nullable=False),
        Column("count", BigInteger, nullable=False),
    )


class AuditOutbox:
    """Writes records and moves them on. Give it to the process as its `audit`."""

    def __init__(self, db: Database, table: Table, deliver: Deliver) -> None:
        self._db = db
        self._table = table
        self._deliver = deliver
        self._waiting: deque[AuditRecord] = deque()
        self._news = asyncio.Event()
        db.before_commit = self._write_call

    def close_call(self, entry: CallEntry, code: str, reason: str = "", made: str = "") -> None:
        """Takes the outcome of a call. made: name of what it made, if it did."""
        entry.closed = True
        if not entry.changes and not (entry.known and code in REFUSALS):
            return
        if code != OK and not entry.known and not entry.written:
            return
        before = entry.record
        if made and made != before.resource:
            entry.about(made)
        entry.record = replace(entry.record, code=code, reason=reason)
        if not entry.written or entry.record != before:
            self.add(replace(entry.record, revision=entry.written + 1))

    def add(self, record: AuditRecord) -> None:
        """Takes a record that is part of no transaction."""
        if len(self._waiting) >= MAX_WAITING:
            LOST.inc()
            return
        self._waiting.append(record)
        self._news.set()

    async def run(self) -> None:
        """Moves records on until cancelled."""
        while True:
            self._news.clear()
            try:
                await patiently(self.flush, what="audit records", patience_s=None)
                moved = await patiently(self.deliver_some, what="audit records", patience_s=None)
            except DomainError as error:
                # During an upgrade the keeper may not know this process yet. The records stay where they are.
                log.error("audit_records_refused", reason=error.reason, message=error.message)
                moved = 0
            if moved < _BATCH:
                try:
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await self._news.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(GATHER_S)

    async def close(self) -> None:
        """Writes what waits in memory; whoever serves next delivers it."""
        try:
            await self.flush()
        except Unavailable as error:
            LOST.inc(len(self._waiting))
            log.error("audit_records_lost", records=len(self._waiting), reason=error.reason)

    async def flush(self) -> None:
        """Writes what waits in memory. Raises Unavailable, and nothing is forgotten then."""
        while self._waiting:
            batch = [self._waiting[number] for number in range(min(_BATCH, len(self._waiting)))]
            async with self._db.begin() as conn:
                await self._insert(conn, batch)
            for _ in batch:
                self._waiting.popleft()

    async def deliver_some(self) -> int:
        """Hands a batch over and forgets it; returns how many records that were. Raises Unavailable."""
        table = self._table
        async with self._db.connect() as conn:
            rows = await conn.execute(select(table).order_by(table.c.time).limit(_BATCH))
            records = [AuditRecord(**{name: row._mapping[name] for name in _NAMES}) for row in rows]
        if not records:
            return 0
        await self._deliver(records)
        keys = [(record.id, record.revision) for record in records]
        async with self._db.begin() as conn:
            await conn.execute(delete(table).where(tuple_(table.c.id, table.c.revision).in_(keys)))
        return len(records)

    async def _write_call(self, conn: AsyncConnection) -> Callable[[], None] | None:
        """Writes the record of the call at hand with its first transaction; the answer is called once that is done."""
        entry = CALL.get()
        if entry is None or entry.closed or entry.written or not entry.changes:
            return None
        await self._insert(conn, [entry.record])

        def written() -> None:
            entry.written = 1
            self._news.set()

        return written

    async def _insert(self, conn: AsyncConnection, records: Sequence[AuditRecord]) -> None:
        # Two transactions of one call may run beside each other; the second finds the record there.
        dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
        await conn.execute(dialect.insert(self._table).on_conflict_do_nothing(), [asdict(each) for each in records])
