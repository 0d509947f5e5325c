"""The dataset service's ports in memory. The contract suite holds them to what the real ones do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.chassis.errors import Aborted, NotFound, Unavailable
from services.chassis.listing import memory
from services.chassis.listing.pages import Query
from services.chassis.requests.keys import RequestKey
from services.dataset.models import events
from services.dataset.models.edits import Edit, ImageChange
from services.dataset.models.faults import dataset_exists, not_found
from services.dataset.models.names import DatasetRef, EditRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, Mask, VersionImage
from services.dataset.models.usage import ProjectUsage
from services.dataset.ports import DATASETS, VERSION_IMAGES, VERSIONS, DatasetReader, DatasetWriter

FoundT = TypeVar("FoundT")


class FakeClock:
    """A clock that moves one second a reading, so that every moment differs."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class State:
    """What is stored. requests: (project, method, request_id) to (digest, name, when)."""

    datasets: dict[DatasetRef, Dataset] = field(default_factory=dict)
    images: dict[ImageRef, Image] = field(default_factory=dict)
    versions: dict[VersionRef, DatasetVersion] = field(default_factory=dict)
    version_images: dict[VersionImageRef, VersionImage] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], tuple[str, str, datetime]] = field(default_factory=dict)
    keys: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    edits: dict[EditRef, Edit] = field(default_factory=dict)
    changes: dict[tuple[EditRef, str], ImageChange] = field(default_factory=dict)
    noted: dict[DatasetRef, list[tuple[str, events.ImageChange]]] = field(default_factory=dict)
    told: list[tuple[DatasetRef, events.DatasetEvent]] = field(default_factory=list)

    def copied(self) -> State:
        """A copy whose changes do not show here."""
        copies = {name: copy(value) for name, value in vars(self).items()}
        return State(**{**copies, "noted": {ref: list(noted) for ref, noted in self.noted.items()}})

    def tell_noted(self, ref: DatasetRef) -> int:
        """Makes events of what was noted of a dataset's images."""
        of_it = self.datasets.get(ref)
        found = events.images_changed(self.noted.pop(ref, []), of_it.image_count if of_it else 0)
        self.told += [(ref, event) for event in found]
        return len(found)


class FakeDatasetStore:
    """Implements ports.DatasetStore. broken: every call raises Unavailable. refused: how many did."""

    def __init__(self) -> None:
        self.state = State()
        self.broken = False
        self.refused = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[DatasetReader]:
        """See the port."""
        self._check()
        yield FakeView(self.state.copied())

    @asynccontextmanager
    async def write(self) -> AsyncIterator[DatasetWriter]:
        """See the port."""
        self._check()
        async with self._lock:
            state = self.state.copied()
            yield FakeView(state)
            self.state = state

    async def tell_images(self, *, quiet: timedelta, longest: timedelta) -> int:
        """See the port, but that all is settled at once."""
        self._check()
        return sum(self.state.tell_noted(ref) for ref in list(self.state.noted))

    async def claim_keys(self, *, due: datetime, keys: Sequence[str] | None = None, limit: int = 500) -> list[str]:
        """See the port."""
        self._check()
        noted = self.state.keys
        for key, (when, _) in list(noted.items()):
            if (when <= due) if keys is None else (key in keys):
                noted[key] = (when, True)
        return [key for key, (_, claimed) in noted.items() if claimed and (keys is None or key in keys)][:limit]

    async def forget_keys(self, keys: Sequence[str]) -> None:
        """See the port."""
        self._check()
        for key in keys:
            if self.state.keys.get(key, (None, False))[1]:
                del self.state.keys[key]

    async def forget_requests(self, *, before: datetime) -> int:
        """See the port."""
        self._check()
        old = [key for key, (_, _, when) in self.state.requests.items() if when < before]
        for key in old:
            del self.state.requests[key]
        return len(old)

    def _check(self) -> None:
        if self.broken:
            self.refused += 1
            raise Unavailable("The database does not answer", reason="DATABASE_UNAVAILABLE")


