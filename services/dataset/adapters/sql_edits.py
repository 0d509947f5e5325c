"""Writing edits and masks: the part of the dataset store's transaction that keeps what can be undone.

A mask's bytes belong to whoever refers to its key: an image, a version's image, or a change of an edit that would
bring it back. They are released with the last of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select, update

from services.chassis.sql import utcnow
from services.dataset.adapters import sql_rows as rows
from services.dataset.adapters.sql_reader import SqlReader, of_dataset, of_edit
from services.dataset.adapters.sql_tables import edit_images, edits, images, noted_keys, version_images
from services.dataset.adapters.sql_usage import count
from services.dataset.models.edits import Edit, ImageChange
from services.dataset.models.names import DatasetRef, EditRef

HOLDERS = (images, version_images, edit_images)
"""Whose rows refer to masks."""


class SqlEdits(SqlReader):
    """The edits' part of ports.DatasetWriter."""

    async def add_edit(self, edit: Edit) -> None:
        """See the port."""
        await self._conn.execute(insert(edits).values(rows.edit_values(edit)))

    async def save_edit(self, edit: Edit) -> None:
        """See the port."""
        await self._conn.execute(update(edits).where(of_edit(edits, edit.ref)).values(rows.edit_values(edit)))

    async def mark_undone(self, ref: EditRef, by: int) -> None:
        """See the port."""
        await self._conn.execute(update(edits).where(of_edit(edits, ref)).values(undone_by=by))

    async def add_changes(self, ref: EditRef, changes: Sequence[ImageChange]) -> None:
        """See the port."""
        await self._conn.execute(insert(edit_images), [rows.change_values(ref, change) for change in changes])

    async def thin_edits(self, ref: DatasetRef, *, keep: int) -> None:
        """See the port."""
        kept = select(edits.c.number, edits.c.changed_images).where(of_dataset(edits, ref))
        found = (await self._conn.execute(kept.order_by(edits.c.number.desc()))).all()
        large = [row.number for row in found if row.changed_images > 1]
        small = [row.number for row in found if row.changed_images <= 1]
        old = [*large[keep:], *small[keep:]]
        if not old:
            return
        masks = await self._masks_of_edits(ref, old)
        for table in (edit_images, edits):
            await self._conn.execute(delete(table).where(of_dataset(table, ref), table.c.number.in_(old)))
        await self._release_masks(ref, masks)

    async def _masks_of_edits(self, ref: DatasetRef, numbers: Collection[int]) -> dict[str, int]:
        columns = edit_images.c
        mine = (of_dataset(edit_images, ref), columns.number.in_(numbers), columns.mask_key.is_not(None))
        found = await self._conn.execute(select(columns.mask_key, columns.mask_bytes).where(*mine))
        return {row.mask_key: row.mask_bytes for row in found}

    async def _release_masks(self, ref: DatasetRef, sizes: dict[str, int]) -> None:
        """Releases those of the masks that nobody refers to any more. sizes: bytes by key."""
        held: set[str] = set()
        for table in HOLDERS if sizes else ():
            column = table.c.mask_key
            held |= set(await self._conn.scalars(select(column).where(of_dataset(table, ref), column.in_(sizes))))
        free = sorted(sizes.keys() - held)
        await self._release(free)
        if free:
            await count(self._conn, ref.project, stored_bytes=-sum(sizes[key] for key in free))

    async def _release(self, keys: Sequence[str]) -> None:
        if keys:
            values = [{"key": key, "due": utcnow(), "claimed": True} for key in keys]
            await self._conn.execute(insert(noted_keys), values)
