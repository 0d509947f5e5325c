"""The event log: events are written in the transaction that changes the state, and a relay publishes them afterwards.

Each aggregate (a job, a dataset) numbers its events 1, 2, 3 … without gaps, so that a client which reconnects can say
what it saw last. The rows stay: the log is also what a watcher replays.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import trace
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import telemetry, tracing
from services.chassis.patience import every, patiently
from services.chassis.signals import Signals, wait
from services.chassis.sql import Database, UtcDateTime, utcnow

if TYPE_CHECKING:
    # A service that only keeps the log needs no NATS client installed.
    from services.chassis.nats_events import EventBus


_STABLE = uuid.UUID("5b1d7c0e-6f0b-4c55-9f39-0d3f8a4c2e11")
PUBLISHED = telemetry.counter("fiveshot_outbox_published_events_total", "Events of the log that reached the bus.")
PENDING = telemetry.gauge("fiveshot_outbox_pending_events", "Events that wait for the bus, counted up to 10,000.")
OLDEST = telemetry.gauge("fiveshot_outbox_oldest_seconds", "Age of the oldest event that waits for the bus.")
_COUNTED = 10_000
_MEASURE_S = 15.0
CLOSED = "/deleted/"
"""Part of the aggregate of the events of a deleted one."""
USAGE = "/usage/"
"""Part of the aggregate of an event that is the only one of its aggregate."""


@dataclass(frozen=True)
class OutboxEvent:
    """One event. aggregate: resource name of what changed. sequence: its number within the aggregate, from 1.

    type: CloudEvents type. subject: NATS subject. source: CloudEvents source. payload: JSON text. traceparent: of the
    call that caused it; "" where none is known.
    """

    id: str
    aggregate: str
    sequence: int
    type: str
    subject: str
    source: str
    payload: str
    created_at: datetime
    traceparent: str = ""


def events_table(metadata: MetaData, name: str = "events") -> Table:
    """The table of the event log, for a service's metadata and its first migration."""
    return Table(
        name,
        metadata,
        # SQLite numbers only INTEGER primary keys by itself.
        Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("id", String(36), nullable=False, unique=True),
        Column("aggregate", String(512), nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("type", String(128), nullable=False),
        Column("subject", String(512), nullable=False),
        Column("source", String(512), nullable=False),
        Column("payload", Text, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("published_at", UtcDateTime, nullable=True),
        Column("traceparent", String(tracing.LONGEST), nullable=False, server_default=""),
        UniqueConstraint("aggregate", "sequence", name=f"uq_{name}_aggregate_sequence"),
        Index(f"ix_{name}_unpublished", "published_at", "position"),
    )


class Outbox:
    """Writes and reads the log. signals: wake the relay, and whoever else waits for an aggregate's events."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.signals = Signals()

    async def append(
        self,
        conn: AsyncConnection,
        *,
        aggregate: str,
        type: str,
        subject: str,
        source: str,
        payload: str | Callable[[str, int, datetime], str],
        sequence: int | None = None,
        id: str = "",
    ) -> OutboxEvent:
        """Adds an event inside the caller's write transaction. Notify `signals` once that has committed.

        payload: JSON text, or a function of the event's id, sequence and moment for a payload that carries them.
        sequence: given by a caller that counts the aggregate's events itself, in a row that it has locked. id: of an
        event that must not be written twice, from `stable_id`; a second one breaks the unique key. Else a new one.
        """
        number = await self._next_sequence(conn, aggregate) if sequence is None else sequence
        event = new_event(
            aggregate=aggregate, sequence=number, type=type, subject=subject, source=source, payload=payload, id=id
        )
        await conn.execute(insert(self.table), vars(event))
        return event

    async def _next_sequence(self, conn: AsyncConnection, aggregate: str) -> int:
        if conn.dialect.name == "postgresql":
            # Two transactions about one aggregate take turns until they end; SQLite has one writer anyway.
            await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(self.table.name, aggregate)})
        return await self.last_sequence(conn, aggregate) + 1

    async def read_after(
        self, conn: AsyncConnection, aggregate: str, after_sequence: int, limit: int = 500
    ) -> list[OutboxEvent]:
        """The aggregate's events with a larger number, in order, at most `limit`."""
        events = self.table.c
        rows = await conn.execute(
            select(self.table)
            .where(events.aggregate == aggregate, events.sequence > after_sequence)
            .order_by(events.sequence)
            .limit(limit)
        )
        return [_event(row) for row in rows]

    async def close(self, conn: AsyncConnection, aggregate: str) -> None:
        """After an aggregate was deleted, in the same transaction: the next of its name counts from 1 again."""
        events = self.table.c
        closed = f"{aggregate}{CLOSED}{uuid.uuid4().hex}"
        await conn.execute(update(self.table).where(events.aggregate == aggregate).values(aggregate=closed))

    async def forget(self, conn: AsyncConnection, before: datetime, *, published_only: bool) -> int:
        """Removes older events and returns how many. The newest of an aggregate that goes on stays: the next number
        follows from it. published_only: not what the bus still waits for."""
        events, newer = self.table.c, self.table.alias()
        followed = exists().where(newer.c.aggregate == events.aggregate, newer.c.sequence > events.sequence)
        ended = or_(events.aggregate.contains(CLOSED), events.aggregate.contains(USAGE))
        old = delete(self.table).where(events.created_at < before, or_(ended, followed))
        if published_only:
            old = old.where(events.published_at.is_not(None))
        return int((await conn.execute(old)).rowcount)

    async def last_sequence(self, conn: AsyncConnection, aggregate: str) -> int:
        """The number of the aggregate's newest event; 0 when it has none."""
        events = self.table.c
        return await conn.scalar(select(func.max(events.sequence)).where(events.aggregate == aggregate)) or 0


def new_event(
    *,
    aggregate: str,
    sequence: int,
    type: str,
    subject: str,
    source: str,
    payload: str | Callable[[str, int, datetime], str],
    id: str = "",
    traceparent: str = "",
) -> OutboxEvent:
    """An event of this moment, under a new id unless one is given, for `Outbox.append` or a caller that writes the row
    itself. traceparent: of what it belongs to where no call of a recorded trace is running."""
    event_id, moment = id or str(uuid.uuid4()), utcnow()
    text = payload if isinstance(payload, str) else payload(event_id, sequence, moment)
    caused_by = tracing.current() if tracing.recorded() or not traceparent else traceparent
    return OutboxEvent(event_id, aggregate, sequence, type, subject, source, text, moment, caused_by)


def stable_id(*parts: object) -> str:
    """The same UUID for the same parts, for an event that may be written only once."""
    return str(uuid.uuid5(_STABLE, "\0".join(map(str, parts))))


class Relay:
    """Publishes the log's new events in order, each confirmed before it is marked. Run it as a background task.

    Of several replicas on PostgreSQL one works at a time. A crash between publishing and marking publishes again under
    the same id, which the stream drops. While the bus is away the rows wait.
    """

    def __init__(
        self, db: Database, outbox: Outbox, bus: EventBus | None, *, poll_s: float = 1.0, batch: int = 100
    ) -> None:
        self._db = db
        self._outbox = outbox
        self._bus = bus
        self._poll_s = poll_s
        self._batch = batch

    async def run(self) -> None:
        """Runs until cancelled; returns at once when there is no bus."""
        if self._bus is None:
            return
        bus = self._bus
        while True:
            appended = self._outbox.signals.next()
            published = await patiently(lambda: self.publish_pending(bus), what="relay of events", patience_s=None)
            if published < self._batch:
                await wait(appended, self._poll_s)

    async def watch(self) -> None:
        """Measures now and then until cancelled; returns at once when there is no bus."""
        if self._bus is not None:
            await every(_MEASURE_S, self.measure, what="measuring events")

    async def measure(self) -> None:
        """Sets what the metrics tell of the events that wait; nothing where there is no bus for them."""
        if self._bus is None:
            return
        waiting = self._outbox.table.c.published_at.is_(None)
        some = select(self._outbox.table.c.created_at).where(waiting).limit(_COUNTED).subquery()
        async with self._db.connect() as conn:
            count, oldest = (await conn.execute(select(func.count(), func.min(some.c.created_at)))).one()
        PENDING.set(count)
        OLDEST.set((utcnow() - oldest).total_seconds() if oldest else 0.0)

    async def publish_pending(self, bus: EventBus) -> int:
        """Publishes one batch and returns how many events that were."""
        if self._db.dialect == "sqlite":
            return await self._publish_batch(bus)
        async with self._db.begin() as leader:
            key = _key(self._outbox.table.name, "relay")
            if not await leader.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}):
                return 0
            return await self._publish_batch(bus)

    async def _publish_batch(self, bus: EventBus) -> int:
        table = self._outbox.table
        async with self._db.connect() as conn:
            unpublished = select(table).where(table.c.published_at.is_(None)).order_by(table.c.position)
            events = [_event(row) for row in await conn.execute(unpublished.limit(self._batch))]
        done: list[str] = []
        try:
            for event in events:
                await _publish(bus, event)
                done.append(event.id)
        finally:
            if done:
                async with self._db.begin() as conn:
                    await conn.execute(update(table).where(table.c.id.in_(done)).values(published_at=utcnow()))
                PUBLISHED.inc(len(done))
        return len(done)


async def _publish(bus: EventBus, event: OutboxEvent) -> None:
    """Publishes an event. Its span begins when it was written: how long is how far behind the relay was."""
    publishing = partial(
        bus.publish,
        subject=event.subject,
        event_id=event.id,
        type=event.type,
        source=event.source,
        data=event.payload.encode(),
        time=event.created_at,
        traceparent=event.traceparent,
    )
    if not event.traceparent:
        await publishing()
        return
    attributes = {
        "messaging.system": "nats",
        "messaging.operation.name": "publish",
        "messaging.destination.name": event.subject,
        "messaging.message.id": event.id,
        "fiveshot.resource": event.aggregate,
        "fiveshot.event_sequence": event.sequence,
    }
    name = f"publish {event.type}"
    producer = trace.SpanKind.PRODUCER
    with tracing.span(name, parent=event.traceparent, kind=producer, since=event.created_at, attributes=attributes):
        await publishing()


def _event(row: Row[tuple[object, ...]]) -> OutboxEvent:
    values = row._mapping
    return OutboxEvent(**{name: values[name] for name in OutboxEvent.__dataclass_fields__})


def _key(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode())
