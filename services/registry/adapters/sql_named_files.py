"""Every file that a model version has."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import select

from services.chassis.file_check import NamedFile
from services.chassis.sql import Database
from services.registry.adapters.s3_files import PREFIX
from services.registry.adapters.sql_tables import FILES


async def named_files(db: Database) -> AsyncIterator[NamedFile]:
    """Raises Unavailable."""
    async with db.connect() as conn:
        async for row in await conn.stream(select(FILES)):
            owner = f"projects/{row.project}/models/{row.model_id}/versions/{row.number}"
            yield NamedFile(owner, PREFIX + row.object_key, row.size_bytes)
