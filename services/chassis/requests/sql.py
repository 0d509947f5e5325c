"""The table of remembered requests."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import (
    Column,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    RowMapping,
    String,
    Table,
    delete,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.requests.keys import RequestKey
from services.chassis.sql import UtcDateTime, utcnow


def idempotency_table(metadata: MetaData, name: str = "idempotency_keys") -> Table:
    """The table of remembered requests, for a service's metadata and its first migration."""
    return Table(
        name,
        metadata,
        Column("project", String(64), nullable=False),
        Column("method", String(64), nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("resource_name", String(512), nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        PrimaryKeyConstraint("project", "method", "request_id"),
        Index(f"ix_{name}_created_at", "created_at"),
    )


class RememberedRequests:
    """Remembers which resource a request made or moved."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def recall(self, conn: AsyncConnection, key: RequestKey) -> str | None:
        """The name of the resource of this request, None when it is new or has no request_id.

        Raises InvalidArgument(reason=REQUEST_ID_REUSED) when the id was used for a request of other content.
        """
        row = await self._row(conn, key)
        if row is None:
            return None
        key.check_same(row["digest"])
        return str(row["resource_name"])

    async def is_known(self, conn: AsyncConnection, key: RequestKey) -> bool:
        """Whether a request with this id has succeeded, whatever its digest."""
        return await self._row(conn, key) is not None

    async def remember(self, conn: AsyncConnection, key: RequestKey, name: str) -> None:
        """Notes the resource in the caller's write transaction; does nothing without a request_id.

        Of two equal requests at the same moment the slower one breaks the primary key: its transaction rolls back with
        IntegrityError, and repeating it recalls the winner's resource.
        """
        if key.request_id:
            await conn.execute(
                insert(self._table).values(
                    project=key.project,
                    method=key.method,
                    request_id=key.request_id,
                    digest=key.digest,
                    resource_name=name,
                    created_at=utcnow(),
                )
            )

    async def take_turn(self, conn: AsyncConnection, key: RequestKey) -> None:
        """Makes equal requests wait for each other until the transaction ends, for those whom a rollback costs much."""
        # On SQLite write transactions take turns anyway.
        if key.request_id and conn.dialect.name == "postgresql":
            lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:request, 0))")
            await conn.execute(lock, {"request": f"{key.project}|{key.method}|{key.request_id}"})

    async def forget_older_than(self, conn: AsyncConnection, age: timedelta) -> int:
        """Deletes what is older than `age` and returns how many that were."""
        result = await conn.execute(delete(self._table).where(self._table.c.created_at < utcnow() - age))
        return int(result.rowcount)

    async def _row(self, conn: AsyncConnection, key: RequestKey) -> RowMapping | None:
        columns = self._table.c
        if not key.request_id:
            return None
        remembered = select(columns.digest, columns.resource_name).where(
            columns.project == key.project, columns.method == key.method, columns.request_id == key.request_id
        )
        return (await conn.execute(remembered)).mappings().one_or_none()
