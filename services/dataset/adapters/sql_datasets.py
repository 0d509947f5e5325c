"""The dataset store on SQLite and PostgreSQL.

A change of a dataset begins with the lock of its row (`FOR UPDATE`; SQLite has one writer anyway), so the counters on
that row and the limits that are checked against them cannot be raced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.errors import Aborted
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.sql import Database, unique_violation, utcnow
from services.dataset.adapters import sql_events
from services.dataset.adapters import sql_rows as rows
from services.dataset.adapters.sql_edits import HOLDERS, SqlEdits
from services.dataset.adapters.sql_reader import REQUESTS, SqlReader, of_dataset, of_image
from services.dataset.adapters.sql_tables import (
    datasets,
    edit_images,
    edits,
    images,
    noted_keys,
    version_images,
    versions,
)
from services.dataset.adapters.sql_usage import count, usage_of
from services.dataset.models.events import DatasetEvent, Deleted, ImageChange
from services.dataset.models.faults import dataset_exists
from services.dataset.models.names import DatasetRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, Mask, VersionImage
from services.dataset.models.usage import ProjectUsage
from services.dataset.ports import DatasetReader, DatasetWriter


class SqlDatasetStore:
    """Implements ports.DatasetStore."""

    def __init__(self, db: Database, outbox: Outbox) -> None:
        self._db = db
        self._outbox = outbox

    @asynccontextmanager
    async def read(self) -> AsyncIterator[DatasetReader]:
        """See the port."""
        async with self._db.connect() as conn:
            yield SqlReader(conn)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[DatasetWriter]:
        """See the port."""
        async with self._db.begin() as conn:
            writer = SqlWriter(conn, self._outbox)
            yield writer
        for name in writer.told:
            self._outbox.signals.notify(name)

    async def tell_images(self, *, quiet: timedelta, longest: timedelta) -> int:
        """See the port."""
        return await sql_events.tell_settled(self._db, self._outbox, quiet=quiet, longest=longest)

    async def claim_keys(self, *, due: datetime, keys: Sequence[str] | None = None, limit: int = 500) -> list[str]:
        """See the port."""
        columns = noted_keys.c
        wanted = columns.due <= due if keys is None else columns.key.in_(keys)
        among = [] if keys is None else [columns.key.in_(keys)]
        async with self._db.begin() as conn:
            await conn.execute(update(noted_keys).where(wanted, columns.claimed.is_(False)).values(claimed=True))
            claimed = select(columns.key).where(columns.claimed.is_(True), *among).order_by(columns.due).limit(limit)
            return [str(row.key) for row in await conn.execute(claimed)]

    async def forget_keys(self, keys: Sequence[str]) -> None:
        """See the port."""
        async with self._db.begin() as conn:
            await conn.execute(delete(noted_keys).where(noted_keys.c.key.in_(keys), noted_keys.c.claimed.is_(True)))

    async def forget_requests(self, *, before: datetime) -> int:
        """See the port."""
        async with self._db.begin() as conn:
            return await REQUESTS.forget_older_than(conn, max(utcnow() - before, timedelta()))


class SqlWriter(SqlEdits):
    """Implements ports.DatasetWriter inside one transaction. told: whose events wait for its end."""

    def __init__(self, conn: AsyncConnection, outbox: Outbox) -> None:
        super().__init__(conn)
        self._outbox = outbox
        self.told: list[str] = []

    async def tell(self, ref: DatasetRef, event: DatasetEvent) -> None:
        """See the port."""
        await sql_events.tell(self._conn, self._outbox, ref, event)
        self.told.append(ref.name)

    async def lock_dataset(self, ref: DatasetRef) -> Dataset:
        """See the port."""
        statement = select(datasets).where(of_dataset(datasets, ref)).with_for_update()
        return rows.dataset_of(await self._one(statement, ref.name))

    async def lock_usage(self, project: str) -> ProjectUsage:
        """See the port."""
        return await usage_of(self._conn, project, lock=True)

    async def add_dataset(self, dataset: Dataset) -> None:
        """See the port."""
        try:
            await self._conn.execute(insert(datasets).values(rows.dataset_values(dataset)))
        except IntegrityError as error:
            if not unique_violation(error):
                raise
            raise dataset_exists(dataset.ref) from error
        await count(self._conn, dataset.ref.project, datasets=1)

    async def save_dataset(self, dataset: Dataset) -> None:
        """See the port."""
        values = rows.dataset_values(dataset)
        await self._conn.execute(update(datasets).where(of_dataset(datasets, dataset.ref)).values(values))

    async def remove_dataset(self, ref: DatasetRef) -> None:
        """See the port."""
        sizes: dict[str, int] = {}
        for table in (images, version_images):
            columns = table.c.original_key, table.c.size_bytes, table.c.thumbnail_key, table.c.thumbnail_bytes
            for row in await self._conn.execute(select(*columns).where(of_dataset(table, ref))):
                sizes |= {row.original_key: row.size_bytes, row.thumbnail_key: row.thumbnail_bytes}
        for table in HOLDERS:
            masks = select(table.c.mask_key, table.c.mask_bytes).where(table.c.mask_key.is_not(None))
            for mask in await self._conn.execute(masks.where(of_dataset(table, ref))):
                sizes[mask.mask_key] = mask.mask_bytes
        gone = {}
        for table in (edit_images, edits, version_images, versions, images, datasets):
            gone[table] = (await self._conn.execute(delete(table).where(of_dataset(table, ref)))).rowcount
        await self._release(sorted(sizes))
        less = {"images": -gone[images], "stored_bytes": -sum(sizes.values())}
        await count(self._conn, ref.project, datasets=-gone[datasets], **less)
        await self.tell(ref, Deleted(gone[images], gone[versions]))
        await self._outbox.close(self._conn, ref.name)

    async def add_image(self, image: Image) -> None:
        """See the port."""
        await self._conn.execute(insert(images).values(rows.image_values(image)))
        await sql_events.note(self._conn, image.ref, ImageChange.ADDED)
        await count(self._conn, image.ref.dataset.project, images=1, stored_bytes=image.picture.stored_bytes)

    async def save_image(self, image: Image) -> None:
        """See the port."""
        await self._conn.execute(update(images).where(of_image(images, image.ref)).values(rows.image_values(image)))
        await sql_events.note(self._conn, image.ref, ImageChange.UPDATED)

    async def keep_mask(self, ref: DatasetRef, mask: Mask) -> None:
        """See the port."""
        await self.keep_keys([mask.key])
        await count(self._conn, ref.project, stored_bytes=mask.size_bytes)

    async def remove_image(self, image: Image) -> None:
        """See the port."""
        masks = {image.mask.key: image.mask.size_bytes} if image.mask else {}
        held = select(edit_images.c.mask_key, edit_images.c.mask_bytes).where(edit_images.c.mask_key.is_not(None))
        for row in await self._conn.execute(held.where(of_image(edit_images, image.ref))):
            masks[row.mask_key] = row.mask_bytes
        for table in (images, edit_images):
            await self._conn.execute(delete(table).where(of_image(table, image.ref)))
        await self._release_masks(image.ref.dataset, masks)
        pins = select(version_images.c.number).where(of_image(version_images, image.ref)).limit(1)
        pinned = await self._conn.scalar(pins) is not None
        freed = 0 if pinned else image.picture.stored_bytes
        if not pinned:
            await self._release(image.picture.keys)
        await count(self._conn, image.ref.dataset.project, images=-1, stored_bytes=-freed)
        await sql_events.note(self._conn, image.ref, ImageChange.DELETED)

    async def add_version(self, version: DatasetVersion, pinned: Sequence[VersionImage]) -> None:
        """See the port."""
        await self._conn.execute(insert(versions).values(rows.version_values(version)))
        await self._conn.execute(insert(version_images), [rows.version_image_values(image) for image in pinned])

    async def label_version(self, ref: VersionRef, labels: Mapping[str, str]) -> None:
        """See the port."""
        own = of_dataset(versions, ref.dataset), versions.c.number == ref.number
        await self._conn.execute(update(versions).where(*own).values(labels=dict(labels)))

    async def remove_version(self, ref: VersionRef) -> None:
        """See the port."""
        own = and_(of_dataset(version_images, ref.dataset), version_images.c.number == ref.number)
        pinned = await self._all(select(version_images).where(own))
        await self._conn.execute(delete(version_images).where(own))
        number = versions.c.number == ref.number
        await self._conn.execute(delete(versions).where(of_dataset(versions, ref.dataset), number))
        frozen = [rows.version_image_of(row) for row in pinned]
        await self._release_masks(ref.dataset, {one.mask.key: one.mask.size_bytes for one in frozen if one.mask})
        held: set[str] = set()
        for table in (images, version_images):
            held |= set(await self._conn.scalars(select(table.c.image_id).where(of_dataset(table, ref.dataset))))
        free = [image.picture for image in frozen if image.ref.image not in held]
        await self._release([key for picture in free for key in picture.keys])
        await count(self._conn, ref.dataset.project, stored_bytes=-sum(picture.stored_bytes for picture in free))

    async def recall(self, key: RequestKey) -> str | None:
        """See the port."""
        await REQUESTS.take_turn(self._conn, key)
        return await REQUESTS.recall(self._conn, key)

    async def remember(self, key: RequestKey, name: str) -> None:
        """See the port."""
        await REQUESTS.remember(self._conn, key, name)

    async def reserve_keys(self, keys: Sequence[str], *, until: datetime) -> None:
        """See the port."""
        await self._note(keys, due=until, claimed=False)

    async def keep_keys(self, keys: Sequence[str]) -> None:
        """See the port."""
        columns = noted_keys.c
        mine: ColumnElement[bool] = and_(columns.key.in_(keys), columns.claimed.is_(False))
        kept = await self._conn.execute(delete(noted_keys).where(mine))
        if kept.rowcount != len(keys):
            raise Aborted(
                "Storing the picture took so long that its place was given up",
                reason="UPLOAD_TOO_SLOW",
                remedy="Upload it again.",
            )

    async def _note(self, keys: Sequence[str], *, due: datetime, claimed: bool) -> None:
        if keys:
            values: list[dict[str, Any]] = [{"key": key, "due": due, "claimed": claimed} for key in keys]
            await self._conn.execute(insert(noted_keys), values)
