"""Every file of images, live and frozen: originals, thumbnails, masks, and the masks that an edit can bring back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import select

from services.chassis.file_check import NamedFile
from services.chassis.sql import Database
from services.dataset.adapters.sql_tables import edit_images, images, version_images


async def named_files(db: Database) -> AsyncIterator[NamedFile]:
    """Raises Unavailable."""
    async with db.connect() as conn:
        for table in (images, version_images):
            async for row in await conn.stream(select(table)):
                dataset = f"projects/{row.project}/datasets/{row.dataset_id}"
                version = f"/versions/{row.number}" if table is version_images else ""
                owner = f"{dataset}{version}/images/{row.image_id}"
                yield NamedFile(owner, row.original_key, row.size_bytes)
                yield NamedFile(owner, row.thumbnail_key, row.thumbnail_bytes)
                if row.mask_key is not None:
                    yield NamedFile(owner, row.mask_key, row.mask_bytes)
        async for row in await conn.stream(select(edit_images).where(edit_images.c.mask_key.is_not(None))):
            owner = f"projects/{row.project}/datasets/{row.dataset_id}/edits/{row.number}"
            yield NamedFile(owner, row.mask_key, row.mask_bytes)
