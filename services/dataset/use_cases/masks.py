"""Set the masks of images and take them away: checked, stored whole or not at all, and undone as any edit."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis.budgets import STORED_BYTES, UNLIMITED, UPLOADS, AtOnce, Budgets
from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import InvalidArgument
from services.chassis.names import check_etag, new_id
from services.chassis.uploads import chunks_of, header_of
from services.dataset.models.checks import Limits, check_text
from services.dataset.models.edits import Edit
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.models.resources import Image, Mask, MaskSource
from services.dataset.ports import Clock, DatasetReader, DatasetStore, PictureStore
from services.dataset.use_cases.edits import naming_editor, record
from services.dataset.use_cases.image_batches import entry, refs_of
from services.dataset.use_cases.mask_intake import CheckedMask, MaskIntake, too_large
from services.dataset.use_cases.upkeep import Upkeep

_FIELD = "content"


@dataclass(frozen=True)
class MaskHeader:
    """What the upload of a mask announces. sha256 "": not known. etag "": whatever the image's state."""

    image: ImageRef
    sha256: str = ""
    etag: str = ""


@dataclass(frozen=True)
class NewMask:
    """The mask of one image. name: as the caller wrote it. png: empty takes its mask away."""

    name: str
    png: bytes
    etag: str = ""
    source: MaskSource = MaskSource.UPLOADED
    tagger: str = ""