class FakeView:
    """Implements ports.DatasetReader and ports.DatasetWriter on a state of its own."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def dataset(self, ref: DatasetRef) -> Dataset:
        """See the port."""
        return _found(self._state.datasets.get(ref), ref.name)

    async def has_dataset(self, ref: DatasetRef) -> bool:
        """See the port."""
        return ref in self._state.datasets

    async def projects(self) -> dict[str, int]:
        """See the port."""
        return dict(Counter(ref.project for ref in self._state.datasets))

    async def datasets(self, project: str, query: Query) -> tuple[list[Dataset], int]:
        """See the port."""
        mine = (dataset for dataset in self._state.datasets.values() if dataset.ref.project == project)
        return memory.page(mine, query, DATASETS)

    async def image(self, ref: ImageRef) -> Image:
        """See the port."""
        return _found(self._state.images.get(ref), ref.name)

    async def images(self, ref: DatasetRef) -> list[Image]:
        """See the port."""
        mine = [image for image in self._state.images.values() if image.ref.dataset == ref]
        return sorted(mine, key=lambda image: image.position)

    async def image_with_bytes(self, ref: DatasetRef, sha256: str) -> Image | None:
        """See the port."""
        return next((image for image in await self.images(ref) if image.picture.sha256 == sha256), None)

    async def version(self, ref: VersionRef) -> DatasetVersion:
        """See the port."""
        return _found(self._state.versions.get(ref), ref.name)

    async def versions(self, ref: DatasetRef, query: Query) -> tuple[list[DatasetVersion], int]:
        """See the port."""
        mine = (version for version in self._state.versions.values() if version.ref.dataset == ref)
        return memory.page(mine, query, VERSIONS)

    async def count_versions(self, ref: DatasetRef) -> int:
        """See the port."""
        return sum(version.dataset == ref for version in self._state.versions)

    async def version_like(self, version: DatasetVersion) -> DatasetVersion | None:
        """See the port."""
        mine = [each for each in self._state.versions.values() if each.ref.dataset == version.ref.dataset]
        words = ("digest", "trigger_word", "subject", "text_from")
        same = [each for each in mine if all(getattr(each, word) == getattr(version, word) for word in words)]
        return max(same, key=lambda version: version.ref.number, default=None)

    async def version_image(self, ref: VersionImageRef) -> VersionImage:
        """See the port."""
        return _found(self._state.version_images.get(ref), ref.name)

    async def version_images(self, ref: VersionRef, query: Query) -> list[VersionImage]:
        """See the port."""
        mine = (image for image in self._state.version_images.values() if image.ref.version == ref)
        return memory.page(mine, query, VERSION_IMAGES)[0]

    async def usage(self, project: str) -> ProjectUsage:
        """See the port."""
        state = self._state
        live = [image.picture for image in state.images.values() if image.ref.dataset.project == project]
        pinned = [one.picture for one in state.version_images.values() if one.ref.version.dataset.project == project]
        sizes = {picture.original_key: picture.stored_bytes for picture in (*live, *pinned)}
        sizes |= {mask.key: mask.size_bytes for ref, mask in self._masks() if ref.project == project}
        datasets = sum(ref.project == project for ref in state.datasets)
        return ProjectUsage(datasets, len(live), sum(sizes.values()))

    lock_usage = usage

    async def request_is_known(self, key: RequestKey) -> bool:
        """See the port."""
        return bool(key.request_id) and _id(key) in self._state.requests

    async def lock_dataset(self, ref: DatasetRef) -> Dataset:
        """See the port."""
        return await self.dataset(ref)

    async def tell(self, ref: DatasetRef, event: events.DatasetEvent) -> None:
        """See the port."""
        self._state.tell_noted(ref)
        self._state.told.append((ref, event))

    def _note(self, ref: ImageRef, change: events.ImageChange) -> None:
        self._state.noted.setdefault(ref.dataset, []).append((ref.image, change))

    async def add_dataset(self, dataset: Dataset) -> None:
        """See the port."""
        if dataset.ref in self._state.datasets:
            raise dataset_exists(dataset.ref)
        self._state.datasets[dataset.ref] = dataset

    async def save_dataset(self, dataset: Dataset) -> None:
        """See the port."""
        self._state.datasets[dataset.ref] = dataset

    async def remove_dataset(self, ref: DatasetRef) -> None:
        """See the port."""
        state = self._state
        live, versions = (sum(key.dataset == ref for key in held) for held in (state.images, state.versions))
        pictures = [image.picture for image in state.images.values() if image.ref.dataset == ref]
        pictures += [image.picture for image in state.version_images.values() if image.ref.version.dataset == ref]
        masks = {mask.key for owner, mask in self._masks() if owner == ref}
        state.edits = {key: edit for key, edit in state.edits.items() if key.dataset != ref}
        state.changes = {key: change for key, change in state.changes.items() if key[0].dataset != ref}
        state.images = {key: image for key, image in state.images.items() if key.dataset != ref}
        state.versions = {key: version for key, version in state.versions.items() if key.dataset != ref}
        state.version_images = {k: image for k, image in state.version_images.items() if k.version.dataset != ref}
        del state.datasets[ref]
        await self.tell(ref, events.Deleted(live, versions))
        self._release([*masks, *(key for picture in pictures for key in picture.keys)])

    async def add_image(self, image: Image) -> None:
        """See the port."""
        self._state.images[image.ref] = image
        self._note(image.ref, events.ImageChange.ADDED)

    async def save_image(self, image: Image) -> None:
        """See the port."""
        self._state.images[image.ref] = image
        self._note(image.ref, events.ImageChange.UPDATED)

    async def remove_image(self, image: Image) -> None:
        """See the port."""
        state, before = self._state, self._mask_keys()
        del state.images[image.ref]
        state.changes = {
            key: change for key, change in state.changes.items()
            if key[0].dataset != image.ref.dataset or change.image != image.ref.image
        }  # fmt: skip
        self._release(before - self._mask_keys())
        pinned = self._state.version_images
        if not any(ref.version.dataset == image.ref.dataset and ref.image == image.ref.image for ref in pinned):
            self._release(image.picture.keys)
        self._note(image.ref, events.ImageChange.DELETED)

    async def label_version(self, ref: VersionRef, labels: Mapping[str, str]) -> None:
        """See the port."""
        self._state.versions[ref] = replace(self._state.versions[ref], labels=labels)

    async def add_version(self, version: DatasetVersion, images: Sequence[VersionImage]) -> None:
        """See the port."""
        self._state.versions[version.ref] = version
        self._state.version_images.update({image.ref: image for image in images})

    async def remove_version(self, ref: VersionRef) -> None:
        """See the port."""
        state = self._state
        pinned = [image for image in state.version_images.values() if image.ref.version == ref]
        masks = self._mask_keys()
        del state.versions[ref]
        state.version_images = {key: image for key, image in state.version_images.items() if key.version != ref}
        held = {image.picture.original_key for image in state.images.values()}
        held |= {image.picture.original_key for image in state.version_images.values()}
        free = [image.picture for image in pinned if image.picture.original_key not in held]
        self._release(masks - self._mask_keys())
        self._release([key for picture in free for key in picture.keys])

    async def keep_mask(self, ref: DatasetRef, mask: Mask) -> None:
        """See the port."""
        await self.keep_keys([mask.key])

    async def edits(self, ref: DatasetRef) -> list[Edit]:
        """See the port."""
        mine = [self._with_images(edit) for edit in self._state.edits.values() if edit.ref.dataset == ref]
        return sorted(mine, key=lambda edit: edit.ref.number, reverse=True)

    async def newest_edit(self, ref: DatasetRef) -> Edit | None:
        """See the port."""
        return next(iter(await self.edits(ref)), None)

    async def edit(self, ref: EditRef) -> Edit:
        """See the port."""
        return self._with_images(_found(self._state.edits.get(ref), ref.name))

    async def changes(self, ref: EditRef) -> list[ImageChange]:
        """See the port."""
        mine = [change for (edit, _), change in self._state.changes.items() if edit == ref]
        return sorted(mine, key=lambda change: change.image)

    async def add_edit(self, edit: Edit) -> None:
        """See the port."""
        assert edit.ref not in self._state.edits
        self._state.edits[edit.ref] = edit

    async def save_edit(self, edit: Edit) -> None:
        """See the port."""
        self._state.edits[edit.ref] = edit

    async def mark_undone(self, ref: EditRef, by: int) -> None:
        """See the port."""
        self._state.edits[ref] = replace(self._state.edits[ref], undone_by=by)

    async def add_changes(self, ref: EditRef, changes: Sequence[ImageChange]) -> None:
        """See the port."""
        self._state.changes.update({(ref, change.image): change for change in changes})

    async def thin_edits(self, ref: DatasetRef, *, keep: int) -> None:
        """See the port."""
        state, before, mine = self._state, self._mask_keys(), await self.edits(ref)
        large = [edit.ref for edit in mine if edit.changed_images > 1]
        small = [edit.ref for edit in mine if edit.changed_images <= 1]
        old = {*large[keep:], *small[keep:]}
        state.edits = {key: edit for key, edit in state.edits.items() if key not in old}
        state.changes = {key: change for key, change in state.changes.items() if key[0] not in old}
        self._release(before - self._mask_keys())

    def _with_images(self, edit: Edit) -> Edit:
        return replace(edit, images=tuple(sorted(image for ref, image in self._state.changes if ref == edit.ref)))

    def _masks(self) -> list[tuple[DatasetRef, Mask]]:
        state = self._state
        live = [(image.ref.dataset, image.mask) for image in state.images.values()]
        pinned = [(image.ref.version.dataset, image.mask) for image in state.version_images.values()]
        before = [(ref.dataset, change.before.get("mask")) for (ref, _), change in state.changes.items()]
        return [(ref, mask) for ref, mask in (*live, *pinned, *before) if isinstance(mask, Mask)]

    def _mask_keys(self) -> set[str]:
        return {mask.key for _, mask in self._masks()}

    async def recall(self, key: RequestKey) -> str | None:
        """See the port."""
        if not await self.request_is_known(key):
            return None
        digest, name, _ = self._state.requests[_id(key)]
        key.check_same(digest)
        return name

    async def remember(self, key: RequestKey, name: str) -> None:
        """See the port."""
        if key.request_id:
            self._state.requests[_id(key)] = (key.digest, name, datetime.now(UTC))

    async def reserve_keys(self, keys: Sequence[str], *, until: datetime) -> None:
        """See the port."""
        self._state.keys.update(dict.fromkeys(keys, (until, False)))

    async def keep_keys(self, keys: Sequence[str]) -> None:
        """See the port."""
        if any(self._state.keys.get(key, (None, True))[1] for key in keys):
            raise Aborted("The place was given up", reason="UPLOAD_TOO_SLOW", remedy="Upload it again.")
        for key in keys:
            del self._state.keys[key]

    def _release(self, keys: Iterable[str]) -> None:
        self._state.keys.update({key: (datetime.now(UTC), True) for key in keys})


class FakePictureStore:
    """Implements ports.PictureStore. broken: every call raises Unavailable. fail_puts: so many puts fail first."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = False
        self.fail_put_number = 0
        self.puts = 0

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """See the port."""
        self.puts += 1
        if self.broken or self.puts == self.fail_put_number:
            raise Unavailable("The object store does not answer", reason="STORAGE_UNAVAILABLE")
        self.objects[key] = data

    async def address_to_put(self, key: str, validity: timedelta) -> str:
        """See the port."""
        return f"put:{key}"

    async def address_to_get(self, key: str, validity: timedelta, *, file_name: str) -> str:
        """See the port."""
        return f"get:{key}"

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """See the port."""
        self._check()
        if key not in self.objects:
            raise NotFound(f"The object {key} does not exist", reason="OBJECT_NOT_FOUND")
        data = self.objects[key]
        for start in range(0, len(data), 256 * 1024):
            yield data[start : start + 256 * 1024]

    async def delete(self, keys: Sequence[str]) -> None:
        """See the port."""
        self._check()
        for key in keys:
            self.objects.pop(key, None)

    def _check(self) -> None:
        if self.broken:
            raise Unavailable("The object store does not answer", reason="STORAGE_UNAVAILABLE")


def _found(value: FoundT | None, name: str) -> FoundT:
    if value is None:
        raise not_found(name)
    return value


def _id(key: RequestKey) -> tuple[str, str, str]:
    return key.project, key.method, key.request_id
