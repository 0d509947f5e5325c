"""Creates that may be repeated (https://google.aip.dev/155): the same request_id gives the same resource.

A use case recalls before it creates and remembers in the same write transaction, so a repeated call either finds the
whole resource or nothing.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import Column, Index, MetaData, PrimaryKeyConstraint, String, Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.errors import InvalidArgument
from services.chassis.sql import UtcDateTime, utcnow


def idempotency_table(metadata: MetaData, name: str = "idempotency_keys") -> Table:
    """The table of remembered creates, for a service's metadata and its first migration."""
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


def digest(*parts: object) -> str:
    """A digest of what a request asks for; give it plain values (strings, numbers, tuples, frozen dataclasses)."""
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode()).hexdigest()


class Idempotency:
    """Remembers which resource a request_id made."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def recall(
        self, conn: AsyncConnection, *, project: str, method: str, request_id: str, digest: str
    ) -> str | None:
        """The name of the resource that this request made before, None when it is new or has no request_id.

        Raises InvalidArgument(reason=REQUEST_ID_REUSED) when the id was used for a request of other content.
        """
        if not request_id:
            return None
        keys = self._table.c
        row = (
            await conn.execute(
                select(keys.digest, keys.resource_name).where(
                    keys.project == project, keys.method == method, keys.request_id == request_id
                )
            )
        ).one_or_none()
        if row is None:
            return None
        if row.digest != digest:
            raise InvalidArgument(
                "This request_id was used for a different request",
                field="request_id",
                reason="REQUEST_ID_REUSED",
                remedy="Use a new random request_id (a UUID) for every new request.",
            )
        return str(row.resource_name)

    async def remember(
        self, conn: AsyncConnection, *, project: str, method: str, request_id: str, digest: str, name: str
    ) -> None:
        """Notes the resource in the caller's write transaction; does nothing without a request_id.

        Of two equal requests at the same moment the slower one breaks the primary key: its transaction rolls back with
        IntegrityError, and repeating it recalls the winner's resource.
        """
        if request_id:
            await conn.execute(
                insert(self._table).values(
                    project=project,
                    method=method,
                    request_id=request_id,
                    digest=digest,
                    resource_name=name,
                    created_at=utcnow(),
                )
            )

    async def forget_older_than(self, conn: AsyncConnection, age: timedelta) -> int:
        """Deletes what is older than `age` and returns how many that were."""
        result = await conn.execute(delete(self._table).where(self._table.c.created_at < utcnow() - age))
        return int(result.rowcount)
