"""Reading the dataset store: one transaction's view, the same for readers and writers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.dataset.adapters import sql_queries
from services.dataset.adapters import sql_rows as rows
from services.dataset.adapters.sql_tables import datasets, idempotency_keys, images, version_images, versions
from services.dataset.models.faults import not_found
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, VersionImage
from services.dataset.ports import DatasetQuery, RequestKey


class SqlReader:
    """Implements ports.DatasetReader inside one transaction."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def dataset(self, ref: DatasetRef) -> Dataset:
        """See the port."""
        return rows.dataset_of(await self._one(select(datasets).where(of_dataset(datasets, ref)), ref.name))

    async def has_dataset(self, ref: DatasetRef) -> bool:
        """See the port."""
        statement = select(datasets.c.dataset_id).where(of_dataset(datasets, ref))
        return await self._conn.scalar(statement) is not None

    async def datasets(self, query: DatasetQuery) -> list[Dataset]:
        """See the port."""
        return [rows.dataset_of(row) for row in await self._all(sql_queries.page(query))]

    async def count_datasets(self, query: DatasetQuery) -> int:
        """See the port."""
        return await self._conn.scalar(sql_queries.total(query)) or 0

    async def image(self, ref: ImageRef) -> Image:
        """See the port."""
        return rows.image_of(await self._one(select(images).where(of_image(images, ref)), ref.name))

    async def images(self, ref: DatasetRef) -> list[Image]:
        """See the port."""
        statement = select(images).where(of_dataset(images, ref)).order_by(images.c.position)
        return [rows.image_of(row) for row in await self._all(statement)]

    async def image_with_bytes(self, ref: DatasetRef, sha256: str) -> Image | None:
        """See the port."""
        found = await self._all(select(images).where(of_dataset(images, ref), images.c.sha256 == sha256))
        return rows.image_of(found[0]) if found else None

    async def version(self, ref: VersionRef) -> DatasetVersion:
        """See the port."""
        statement = select(versions).where(of_dataset(versions, ref.dataset), versions.c.number == ref.number)
        return rows.version_of(await self._one(statement, ref.name))

    async def versions(self, ref: DatasetRef, *, before: int | None, limit: int) -> list[DatasetVersion]:
        """See the port."""
        statement = select(versions).where(of_dataset(versions, ref)).order_by(versions.c.number.desc()).limit(limit)
        if before is not None:
            statement = statement.where(versions.c.number < before)
        return [rows.version_of(row) for row in await self._all(statement)]

    async def count_versions(self, ref: DatasetRef) -> int:
        """See the port."""
        statement = select(func.count()).select_from(versions).where(of_dataset(versions, ref))
        return await self._conn.scalar(statement) or 0

    async def version_with_contents(self, ref: DatasetRef, digest: str, trigger_word: str) -> DatasetVersion | None:
        """See the port."""
        same = (versions.c.digest == digest, versions.c.trigger_word == trigger_word)
        statement = select(versions).where(of_dataset(versions, ref), *same).order_by(versions.c.number.desc()).limit(1)
        found = await self._all(statement)
        return rows.version_of(found[0]) if found else None

    async def version_image(self, ref: VersionImageRef) -> VersionImage:
        """See the port."""
        statement = select(version_images).where(
            _of_version(ref.version), version_images.c.image_id == ref.image
        )
        return rows.version_image_of(await self._one(statement, ref.name))

    async def version_images(self, ref: VersionRef, *, after: int, limit: int | None) -> list[VersionImage]:
        """See the port."""
        statement = (
            select(version_images)
            .where(_of_version(ref), version_images.c.position > after)
            .order_by(version_images.c.position)
            .limit(limit)
        )
        return [rows.version_image_of(row) for row in await self._all(statement)]

    async def request_is_known(self, key: RequestKey) -> bool:
        """See the port."""
        keys = idempotency_keys.c
        statement = select(keys.digest).where(
            keys.project == key.project, keys.method == key.method, keys.request_id == key.request_id
        )
        return bool(key.request_id) and await self._conn.scalar(statement) is not None

    async def _all(self, statement: Select[Any]) -> list[rows.Values]:
        return [dict(row) for row in (await self._conn.execute(statement)).mappings()]

    async def _one(self, statement: Select[Any], name: str) -> rows.Values:
        found = await self._all(statement)
        if not found:
            raise not_found(name)
        return found[0]


def of_dataset(table: Table, ref: DatasetRef) -> ColumnElement[bool]:
    """The rows of one dataset."""
    return and_(table.c.project == ref.project, table.c.dataset_id == ref.dataset)


def of_image(table: Table, ref: ImageRef) -> ColumnElement[bool]:
    """The row of one image, or its rows in all versions."""
    return and_(of_dataset(table, ref.dataset), table.c.image_id == ref.image)


def _of_version(ref: VersionRef) -> ColumnElement[bool]:
    return and_(of_dataset(version_images, ref.dataset), version_images.c.number == ref.number)
