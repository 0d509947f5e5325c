"""Create, read, list, change and delete datasets."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.chassis.budgets import DATASETS as DATASETS_BUDGET
from services.chassis.budgets import UNLIMITED, Budgets
from services.chassis.errors import FailedPrecondition
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.names import check_etag, check_id, new_id
from services.chassis.requests.keys import RequestKey, digest
from services.dataset.models.checks import Texts, check_text
from services.dataset.models.events import Created, Updated
from services.dataset.models.faults import dataset_exists
from services.dataset.models.names import DatasetRef, parse_project
from services.dataset.models.resources import Dataset, DatasetFields, TextFrom
from services.dataset.models.update_masks import masked
from services.dataset.ports import DATASETS, Clock, DatasetStore
from services.dataset.use_cases.upkeep import Upkeep


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

    def __init__(
        self,
        store: DatasetStore,
        upkeep: Upkeep,
        clock: Clock,
        tokens: PageTokens,
        budgets: Budgets = UNLIMITED,
    ) -> None:
        self._budgets = budgets
        self._store = store
        self._upkeep = upkeep
        self._clock = clock
        self._tokens = tokens

    async def create(self, wanted: NewDataset) -> Dataset:
        """Makes an empty dataset. Raises AlreadyExists, ResourceExhausted(BUDGET_USED_UP); stores nothing with
        validate_only."""
        dataset_id = check_id(wanted.dataset_id, field="dataset_id") if wanted.dataset_id else new_id("ds")
        now = self._clock()
        dataset = Dataset(
            ref=DatasetRef(wanted.project, dataset_id),
            fields=checked_dataset(wanted.fields),
            create_time=now,
            update_time=now,
        )
        key = RequestKey(
            project=wanted.project,
            method="CreateDataset",
            request_id=check_text(wanted.request_id, field="request_id"),
            digest=digest(wanted.dataset_id, wanted.fields, *_later(wanted.fields)),
        )
        async with self._store.write() as tx:
            known = await tx.recall(key)
            if known:
                return await tx.dataset(DatasetRef.parse(known))
            usage = await (tx.usage if wanted.validate_only else tx.lock_usage)(wanted.project)
            if await tx.has_dataset(dataset.ref):
                raise dataset_exists(dataset.ref)
            self._budgets.check(wanted.project, DATASETS_BUDGET, usage.datasets, field="parent")
            if not wanted.validate_only:
                await tx.add_dataset(dataset)
                await tx.tell(dataset.ref, Created(dataset))
                await tx.remember(key, dataset.ref.name)
        return dataset

    async def get(self, ref: DatasetRef) -> Dataset:
        """Reads one dataset. Raises NotFound."""
        async with self._store.read() as view:
            return await view.dataset(ref)

    async def list(self, request: ListRequest) -> tuple[list[Dataset], str, int]:
        """A page of a project's datasets, the token of the next page, and how many match in all."""
        project = parse_project(request.parent)
        check_text(request.filter, field="filter")
        asked = DATASETS.open(request, self._tokens)
        async with self._store.read() as view:
            found, total = await view.datasets(project, asked.query)
        return *asked.answer(found), total

    async def update(self, ref: DatasetRef, given: DatasetFields, mask: tuple[str, ...], etag: str) -> Dataset:
        """Changes the fields that the mask names. Raises NotFound, Aborted for an old etag, InvalidArgument."""
        async with self._store.write() as tx:
            current = await tx.lock_dataset(ref)
            check_etag(etag, current.etag, field="dataset.etag")
            updated = current.changed(masked(current.fields, checked_dataset(given), mask), self._clock())
            if updated is not current:
                await tx.save_dataset(updated)
                await tx.tell(ref, Updated(updated))
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


def checked_dataset(fields: DatasetFields) -> DatasetFields:
    """The fields with tidy texts. Raises InvalidArgument that names every wrong one."""
    texts = Texts()
    checked = DatasetFields(
        display_name=texts.checked(fields.display_name, field="dataset.display_name"),
        description=texts.checked(fields.description, field="dataset.description", lines=True),
        trigger_word=texts.checked(fields.trigger_word, field="dataset.trigger_word"),
        subject=texts.checked(fields.subject, field="dataset.subject"),
        num_repeats=fields.num_repeats,
        labels=fields.labels,
        text_from=fields.text_from,
    )
    texts.refuse()
    return checked


def _later(fields: DatasetFields) -> list[object]:
    """What a request may say since there are digests of requests; nothing for one that says none of it."""
    subject = [("subject", fields.subject)] if fields.subject else []
    text_from = [] if fields.text_from is TextFrom.CAPTION_OR_TAGS else [fields.text_from.value]
    return [*sorted(fields.labels.items()), *subject, *text_from]
