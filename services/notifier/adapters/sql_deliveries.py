"""The store of events and deliveries over SQLite or PostgreSQL.

A claim moves a delivery to the moment when it runs out and puts a token beside it; who records with another token comes
too late. Locks: a webhook's row before those of its deliveries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import names
from services.chassis.cloud_events import event_subject
from services.chassis.errors import NotFound
from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.outbox import Outbox
from services.chassis.sql import Database, utcnow
from services.notifier import proto_mapping
from services.notifier.adapters.sql_rows import delivery_of, delivery_values, webhook_of
from services.notifier.adapters.sql_statements import (
    find_delivery,
    find_webhook,
    owned,
    read_webhook,
    repeated,
    write_delivery,
    write_webhook,
)
from services.notifier.adapters.sql_tables import DELIVERIES, RECEIVED, WEBHOOKS
from services.notifier.models.deliveries import (
    DELIVERY_NAME,
    Attempt,
    Claimed,
    Delivery,
    DeliveryState,
    Event,
    RetryPolicy,
    after,
    begun_anew,
    new_delivery,
)
from services.notifier.models.event_types import DISABLED, wants
from services.notifier.models.webhooks import Webhook, check_enabled
from services.notifier.ports import DELIVERIES as DELIVERY_LISTING

_LIST = SqlListing(DELIVERY_LISTING, DELIVERIES)
_PENDING = DELIVERIES.c.state == DeliveryState.PENDING.value
_OF_WEBHOOK = (DELIVERIES.c.project == WEBHOOKS.c.project) & (DELIVERIES.c.webhook_id == WEBHOOKS.c.webhook_id)
_COUNTED = 10_000
# Between the clocks of the service that an event comes from and of the one that made the webhook.
_CLOCKS_APART = timedelta(minutes=1)


class SqlDeliveryStore:
    """Implements ports.DeliveryStore. outbox: the log of what happens to webhooks themselves."""

    def __init__(self, db: Database, outbox: Outbox, policy: RetryPolicy) -> None:
        self._db = db
        self._outbox = outbox
        self._policy = policy

    async def keep(self, events: Sequence[Event]) -> int:
        """See ports.DeliveryStore, here and below."""
        projects = {event.project for event in events}
        # A plain look first: most events of most projects interest nobody, and a reader waits for no writer.
        async with self._db.connect() as conn:
            if not await self._wanted(conn, projects, events):
                return 0

        async def work(conn: AsyncConnection) -> int:
            kept = 0
            for event, webhooks in await self._wanted(conn, projects, events, lock=True):
                if await self._insert_event(conn, event):
                    now = utcnow()
                    made = [new_delivery(each, event, names.new_id("d"), now, self._policy) for each in webhooks]
                    await conn.execute(insert(DELIVERIES), [_inserted(each) for each in made])
                    kept += len(made)
            return kept

        return await repeated(self._db, work)

    async def add_test(self, webhook: Webhook, event: Event, lease: timedelta) -> Claimed:
        async with self._db.begin() as conn:
            current = await read_webhook(conn, webhook.project, webhook.webhook_id, lock=True)
            await self._insert_event(conn, event)
            token, now = names.new_uuid(), utcnow()
            made = new_delivery(current, event, names.new_id("d"), now, self._policy)
            values = {**_inserted(made), "next_attempt_time": now + lease, "claim_token": token}
            await conn.execute(insert(DELIVERIES).values(**values))
            found = await find_delivery(conn, made.project, made.webhook_id, made.delivery_id)
            assert found is not None
            return Claimed(found, current, token)

    async def claim(self, limit: int, lease: timedelta, busy: Mapping[str, int], each: int) -> list[Claimed]:
        now = utcnow()
        due = (_PENDING, DELIVERIES.c.next_attempt_time <= now)
        oldest = func.min(DELIVERIES.c.next_attempt_time)
        waiting = select(WEBHOOKS).join(DELIVERIES, _OF_WEBHOOK).where(WEBHOOKS.c.disabled.is_(False), *due)
        waiting = waiting.group_by(*WEBHOOKS.c).order_by(oldest)
        async with self._db.connect() as conn:
            webhooks = [webhook_of(row) for row in await conn.execute(waiting)]
        free = {each_.name: each - busy.get(each_.name, 0) for each_ in webhooks}
        webhooks = [webhook for webhook in webhooks if free[webhook.name] > 0]
        if not webhooks:
            return []
        claimed: list[Claimed] = []
        async with self._db.begin() as conn:
            for webhook in webhooks:
                if len(claimed) == limit:
                    break
                most = min(free[webhook.name], limit - len(claimed))
                mine = owned(DELIVERIES, webhook.project, webhook.webhook_id)
                rows = select(DELIVERIES, RECEIVED.c.body).join(RECEIVED, RECEIVED.c.id == DELIVERIES.c.event_id)
                rows = rows.where(*mine, *due).order_by(DELIVERIES.c.next_attempt_time).limit(most)
                for row in (await conn.execute(rows.with_for_update(of=DELIVERIES, skip_locked=True))).all():
                    claimed.append(Claimed(delivery_of(row, row._mapping["body"]), webhook, names.new_uuid()))
            for one in claimed:
                mine = owned(DELIVERIES, one.delivery.project, one.delivery.webhook_id)
                values = {"next_attempt_time": now + lease, "claim_token": one.token}
                this = DELIVERIES.c.delivery_id == one.delivery.delivery_id
                await conn.execute(update(DELIVERIES).where(*mine, this).values(**values))
        return claimed

    async def record(self, claimed: Claimed, attempt: Attempt) -> Delivery | None:
        sent = claimed.delivery
        async with self._db.begin() as conn:
            webhook = await find_webhook(conn, sent.project, sent.webhook_id, lock=True)
            current = await find_delivery(conn, sent.project, sent.webhook_id, sent.delivery_id, token=claimed.token)
            if webhook is None or current is None or current.state is not DeliveryState.PENDING:
                return None
            outcome = after(current, webhook, attempt, utcnow(), self._policy)
            await write_delivery(conn, outcome.delivery)
            if outcome.webhook is not None:
                await write_webhook(conn, outcome.webhook)
                if outcome.disabled:
                    await self._tell_disabled(conn, outcome.webhook)
        if outcome.disabled:
            self._outbox.signals.notify(claimed.webhook.name)
        return outcome.delivery

    async def give_up_late(self, limit: int = 500) -> int:
        now = utcnow()
        async with self._db.begin() as conn:
            late = select(DELIVERIES).join(WEBHOOKS, _OF_WEBHOOK)
            late = late.where(WEBHOOKS.c.disabled.is_(True), _PENDING, DELIVERIES.c.give_up_time < now).limit(limit)
            rows = (await conn.execute(late.with_for_update(of=DELIVERIES, skip_locked=True))).all()
            for row in rows:
                this = DELIVERIES.c.delivery_id == row._mapping["delivery_id"]
                mine = owned(DELIVERIES, row._mapping["project"], row._mapping["webhook_id"])
                ended = {"state": DeliveryState.FAILED.value, "next_attempt_time": None, "end_time": now}
                await conn.execute(update(DELIVERIES).where(*mine, this).values(**ended))
            return len(rows)

    async def get(self, project: str, webhook_id: str, delivery_id: str) -> Delivery:
        async with self._db.connect() as conn:
            return await self._read(conn, project, webhook_id, delivery_id)

    async def list(self, project: str, webhook_id: str, query: Query) -> tuple[list[Delivery], int]:
        async with self._db.connect() as conn:
            await read_webhook(conn, project, webhook_id)
            mine = owned(DELIVERIES, project, webhook_id)
            rows = await conn.execute(_LIST.page(query, *mine))
            return [delivery_of(row) for row in rows], await _LIST.count(conn, query, *mine)

    async def redeliver(self, project: str, webhook_id: str, delivery_id: str) -> Delivery:
        async with self._db.begin() as conn:
            check_enabled(await read_webhook(conn, project, webhook_id, lock=True))
            found = await self._read(conn, project, webhook_id, delivery_id)
            anew = begun_anew(found, utcnow(), self._policy)
            await write_delivery(conn, anew)
            return anew

    async def next_due(self) -> datetime | None:
        due = select(func.min(DELIVERIES.c.next_attempt_time)).join(WEBHOOKS, _OF_WEBHOOK)
        async with self._db.connect() as conn:
            found: datetime | None = await conn.scalar(due.where(WEBHOOKS.c.disabled.is_(False), _PENDING))
            return found

    async def pending(self) -> int:
        some = select(DELIVERIES.c.delivery_id).where(_PENDING).limit(_COUNTED).subquery()
        async with self._db.connect() as conn:
            return await conn.scalar(select(func.count()).select_from(some)) or 0

    async def forget(self, age: timedelta, limit: int = 500) -> int:
        before = utcnow() - age
        async with self._db.begin() as conn:
            ended = select(*DELIVERIES.primary_key.columns).where(DELIVERIES.c.end_time < before).limit(limit)
            rows = (await conn.execute(ended)).all()
            for project, webhook_id, delivery_id in rows:
                this = DELIVERIES.c.delivery_id == delivery_id
                await conn.execute(delete(DELIVERIES).where(*owned(DELIVERIES, project, webhook_id), this))
            needed = exists().where(DELIVERIES.c.event_id == RECEIVED.c.id)
            await conn.execute(delete(RECEIVED).where(RECEIVED.c.received_at < before, ~needed))
            return len(rows)

    async def _wanted(
        self, conn: AsyncConnection, projects: set[str], events: Sequence[Event], *, lock: bool = False
    ) -> Sequence[tuple[Event, Sequence[Webhook]]]:
        rows = select(WEBHOOKS).where(WEBHOOKS.c.project.in_(projects), WEBHOOKS.c.disabled.is_(False))
        if lock:
            # None of them may be deleted before its deliveries are in.
            rows = rows.with_for_update(read=True, key_share=True)
        webhooks = [webhook_of(row) for row in await conn.execute(rows)]
        found = [
            (
                event,
                [
                    webhook
                    for webhook in webhooks
                    if webhook.project == event.project
                    and wants(webhook.event_types, event.type)
                    and event.time >= webhook.create_time - _CLOCKS_APART
                ],
            )
            for event in events
        ]
        return [(event, wanting) for event, wanting in found if wanting]

    async def _insert_event(self, conn: AsyncConnection, event: Event) -> bool:
        """Whether it is new."""
        body = json.dumps(event.body, separators=(",", ":"), ensure_ascii=False)
        values = {"id": event.id, "body": body, "received_at": utcnow()}
        insert_into = insert_postgresql if conn.dialect.name == "postgresql" else insert_sqlite
        statement: Any = insert_into(RECEIVED).values(**values).on_conflict_do_nothing()
        # What came back, because drivers do not agree on a count of rows.
        return await conn.scalar(statement.returning(RECEIVED.c.id)) is not None

    async def _read(self, conn: AsyncConnection, project: str, webhook_id: str, delivery_id: str) -> Delivery:
        await read_webhook(conn, project, webhook_id)
        found = await find_delivery(conn, project, webhook_id, delivery_id)
        if found is None:
            name = DELIVERY_NAME.format(project=project, webhook=webhook_id, delivery=delivery_id)
            raise NotFound(
                f"There is no {name}",
                field="name",
                reason="DELIVERY_NOT_FOUND",
                remedy="List the webhook's deliveries; those that ended long ago are forgotten.",
            )
        return found

    async def _tell_disabled(self, conn: AsyncConnection, webhook: Webhook) -> None:
        await self._outbox.append(
            conn,
            aggregate=webhook.name,
            type=DISABLED,
            subject=event_subject(webhook.project, "webhooks", webhook.webhook_id, "disabled"),
            source=webhook.name,
            payload=lambda event_id, sequence, moment: proto_mapping.disabled_event(
                webhook, event_id=event_id, sequence=sequence, moment=moment
            ),
        )


def _inserted(delivery: Delivery) -> dict[str, Any]:
    return {**delivery_values(delivery), "claim_token": ""}