class MaskVerbs:
    """UploadImageMask and BatchSetImageMasks. reservation: time to store the bytes. idle_s: longest pause."""

    def __init__(
        self,
        store: DatasetStore,
        pictures: PictureStore,
        intake: MaskIntake,
        upkeep: Upkeep,
        clock: Clock,
        budget: ByteBudget,
        budgets: Budgets = UNLIMITED,
        *,
        at_once: AtOnce | None = None,
        limits: Limits,
        idle_s: float,
        reservation: timedelta,
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._intake = intake
        self._upkeep = upkeep
        self._clock = clock
        self._budget = budget
        self._budgets = budgets
        self._at_once = at_once or AtOnce(budgets, UPLOADS)
        self._max_bytes = limits.max_image_bytes
        self._idle_s = idle_s
        self._reservation = reservation

    async def upload(self, messages: AsyncIterator[MaskHeader | bytes]) -> Image:
        """Reads a header and then the file, and sets the mask.

        Raises NotFound, Aborted for an old etag, what `MaskIntake.check` does, InvalidArgument(UPLOAD_HEADER_MISSING,
        MASK_DIGEST_MISMATCH), DeadlineExceeded(UPLOAD_STALLED), ResourceExhausted(BYTES_IN_FLIGHT, BUDGET_USED_UP).
        """
        header = await header_of(messages, MaskHeader, idle_s=self._idle_s, field=_FIELD)
        parent = header.image.dataset
        with ExitStack() as stack:
            stack.enter_context(self._at_once.one(parent.project, field="name"))
            held = stack.enter_context(self._budget.holding(parent.project))
            async with self._store.read() as view:
                await view.image(header.image)
            data = bytearray()
            async for chunk in chunks_of(messages, idle_s=self._idle_s, field=_FIELD):
                if len(data) + len(chunk) > self._max_bytes:
                    raise too_large(self._max_bytes, _FIELD)
                held.at_least(len(data) + len(chunk))
                data += chunk
            if header.sha256 not in ("", hashlib.sha256(data).hexdigest()):
                raise InvalidArgument(
                    "The received bytes do not match the announced SHA-256",
                    field="sha256",
                    reason="MASK_DIGEST_MISMATCH",
                    remedy="Upload the mask again; it was damaged in transit, or the digest is of another file.",
                )
            if not data:
                raise InvalidArgument(
                    "The mask is empty", field=_FIELD, reason="IMAGE_EMPTY", remedy="Send the file's bytes."
                )
            mask = NewMask(header.image.name, bytes(data), header.etag)
            images, _ = await self._set(parent, [header.image], [mask], [_FIELD], "UploadImageMask")
        return images[0]

    async def set_all(self, parent: DatasetRef, masks: Sequence[NewMask]) -> tuple[list[Image], Edit | None]:
        """The images with their masks set or taken away, all or none, and the edit that it was.

        Raises as `upload` does; the field names the entry, such as `requests[3].png`.
        """
        refs = refs_of(parent, [mask.name for mask in masks], "requests[{}]", "name")
        fields = [f"requests[{index}].png" for index in range(len(masks))]
        with self._budget.holding(parent.project) as held:
            held.at_least(sum(len(mask.png) for mask in masks))
            return await self._set(parent, refs, masks, fields, "BatchSetImageMasks")

    async def _set(
        self,
        parent: DatasetRef,
        refs: Sequence[ImageRef],
        masks: Sequence[NewMask],
        fields: Sequence[str],
        method: str,
    ) -> tuple[list[Image], Edit | None]:
        paths = [field.rpartition(".")[0] for field in fields]
        async with self._store.read() as view:
            images = await _current(view, refs, masks, paths)
        now = self._clock()
        stored: dict[ImageRef, tuple[Mask, bytes]] = {}
        for image, mask, field in zip(images, masks, fields, strict=True):
            if mask.png:
                checked = await self._intake.check(mask.png, image.picture, field=field, project=parent.project)
                stored[image.ref] = _mask(image.ref, mask, checked, now), checked.png
        keys = [mask.key for mask, _ in stored.values()]
        size = sum(mask.size_bytes for mask, _ in stored.values())
        async with self._store.write() as tx:
            await tx.lock_dataset(parent)
            usage = await tx.lock_usage(parent.project)
            if size:
                self._budgets.check(parent.project, STORED_BYTES, usage.stored_bytes, wanted=size, field=fields[0])
            await tx.reserve_keys(keys, until=self._clock() + self._reservation)
        # A caller that goes away meanwhile does not leave bytes half put.
        return await asyncio.shield(asyncio.create_task(self._store_all(parent, refs, masks, paths, stored, method)))

    async def _store_all(
        self,
        parent: DatasetRef,
        refs: Sequence[ImageRef],
        masks: Sequence[NewMask],
        paths: Sequence[str],
        stored: dict[ImageRef, tuple[Mask, bytes]],
        method: str,
    ) -> tuple[list[Image], Edit | None]:
        keys = [mask.key for mask, _ in stored.values()]
        try:
            for mask, png in stored.values():
                await self._pictures.put(mask.key, png, content_type="image/png")
            async with self._store.write() as tx:
                dataset = await tx.lock_dataset(parent)
                now = self._clock()
                changes = []
                for image in await _current(tx, refs, masks, paths):
                    given = stored.get(image.ref)
                    wanted = given[0] if given else None
                    if wanted is not None and _says_the_same(wanted, image.mask):
                        wanted = image.mask
                    elif wanted is not None:
                        await tx.keep_mask(parent, wanted)
                        keys.remove(wanted.key)
                    changes.append((image, image.masked(wanted, now)))
                edit = await record(tx, parent, changes, method)
                if edit is not None:
                    await tx.save_dataset(dataset.touched(now))
        except Exception:
            await self._upkeep.discard([mask.key for mask, _ in stored.values()])
            raise
        if keys:
            await self._upkeep.discard(keys)
        return [after for _, after in changes], edit


async def _current(
    view: DatasetReader, refs: Sequence[ImageRef], masks: Sequence[NewMask], paths: Sequence[str]
) -> list[Image]:
    """The images as they are. Raises NotFound, and Aborted for an old etag."""
    images = []
    for ref, mask, path in zip(refs, masks, paths, strict=True):
        async with naming_editor(view, ref):
            if path:
                with entry(path, "name"):
                    image = await view.image(ref)
                    check_etag(mask.etag, image.etag)
            else:
                image = await view.image(ref)
                check_etag(mask.etag, image.etag)
        images.append(image)
    return images


def _mask(ref: ImageRef, mask: NewMask, checked: CheckedMask, now: datetime) -> Mask:
    folder = f"datasets/{ref.dataset.project}/{ref.dataset.dataset}/masks"
    suggested = mask.source is MaskSource.SUGGESTED
    return Mask(
        width=checked.width,
        height=checked.height,
        size_bytes=len(checked.png),
        sha256=checked.sha256,
        key=f"{folder}/{checked.sha256}/{new_id('msk')}",
        covered_share=checked.covered_share,
        create_time=now,
        source=mask.source,
        tagger=check_text(mask.tagger, field="tagger") if suggested else "",
    )


def _says_the_same(mask: Mask, other: Mask | None) -> bool:
    facts = ("sha256", "source", "tagger")
    return other is not None and all(getattr(mask, name) == getattr(other, name) for name in facts)
