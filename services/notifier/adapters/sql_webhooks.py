"""The store of webhooks over SQLite or PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import names
from services.chassis.errors import AlreadyExists
from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.chassis.sql import Database, utcnow
from services.notifier.adapters.sql_rows import webhook_of, webhook_values
from services.notifier.adapters.sql_statements import (
    count_webhooks,
    find_webhook,
    owned,
    read_webhook,
    repeated,
    take_turn,
    write_webhook,
)
from services.notifier.adapters.sql_tables import REQUESTS, WEBHOOKS
from services.notifier.models.webhooks import WEBHOOK_NAME, NewWebhook, Webhook, WebhookChanges
from services.notifier.ports import WEBHOOKS as WEBHOOK_LISTING
from services.notifier.ports import Admit

_LIST = SqlListing(WEBHOOK_LISTING, WEBHOOKS, {"display_name": WEBHOOKS.c.search_name})


class SqlWebhookStore:
    """Implements ports.WebhookStore."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._requests = RememberedRequests(REQUESTS)

    async def recall(self, key: RequestKey) -> str | None:
        """See ports.WebhookStore, here and below."""
        async with self._db.connect() as conn:
            return await self._requests.recall(conn, key)

    async def create(self, new: NewWebhook, secret: str, key: RequestKey, admit: Admit | None = None) -> Webhook:
        async def work(conn: AsyncConnection) -> Webhook:
            if admit is not None:
                await take_turn(conn, new.project)
            earlier = await self._requests.recall(conn, key)
            if earlier is not None:
                return await read_webhook(conn, new.project, WEBHOOK_NAME.parse(earlier)["webhook"])
            there = await find_webhook(conn, new.project, new.webhook_id)
            if there is not None:
                # An equal request may have made it since the look above.
                if await self._requests.recall(conn, key) is not None:
                    return there
                raise AlreadyExists(
                    f"The webhook '{new.webhook_id}' already exists",
                    field="webhook_id",
                    reason="WEBHOOK_EXISTS",
                    remedy="Choose another id, or change the existing webhook.",
                )
            if admit is not None:
                admit(await count_webhooks(conn, new.project))
            now = utcnow()
            made = Webhook(
                new.project, new.webhook_id, names.new_uuid(), new.display_name, new.url, new.event_types, new.disabled,
                disabled_reason="", secret=secret, previous_secret="", previous_until=None, failing_since=None,
                last_success_time=None, revision=1, create_time=now, update_time=now, labels=new.labels,
            )  # fmt: skip
            await conn.execute(insert(WEBHOOKS).values(**webhook_values(made)))
            await self._requests.remember(conn, key, made.name)
            return made

        return await repeated(self._db, work)

    async def get(self, project: str, webhook_id: str) -> Webhook:
        async with self._db.connect() as conn:
            return await read_webhook(conn, project, webhook_id)

    async def list(self, project: str, query: Query) -> tuple[list[Webhook], int]:
        mine = WEBHOOKS.c.project == project
        async with self._db.connect() as conn:
            total = await _LIST.count(conn, query, mine)
            return [webhook_of(row) for row in await conn.execute(_LIST.page(query, mine))], total

    async def update(self, project: str, webhook_id: str, changes: WebhookChanges, etag: str) -> Webhook:
        async with self._db.begin() as conn:
            webhook = await read_webhook(conn, project, webhook_id, lock=True)
            names.check_etag(etag, webhook.etag, field="webhook.etag")
            given = {name: getattr(changes, name) for name in WebhookChanges.__dataclass_fields__}
            changed = replace(
                webhook,
                **{name: value for name, value in given.items() if value is not None},
                revision=webhook.revision + 1,
                update_time=utcnow(),
            )
            if changes.disabled is not None:
                changed = replace(changed, disabled_reason="")
            if changes.disabled is False and webhook.disabled:
                changed = replace(changed, failing_since=None)
            await write_webhook(conn, changed)
            return changed

    async def delete(self, project: str, webhook_id: str, etag: str) -> None:
        async with self._db.begin() as conn:
            webhook = await read_webhook(conn, project, webhook_id, lock=True)
            names.check_etag(etag, webhook.etag)
            await conn.execute(delete(WEBHOOKS).where(*owned(WEBHOOKS, project, webhook_id)))

    async def rotate(
        self, project: str, webhook_id: str, secret: str, previous_until: datetime | None, key: RequestKey
    ) -> Webhook:
        async def work(conn: AsyncConnection) -> Webhook:
            webhook = await read_webhook(conn, project, webhook_id, lock=True)
            if await self._requests.recall(conn, key) is not None:
                return webhook
            rotated = replace(
                webhook,
                secret=secret,
                previous_secret=webhook.secret if previous_until else "",
                previous_until=previous_until,
                revision=webhook.revision + 1,
                update_time=utcnow(),
            )
            await write_webhook(conn, rotated)
            await self._requests.remember(conn, key, webhook.name)
            return rotated

        return await repeated(self._db, work)

    async def count(self, project: str) -> int:
        async with self._db.connect() as conn:
            return await count_webhooks(conn, project)

    async def forget_requests(self, age: timedelta) -> int:
        async with self._db.begin() as conn:
            return await self._requests.forget_older_than(conn, age)
