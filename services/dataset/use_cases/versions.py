"""Freeze a dataset, and read what was frozen."""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition
from services.chassis.pagination import PageTokens
from services.dataset.models.checks import check_text
from services.dataset.models.names import DatasetRef, VersionRef
from services.dataset.models.resources import DatasetVersion, VersionImage
from services.dataset.models.versions import as_trained, frozen
from services.dataset.ports import Clock, DatasetStore, RequestKey
from services.dataset.use_cases.datasets import ListQuery, request_digest


class VersionVerbs:
    """The verbs on versions. There is none that changes a version."""

    def __init__(self, store: DatasetStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._version_tokens = PageTokens(default_size=50)
        self._image_tokens = PageTokens(default_size=100)

    async def create(self, ref: DatasetRef, *, description: str, request_id: str) -> DatasetVersion:
        """Freezes the dataset as it is now; the same contents give the existing version back.

        Contents are what training reads, with the trigger word. Raises NotFound, and
        FailedPrecondition(reason=DATASET_EMPTY) when there is no image.
        """
        note = check_text(description, field="description", lines=True)
        key = RequestKey(
            project=ref.project,
            method="CreateDatasetVersion",
            request_id=check_text(request_id, field="request_id"),
            digest=request_digest(ref, note),
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
            version, pinned = frozen(dataset, images, description=note, now=self._clock())
            same = await tx.version_with_contents(ref, version.digest, version.trigger_word)
            if same is not None:
                version = same
            else:
                await tx.add_version(version, pinned)
                await tx.save_dataset(dataset.with_version(version.ref.number))
            await tx.remember(key, version.ref.name)
        return version

    async def get(self, ref: VersionRef) -> DatasetVersion:
        """Reads one version. Raises NotFound."""
        async with self._store.read() as view:
            return await view.version(ref)

    async def list_versions(self, ref: DatasetRef, query: ListQuery) -> tuple[list[DatasetVersion], str, int]:
        """A page of a dataset's versions, newest first, the token of the next page, and how many there are."""
        scope = f"ListDatasetVersions|{ref.name}"
        page = self._version_tokens.open(page_size=query.page_size, page_token=query.page_token, scope=scope)
        before = int(str(page.cursor[0])) if page.cursor else None
        async with self._store.read() as view:
            await view.dataset(ref)
            found = await view.versions(ref, before=before, limit=page.limit + 1)
            total = await view.count_versions(ref)
        shown = found[: page.limit]
        more = len(found) > page.limit
        return shown, self._version_tokens.next((shown[-1].ref.number,), scope=scope) if more else "", total

    async def list_images(self, ref: VersionRef, query: ListQuery) -> tuple[list[VersionImage], str, int]:
        """A page of the images that a version pinned, in order, the token of the next page, and how many there are."""
        scope = f"ListDatasetVersionImages|{ref.name}"
        page = self._image_tokens.open(page_size=query.page_size, page_token=query.page_token, scope=scope)
        after = int(str(page.cursor[0])) if page.cursor else 0
        async with self._store.read() as view:
            version = await view.version(ref)
            found = await view.version_images(ref, after=after, limit=page.limit + 1)
        shown = [as_trained(version, image) for image in found[: page.limit]]
        more = len(found) > page.limit
        return shown, self._image_tokens.next((shown[-1].position,), scope=scope) if more else "", version.image_count
