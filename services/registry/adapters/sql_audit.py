"""The audit records over SQLite or PostgreSQL, and their way to the stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from services.chassis.audit.records import AuditRecord
from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.names import AUDIT_SUBJECTS
from services.chassis.nats_events import EventBus
from services.chassis.patience import patiently
from services.chassis.signals import Signals, wait
from services.chassis.sql import Database, utcnow
from services.registry.adapters.sql_tables import AUDIT_RECORDS
from services.registry.ports import AUDIT_RECORDS as LISTING

_LIST = SqlListing(LISTING, AUDIT_RECORDS)
_NAMES = tuple(each.name for each in fields(AuditRecord))
_BATCH = 100
_LOOK_AGAIN_S = 60.0
# Rows that one transaction removes: a long one would hold up writers.
_REMOVED_AT_ONCE = 10_000


class SqlAuditStore:
    """Implements ports.AuditStore."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """See ports.AuditStore."""
        # One statement takes each row once.
        newest = {each.id: each for each in sorted(records, key=lambda each: each.revision)}
        if not newest:
            return
        statement: Any = (postgresql if self._db.dialect == "postgresql" else sqlite).insert(AUDIT_RECORDS)
        changed = {name: statement.excluded[name] for name in _NAMES if name != "id"}
        statement = statement.on_conflict_do_update(
            index_elements=["id"],
            set_={**changed, "published_at": None},
            where=AUDIT_RECORDS.c.revision < statement.excluded.revision,
        )
        # In one order everywhere, so that two deliveries never wait for each other.
        async with self._db.begin() as conn:
            await conn.execute(statement, [asdict(newest[key]) for key in sorted(newest)])

    async def list(self, project: str | None, query: Query) -> list[AuditRecord]:
        """See ports.AuditStore."""
        mine = () if project is None else (AUDIT_RECORDS.c.project == project,)
        async with self._db.connect() as conn:
            return [_record(row._mapping) for row in await conn.execute(_LIST.page(query, *mine))]

    async def forget(self, before: datetime, most: int) -> int:
        """See ports.AuditStore."""
        table = AUDIT_RECORDS.c
        async with self._db.connect() as conn:
            first_beyond = select(table.time).order_by(table.time.desc(), table.id.desc()).offset(most).limit(1)
            beyond = await conn.scalar(first_beyond)
        # Those of one microsecond go together.
        end = before if beyond is None or beyond < before else beyond
        removed = 0
        while True:
            some = select(table.id).where(table.time <= end).limit(_REMOVED_AT_ONCE)
            async with self._db.begin() as conn:
                count = (await conn.execute(delete(AUDIT_RECORDS).where(table.id.in_(some)))).rowcount
            removed += count
            if count < _REMOVED_AT_ONCE:
                return removed


class AuditStream:
    """Tells the records on the event bus, at least once each. Give `notify` to whoever adds records."""

    def __init__(self, db: Database, bus: EventBus) -> None:
        self._db = db
        self._bus = bus
        self._signals = Signals()

    def notify(self) -> None:
        """Records were added."""
        self._signals.notify("")

    async def run(self) -> None:
        """Publishes what was not published yet, until cancelled."""
        while True:
            added = self._signals.next()
            told = await patiently(self.publish, what="stream of audit records", patience_s=None)
            if told < _BATCH:
                await wait(added, _LOOK_AGAIN_S)

    async def publish(self) -> int:
        """Publishes one batch and returns how many records that were. Raises Unavailable."""
        table = AUDIT_RECORDS.c
        async with self._db.connect() as conn:
            unpublished = select(AUDIT_RECORDS).where(table.published_at.is_(None)).order_by(table.time).limit(_BATCH)
            records = [_record(row._mapping) for row in await conn.execute(unpublished)]
        done: list[tuple[str, int]] = []
        try:
            for record in records:
                await self._bus.publish(
                    subject=subject(record),
                    event_id=f"{record.id}/{record.revision}",
                    type="fiveshot.audit.call",
                    source=_name(record),
                    data=_json(record).encode(),
                    time=record.time,
                )
                done.append((record.id, record.revision))
        finally:
            if done:
                told = update(AUDIT_RECORDS).where(tuple_(table.id, table.revision).in_(done))
                async with self._db.begin() as conn:
                    await conn.execute(told.values(published_at=utcnow()))
        return len(records)


def subject(record: AuditRecord) -> str:
    """`fiveshot.audit.v1.{project}.{service}.{method}`; `-` for no project, `gateway` for what no service saw."""
    parts = record.method.split(".")
    service = parts[1] if len(parts) > 2 else "gateway"
    return ".".join((AUDIT_SUBJECTS, record.project or "-", service, parts[-1]))


def _record(row: Any) -> AuditRecord:
    return AuditRecord(**{name: row[name] for name in _NAMES})


def _json(record: AuditRecord) -> str:
    """The fields as the API spells them in JSON, without empty ones."""
    moment = record.time.isoformat().replace("+00:00", "Z")
    values = {**asdict(record), "time": moment, "requestId": record.request_id, "count": str(record.count)}
    for hidden in ("id", "request_id", "project"):
        values.pop(hidden)
    return json.dumps(
        {"name": _name(record), **{key: value for key, value in values.items() if value}}, separators=(",", ":")
    )


def _name(record: AuditRecord) -> str:
    return f"projects/{record.project or '-'}/auditRecords/{record.id}"
