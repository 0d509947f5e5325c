"""Every file of finished epochs, the checkpoint from which each job would go on, and base models of projects."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import func, select

from services.chassis.file_check import NamedFile
from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import base_models, epochs


async def named_files(db: Database) -> AsyncIterator[NamedFile]:
    """Raises Unavailable."""
    table = epochs.c
    last = select(table.job, func.max(table.number).label("number")).group_by(table.job).subquery()
    found = select(table.job, table.number, table.files, table.checkpoint, last.c.number.label("last")).join(
        last, last.c.job == table.job
    )
    async with db.connect() as conn:
        async for row in await conn.stream(found):
            # Checkpoints before the last one are removed; nothing goes on from them.
            for file in (*row.files, *(row.checkpoint if row.number == row.last else ())):
                yield NamedFile(f"{row.job}/epochs/{row.number}", file["object_key"], file["size_bytes"])
        async for own in await conn.stream(select(base_models.c.name, base_models.c.parts)):
            for part in own.parts:
                yield NamedFile(own.name, part["object_key"], part["size_bytes"])
