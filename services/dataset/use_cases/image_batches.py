"""Read, change and delete several images of one dataset at once: all of them or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from services.chassis.errors import DomainError, InvalidArgument, collected, refuse_all, within
from services.chassis.names import check_etag
from services.dataset.models.edits import Edit
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.models.resources import Image, ImageFields
from services.dataset.ports import Clock, DatasetStore
from services.dataset.use_cases.edits import naming_editor, record
from services.dataset.use_cases.images import edited
from services.dataset.use_cases.upkeep import Upkeep


@dataclass(frozen=True)
class ImageEdit:
    """A change of one image. name: as the caller wrote it. etag "": whatever its state."""

    name: str
    given: ImageFields
    mask: tuple[str, ...]
    etag: str = ""


@dataclass(frozen=True)
class ImageDelete:
    """A delete of one image."""

    name: str
    etag: str = ""


class ImageBatches:
    """Errors name the entry that is wrong, such as `requests[3].image.caption`."""

    def __init__(self, store: DatasetStore, upkeep: Upkeep, clock: Clock) -> None:
        self._store = store
        self._upkeep = upkeep
        self._clock = clock

    async def get(self, parent: DatasetRef, names: Sequence[str]) -> list[Image]:
        """The images in the order of their names. Raises NotFound, InvalidArgument."""
        refs = refs_of(parent, names, "names[{}]", "")
        found = []
        async with self._store.read() as view:
            for index, ref in enumerate(refs):
                with entry(f"names[{index}]", ""):
                    found.append(await view.image(ref))
        return found

    async def update(self, parent: DatasetRef, edits: Sequence[ImageEdit]) -> tuple[list[Image], Edit | None]:
        """Changes the images in one transaction; them and the edit that it was, None when nothing changed.

        Raises NotFound, Aborted for an old etag, InvalidArgument.
        """
        refs = refs_of(parent, [edit.name for edit in edits], "requests[{}]", "image.name")
        changes = []
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(parent)
            now = self._clock()
            for index, (ref, edit) in enumerate(zip(refs, edits, strict=True)):
                with entry(f"requests[{index}]", "image.name"):
                    async with naming_editor(tx, ref):
                        current = await tx.image(ref)
                        changes.append((current, edited(current, edit.given, edit.mask, edit.etag, now)))
            made = await record(tx, parent, changes, "BatchUpdateImages")
            if made:
                await tx.save_dataset(dataset.touched(now))
        return [after for _, after in changes], made

    async def delete(self, parent: DatasetRef, deletes: Sequence[ImageDelete]) -> None:
        """Deletes the images in one transaction; versions keep theirs. Raises NotFound, Aborted, InvalidArgument."""
        refs = refs_of(parent, [one.name for one in deletes], "requests[{}]", "name")
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(parent)
            for index, (ref, one) in enumerate(zip(refs, deletes, strict=True)):
                with entry(f"requests[{index}]", "name"):
                    image = await tx.image(ref)
                    async with naming_editor(tx, ref):
                        check_etag(one.etag, image.etag)
                await tx.remove_image(image)
                dataset = dataset.without_image(image, self._clock())
            await tx.save_dataset(dataset)
        await self._upkeep.sweep_soon()


def refs_of(parent: DatasetRef, names: Sequence[str], path: str, field: str) -> list[ImageRef]:
    """The images of a request, each once and all of one dataset. path: of an entry, with {} for its number.

    Raises InvalidArgument that names every wrong one.
    """
    refs: dict[ImageRef, int] = {}
    wrong: list[InvalidArgument] = []

    def add(name: str, index: int) -> None:
        with entry(path.format(index), field):
            ref = ImageRef.parse(name, field="")
            if ref.dataset != parent:
                raise InvalidArgument(
                    f"{name} does not lie in {parent.name}",
                    reason="IMAGE_ELSEWHERE",
                    remedy="Make one call for each dataset.",
                )
            if ref in refs:
                raise InvalidArgument(f"{name} comes twice", reason="IMAGE_REPEATED", remedy="Name every image once.")
        refs[ref] = index

    for index, name in enumerate(names):
        collected(wrong, partial(add, name, index))
    refuse_all(wrong)
    return list(refs)


@contextmanager
def entry(path: str, field: str) -> Iterator[None]:
    """Errors of the block as those of one entry of a request."""
    try:
        yield
    except DomainError as error:
        raise within(error, path, otherwise=field) from error
