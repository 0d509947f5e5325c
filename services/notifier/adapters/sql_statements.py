"""The statements of which the stores' transactions are made; each runs on the caller's connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import ColumnElement, Table, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.errors import NotFound
from services.chassis.sql import Database, unique_violation
from services.notifier.adapters.sql_rows import delivery_of, delivery_values, webhook_of, webhook_values
from services.notifier.adapters.sql_tables import DELIVERIES, RECEIVED, WEBHOOKS
from services.notifier.models.deliveries import Delivery
from services.notifier.models.webhooks import WEBHOOK_NAME, Webhook

T = TypeVar("T")
# Two transactions that insert the same key: the later one fails and finds the row when it starts again.
_ATTEMPTS = 5


def owned(table: Table, project: str, webhook_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The condition for the rows of one webhook."""
    return table.c.project == project, table.c.webhook_id == webhook_id


async def find_webhook(conn: AsyncConnection, project: str, webhook_id: str, *, lock: bool = False) -> Webhook | None:
    """A webhook; with `lock` other writers of it wait until the transaction ends."""
    query = select(WEBHOOKS).where(*owned(WEBHOOKS, project, webhook_id))
    # SQLite leaves FOR UPDATE out: its write transactions take turns anyway.
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else webhook_of(row)


async def read_webhook(conn: AsyncConnection, project: str, webhook_id: str, *, lock: bool = False) -> Webhook:
    """Raises NotFound(WEBHOOK_NOT_FOUND)."""
    found = await find_webhook(conn, project, webhook_id, lock=lock)
    if found is None:
        name = WEBHOOK_NAME.format(project=project, webhook=webhook_id)
        raise NotFound(
            f"There is no {name}",
            field="name",
            reason="WEBHOOK_NOT_FOUND",
            remedy="List the project's webhooks to see what there is.",
        )
    return found


async def write_webhook(conn: AsyncConnection, webhook: Webhook) -> None:
    """All columns of one that is there."""
    mine = owned(WEBHOOKS, webhook.project, webhook.webhook_id)
    await conn.execute(update(WEBHOOKS).where(*mine).values(**webhook_values(webhook)))


async def find_delivery(
    conn: AsyncConnection, project: str, webhook_id: str, delivery_id: str, *, token: str | None = None
) -> Delivery | None:
    """A delivery with its body; None when it is gone, or claimed under another token than the given."""
    mine = [*owned(DELIVERIES, project, webhook_id), DELIVERIES.c.delivery_id == delivery_id]
    if token is not None:
        mine.append(DELIVERIES.c.claim_token == token)
    body = select(DELIVERIES, RECEIVED.c.body).outerjoin(RECEIVED, RECEIVED.c.id == DELIVERIES.c.event_id)
    row = (await conn.execute(body.where(*mine))).one_or_none()
    return None if row is None else delivery_of(row, row._mapping["body"] or "")


async def write_delivery(conn: AsyncConnection, delivery: Delivery, *, token: str = "") -> None:
    """All columns of one that is there. token: of its claim, "" for none."""
    mine = owned(DELIVERIES, delivery.project, delivery.webhook_id)
    values = {**delivery_values(delivery), "claim_token": token}
    await conn.execute(
        update(DELIVERIES).where(*mine, DELIVERIES.c.delivery_id == delivery.delivery_id).values(**values)
    )


async def count_webhooks(conn: AsyncConnection, project: str) -> int:
    """How many a project has."""
    return await conn.scalar(select(func.count()).select_from(WEBHOOKS).where(WEBHOOKS.c.project == project)) or 0


async def take_turn(conn: AsyncConnection, project: str) -> None:
    """Makes those who add webhooks to a project wait for each other until the transaction ends."""
    # SQLite has one writer anyway.
    if conn.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:kept, 0))")
        await conn.execute(lock, {"kept": f"webhooks|{project}"})


async def repeated(db: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """A write transaction, made again when another one inserted the same key meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with db.begin() as conn:
                return await work(conn)
        except IntegrityError as error:
            if attempt == _ATTEMPTS or not unique_violation(error):
                raise
    raise AssertionError("the last attempt returns or raises")
