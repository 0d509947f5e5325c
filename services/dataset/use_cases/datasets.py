"""Create, read, list, change and delete datasets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis.errors import FailedPrecondition
from services.chassis.filters import Order, parse_filter, parse_order_by
from services.chassis.names import check_etag, check_id, new_id
from services.chassis.pagination import PageTokens, Scalar
from services.dataset.models.checks import check_text
from services.dataset.models.faults import dataset_exists
from services.dataset.models.masks import masked
from services.dataset.models.names import DatasetRef
from services.dataset.models.resources import Dataset, DatasetFields
from services.dataset.ports import Clock, DatasetQuery, DatasetStore, RequestKey
from services.dataset.use_cases.upkeep import Upkeep

_FILTER_FIELDS = {"display_name": "string", "create_time": "time", "update_time": "time"}
_ORDER_FIELDS = ("create_time", "update_time", "display_name")


@dataclass(frozen=True)
class ListQuery:
    """A list call as it came. order_by "" where a list has one order only."""

    parent: str
    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


@dataclass(frozen=True)
class NewDataset:
    """What CreateDataset asks for. dataset_id "": the service chooses one."""

    project: str
    dataset_id: str = ""
    fields: DatasetFields = field(default_factory=DatasetFields)
    request_id: str = ""
    validate_only: bool = False


class DatasetVerbs:
    """The verbs on datasets."""

    def __init__(self, store: DatasetStore, upkeep: Upkeep, clock: Clock) -> None:
        self._store = store
        self._upkeep = upkeep
        self._clock = clock
        self._tokens = PageTokens(default_size=50)

    async def create(self, wanted: NewDataset) -> Dataset:
        """Makes an empty dataset. Raises AlreadyExists; stores nothing with validate_only."""
        dataset_id = check_id(wanted.dataset_id, field="dataset_id") if wanted.dataset_id else new_id("ds")
        now = self._clock()
        dataset = Dataset(
            ref=DatasetRef(wanted.project, dataset_id),
            fields=_checked(wanted.fields),
            create_time=now,
            update_time=now,
        )
        key = RequestKey(
            project=wanted.project,
            method="CreateDataset",
            request_id=check_text(wanted.request_id, field="request_id"),
            digest=request_digest(wanted.dataset_id, wanted.fields),
        )
        async with self._store.write() as tx:
            known = await tx.recall(key)
            if known:
                return await tx.dataset(DatasetRef.parse(known))
            if await tx.has_dataset(dataset.ref):
                raise dataset_exists(dataset.ref)
            if not wanted.validate_only:
                await tx.add_dataset(dataset)
                await tx.remember(key, dataset.ref.name)
        return dataset

    async def get(self, ref: DatasetRef) -> Dataset:
        """Reads one dataset. Raises NotFound."""
        async with self._store.read() as view:
            return await view.dataset(ref)

    async def list(self, project: str, query: ListQuery) -> tuple[list[Dataset], str, int]:
        """A page of a project's datasets, the token of the next page, and how many match in all."""
        text = check_text(query.filter, field="filter")
        orders = tuple(parse_order_by(query.order_by, _ORDER_FIELDS, default="create_time desc"))
        scope = f"ListDatasets|{query.parent}|{text}|{query.order_by.strip()}"
        page = self._tokens.open(page_size=query.page_size, page_token=query.page_token, scope=scope)
        wanted = DatasetQuery(
            project=project,
            predicates=tuple(parse_filter(text, _FILTER_FIELDS)),
            orders=orders,
            limit=page.limit + 1,
            cursor=page.cursor,
        )
        async with self._store.read() as view:
            found = await view.datasets(wanted)
            total = await view.count_datasets(wanted)
        shown = found[: page.limit]
        token = self._tokens.next(cursor_of(shown[-1], orders), scope=scope) if len(found) > page.limit else ""
        return shown, token, total

    async def update(self, ref: DatasetRef, given: DatasetFields, mask: tuple[str, ...], etag: str) -> Dataset:
        """Changes the fields that the mask names. Raises NotFound, Aborted for an old etag, InvalidArgument."""
        async with self._store.write() as tx:
            current = await tx.lock_dataset(ref)
            check_etag(etag, current.etag, field="dataset.etag")
            updated = current.changed(masked(current.fields, _checked(given), mask), self._clock())
            if updated is not current:
                await tx.save_dataset(updated)
        return updated

    async def delete(self, ref: DatasetRef, *, etag: str, force: bool) -> None:
        """Deletes a dataset with all images and versions.

        Raises NotFound, Aborted for an old etag, and FailedPrecondition(reason=DATASET_HAS_VERSIONS) unless forced.
        """
        async with self._store.write() as tx:
            current = await tx.lock_dataset(ref)
            check_etag(etag, current.etag)
            versions = await tx.count_versions(ref)
            if versions and not force:
                raise FailedPrecondition(
                    f"{ref.name} has {versions} frozen version{'s' if versions > 1 else ''}, which a job may need",
                    field="force",
                    reason="DATASET_HAS_VERSIONS",
                    remedy="Set force to delete the versions as well.",
                    metadata={"versions": str(versions)},
                )
            await tx.remove_dataset(ref)
        await self._upkeep.sweep_soon()


def cursor_of(dataset: Dataset, orders: tuple[Order, ...]) -> tuple[Scalar, ...]:
    """The sort values behind which the next page begins: those of the orders, then the id."""
    values: dict[str, Scalar | datetime] = {
        "create_time": dataset.create_time,
        "update_time": dataset.update_time,
        "display_name": dataset.fields.display_name.casefold(),
    }
    picked = (values[order.field] for order in orders)
    return (*(value.isoformat() if isinstance(value, datetime) else value for value in picked), dataset.ref.dataset)


def request_digest(*parts: object) -> str:
    """A digest of what a create asks for: plain values and frozen dataclasses."""
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode()).hexdigest()


def _checked(fields: DatasetFields) -> DatasetFields:
    return DatasetFields(
        display_name=check_text(fields.display_name, field="dataset.display_name"),
        description=check_text(fields.description, field="dataset.description", lines=True),
        trigger_word=check_text(fields.trigger_word, field="dataset.trigger_word"),
        num_repeats=fields.num_repeats,
    )
