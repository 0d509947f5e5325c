"""Freeze a dataset, and read what was frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from services.chassis.errors import FailedPrecondition
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.names import check_etag, check_mask
from services.chassis.requests.keys import RequestKey, digest
from services.dataset.models.checks import check_text
from services.dataset.models.events import VersionCreated, VersionDeleted, VersionUpdated
from services.dataset.models.names import DatasetRef, VersionRef
from services.dataset.models.resources import DatasetVersion, VersionImage
from services.dataset.models.versions import as_trained, frozen
from services.dataset.ports import VERSION_IMAGES, VERSIONS, Clock, DatasetStore
from services.dataset.use_cases.upkeep import Upkeep


class VersionVerbs:
    """The verbs on versions. None changes what a version froze, but for its end."""

    def __init__(self, store: DatasetStore, upkeep: Upkeep, clock: Clock, tokens: PageTokens) -> None:
        self._store = store
        self._upkeep = upkeep
        self._clock = clock
        self._tokens = tokens

    async def create(
        self, ref: DatasetRef, *, description: str, request_id: str, labels: Mapping[str, str] | None = None
    ) -> DatasetVersion:
        """Freezes the dataset as it is now; the same contents give the existing version back.

        Contents are what training reads, with the trigger word. Raises NotFound, and
        FailedPrecondition(reason=DATASET_EMPTY) when there is no image.
        """
        note = check_text(description, field="description", lines=True)
        key = RequestKey(
            project=ref.project,
            method="CreateDatasetVersion",
            request_id=check_text(request_id, field="request_id"),
            # Requests of before there were labels must be recognised.
            digest=digest(ref, note, *sorted((labels or {}).items())),
        )
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref)
            known = await tx.recall(key)
            if known is not None:
                return await tx.version(VersionRef.parse(known))
            images = await tx.images(ref)
            if not images:
                raise FailedPrecondition(
                    f"{ref.name} holds no image",
                    field="parent",
                    reason="DATASET_EMPTY",
                    remedy="Upload at least one picture first; five or more make a good set.",
                )
            version, pinned = frozen(dataset, images, description=note, labels=labels or {}, now=self._clock())
            same = await tx.version_like(version)
            if same is not None:
                version = same
            else:
                await tx.add_version(version, pinned)
                await tx.save_dataset(dataset.with_version(version.ref.number))
                await tx.tell(ref, VersionCreated(version))
            await tx.remember(key, version.ref.name)
        return version

    async def get(self, ref: VersionRef) -> DatasetVersion:
        """Reads one version. Raises NotFound."""
        async with self._store.read() as view:
            return await view.version(ref)

    async def label(
        self, ref: VersionRef, labels: Mapping[str, str], mask: tuple[str, ...], etag: str
    ) -> DatasetVersion:
        """Gives a version other labels. Raises NotFound, Aborted for an old etag, InvalidArgument for another field."""
        check_mask(mask, ("labels",), of="a version")
        async with self._store.write() as tx:
            await tx.lock_dataset(ref.dataset)
            current = await tx.version(ref)
            check_etag(etag, current.etag, field="dataset_version.etag")
            version = replace(current, labels=labels)
            if version != current and (mask or labels):
                await tx.label_version(ref, labels)
                await tx.tell(ref.dataset, VersionUpdated(version))
                return version
        return current

    async def delete(self, ref: VersionRef, *, etag: str, force: bool) -> None:
        """Deletes a version with its images.

        Raises NotFound, Aborted for another version's etag, and FailedPrecondition(reason=VERSION_HAS_IMAGES) unless
        forced: jobs and models refer to versions by name, and this service does not know which.
        """
        async with self._store.write() as tx:
            await tx.lock_dataset(ref.dataset)
            version = await tx.version(ref)
            check_etag(etag, version.etag)
            if not force:
                raise FailedPrecondition(
                    f"{ref.name} holds {version.image_count} frozen images, which a training job may need",
                    field="force",
                    reason="VERSION_HAS_IMAGES",
                    remedy="See that no waiting or running job names it as its dataset_version, then set force.",
                    metadata={"images": str(version.image_count)},
                )
            await tx.remove_version(ref)
            await tx.tell(ref.dataset, VersionDeleted(ref.name))
        await self._upkeep.sweep_soon()

    async def list_versions(self, request: ListRequest) -> tuple[list[DatasetVersion], str, int]:
        """A page of a dataset's versions, newest first unless asked otherwise, the next token, and how many match.

        Raises NotFound, InvalidArgument.
        """
        ref = DatasetRef.parse(request.parent, field="parent")
        check_text(request.filter, field="filter")
        asked = VERSIONS.open(request, self._tokens)
        async with self._store.read() as view:
            await view.dataset(ref)
            found, total = await view.versions(ref, asked.query)
        return *asked.answer(found), total

    async def list_images(self, request: ListRequest) -> tuple[list[VersionImage], str, int]:
        """A page of the images that a version pinned, the token of the next page, and how many there are.

        Raises NotFound, InvalidArgument.
        """
        ref = VersionRef.parse(request.parent, field="parent")
        asked = VERSION_IMAGES.open(request, self._tokens)
        async with self._store.read() as view:
            version = await view.version(ref)
            found = await view.version_images(ref, asked.query)
        shown, token = asked.answer(found)
        return [as_trained(version, image) for image in shown], token, version.image_count
