"""Reading the dataset store: one transaction's view, the same for readers and writers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.dataset.adapters import sql_rows as rows
from services.dataset.adapters.sql_tables import (
    datasets,
    edit_images,
    edits,
    idempotency_keys,
    images,
    version_images,
    versions,
)
from services.dataset.adapters.sql_usage import usage_of
from services.dataset.models.edits import Edit, ImageChange
from services.dataset.models.faults import not_found
from services.dataset.models.names import DatasetRef, EditRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, VersionImage
from services.dataset.models.usage import ProjectUsage
from services.dataset.ports import DATASETS, VERSION_IMAGES, VERSIONS

REQUESTS = RememberedRequests(idempotency_keys)
_DATASETS = SqlListing(DATASETS, datasets, {"display_name": datasets.c.folded_name})
_VERSIONS = SqlListing(VERSIONS, versions)
_VERSION_IMAGES = SqlListing(VERSION_IMAGES, version_images)


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

    async def projects(self) -> dict[str, int]:
        """See the port."""
        counted = select(datasets.c.project, func.count().label("held")).group_by(datasets.c.project)
        return {str(row["project"]): int(row["held"]) for row in await self._all(counted)}

    async def datasets(self, project: str, query: Query) -> tuple[list[Dataset], int]:
        """See the port."""
        mine = datasets.c.project == project
        found = [rows.dataset_of(row) for row in await self._all(_DATASETS.page(query, mine))]
        return found, await _DATASETS.count(self._conn, query, mine)

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

    async def versions(self, ref: DatasetRef, query: Query) -> tuple[list[DatasetVersion], int]:
        """See the port."""
        mine = of_dataset(versions, ref)
        found = [rows.version_of(row) for row in await self._all(_VERSIONS.page(query, mine))]
        return found, await _VERSIONS.count(self._conn, query, mine)

    async def count_versions(self, ref: DatasetRef) -> int:
        """See the port."""
        statement = select(func.count()).select_from(versions).where(of_dataset(versions, ref))
        return await self._conn.scalar(statement) or 0

    async def version_like(self, version: DatasetVersion) -> DatasetVersion | None:
        """See the port."""
        words = ("digest", "trigger_word", "subject", "text_from")
        same = [versions.c[name] == getattr(version, name) for name in words]
        mine = select(versions).where(of_dataset(versions, version.ref.dataset), *same)
        statement = mine.order_by(versions.c.number.desc()).limit(1)
        found = await self._all(statement)
        return rows.version_of(found[0]) if found else None

    async def version_image(self, ref: VersionImageRef) -> VersionImage:
        """See the port."""
        statement = select(version_images).where(_of_version(ref.version), version_images.c.image_id == ref.image)
        return rows.version_image_of(await self._one(statement, ref.name))

    async def version_images(self, ref: VersionRef, query: Query) -> list[VersionImage]:
        """See the port."""
        statement = _VERSION_IMAGES.page(query, _of_version(ref))
        return [rows.version_image_of(row) for row in await self._all(statement)]

    async def edits(self, ref: DatasetRef) -> list[Edit]:
        """See the port."""
        mine = select(edits).where(of_dataset(edits, ref)).order_by(edits.c.number.desc())
        touched: dict[int, list[str]] = {}
        columns = edit_images.c
        for row in await self._conn.execute(
            select(columns.number, columns.image_id).where(of_dataset(edit_images, ref)).order_by(columns.image_id)
        ):
            touched.setdefault(row.number, []).append(row.image_id)
        return [rows.edit_of(row, tuple(touched.get(row["number"], ()))) for row in await self._all(mine)]

    async def newest_edit(self, ref: DatasetRef) -> Edit | None:
        """See the port."""
        statement = select(edits).where(of_dataset(edits, ref)).order_by(edits.c.number.desc()).limit(1)
        found = await self._all(statement)
        return await self._with_images(found[0]) if found else None

    async def edit(self, ref: EditRef) -> Edit:
        """See the port."""
        return await self._with_images(await self._one(select(edits).where(of_edit(edits, ref)), ref.name))

    async def changes(self, ref: EditRef) -> list[ImageChange]:
        """See the port."""
        statement = select(edit_images).where(of_edit(edit_images, ref)).order_by(edit_images.c.image_id)
        return [rows.change_of(row) for row in await self._all(statement)]

    async def usage(self, project: str) -> ProjectUsage:
        """See the port."""
        return await usage_of(self._conn, project)

    async def request_is_known(self, key: RequestKey) -> bool:
        """See the port."""
        return await REQUESTS.is_known(self._conn, key)

    async def _with_images(self, row: rows.Values) -> Edit:
        ref = rows.edit_of(row, ()).ref
        touched = select(edit_images.c.image_id).where(of_edit(edit_images, ref)).order_by(edit_images.c.image_id)
        return rows.edit_of(row, tuple(await self._conn.scalars(touched)))

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


def of_edit(table: Table, ref: EditRef) -> ColumnElement[bool]:
    """The row of an edit, or the rows of its changes."""
    return and_(of_dataset(table, ref.dataset), table.c.number == ref.number)


def _of_version(ref: VersionRef) -> ColumnElement[bool]:
    return and_(of_dataset(version_images, ref.dataset), version_images.c.number == ref.number)
