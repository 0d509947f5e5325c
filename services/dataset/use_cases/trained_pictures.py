"""The part of a picture that is trained, and of its mask, as pictures of their own: VIEW_CROP and VIEW_MASK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from PIL import Image as Pillow

from services.chassis import pictures
from services.chassis.budgets import DOWNLOADS, UNLIMITED, AtOnce
from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import InvalidArgument
from services.chassis.pictures import PictureLimits
from services.dataset.models.checks import Limits
from services.dataset.models.names import ImageRef, VersionImageRef
from services.dataset.models.resources import Crop
from services.dataset.ports import PictureDecoder
from services.dataset.use_cases.images import Download, ImageVerbs, View
from services.dataset.use_cases.mask_intake import png_of

MOST_SIDE = 2048
# A part of a large picture is cut out of its full size as far as a decoder's memory allows.
_DECODED_SIDE = 2 * MOST_SIDE
_DECODED_PIXELS = 16_000_000
_CHUNK = 256 * 1024
_WHOLE = Crop(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Form:
    """How a picture is wanted. crop: instead of its own. size: pixels it is scaled to; None leaves them."""

    view: View
    crop: Crop | None = None
    size: tuple[int, int] | None = None


class TrainedPictures:
    """Downloads in every form; the part to train on is drawn for each call."""

    def __init__(
        self,
        images: ImageVerbs,
        decoder: PictureDecoder,
        budget: ByteBudget,
        *,
        limits: Limits,
        at_once: AtOnce | None = None,
    ) -> None:
        """at_once: counts downloads."""
        self._at_once = at_once or AtOnce(UNLIMITED, DOWNLOADS)
        self._images = images
        self._decoder = decoder
        self._budget = budget
        self._limits = PictureLimits(max_pixels=limits.max_pixels)

    async def download(self, ref: ImageRef | VersionImageRef, form: Form) -> Download:
        """A picture, live or as a version pinned it. Raises NotFound, InvalidArgument, ResourceExhausted, DataLoss.

        chunks raises ResourceExhausted when too many go out to the project already.
        """
        found = await self._found(ref, form)
        return replace(found, chunks=self._at_once.during(_project(ref), found.chunks, field="name"))

    async def _found(self, ref: ImageRef | VersionImageRef, form: Form) -> Download:
        if form.view is View.MASK and (form.crop or form.size):
            return await self._mask(ref, form)
        if form.view is not View.CROP:
            if form.crop or form.size:
                raise InvalidArgument(
                    "A part or a size is given, but another view than the crop is asked for",
                    field="view",
                    reason="VIEW_TAKES_NO_CROP",
                    remedy="Set view to VIEW_CROP or VIEW_MASK, or leave crop, width and height out.",
                )
            return await self._images.download(ref, form.view)
        record = await self._images.record(ref)
        crop = form.crop or record.fields.crop or _WHOLE
        project = _project(ref)
        with self._budget.holding(project) as held:
            held.at_least(record.picture.size_bytes)
            original = await self._images.download(ref, View.ORIGINAL)
            data = b"".join([chunk async for chunk in original.chunks])
            decoded = await self._decoder.read(
                data,
                self._limits,
                draft_side=_DECODED_SIDE,
                most_pixels=_DECODED_PIXELS,
                field="name",
                owner=project,
            )
            jpeg = await asyncio.to_thread(_drawn, decoded.rgb, crop, form.size)
        stem = record.picture.file_name.rpartition(".")[0] or record.picture.file_name
        etag = f"{record.picture.sha256}-{'-'.join(f'{edge:g}' for edge in vars(crop).values())}-{form.size}"
        return Download(f"{stem}-crop.jpg", "image/jpeg", len(jpeg), etag, _chunks(jpeg))

    async def _mask(self, ref: ImageRef | VersionImageRef, form: Form) -> Download:
        """A part of the mask, or all of it at another size: a grey PNG."""
        whole = await self._images.download(ref, View.MASK)
        project = _project(ref)
        with self._budget.holding(project) as held:
            held.at_least(whole.size_bytes or 0)
            data = b"".join([chunk async for chunk in whole.chunks])
            decoded = await self._decoder.read(
                data, self._limits, draft_side=_DECODED_SIDE, most_pixels=_DECODED_PIXELS, field="name", owner=project
            )
            png = await asyncio.to_thread(_drawn_mask, decoded.rgb, form.crop or _WHOLE, form.size)
        return Download(whole.file_name, "image/png", len(png), f"{whole.etag}-{form.crop}-{form.size}", _chunks(png))


def _drawn_mask(image: Pillow.Image, crop: Crop, size: tuple[int, int] | None) -> bytes:
    grey, edges = image.convert("L"), _edges(crop, image.size)
    if size is None:
        return png_of(grey.crop(crop.pixels(image.size)))
    return png_of(grey.resize(size, Pillow.Resampling.BOX, box=edges))


def _edges(crop: Crop, size: tuple[int, int]) -> tuple[float, float, float, float]:
    return crop.left * size[0], crop.top * size[1], crop.right * size[0], crop.bottom * size[1]


def _project(ref: ImageRef | VersionImageRef) -> str:
    return (ref.dataset if isinstance(ref, ImageRef) else ref.version.dataset).project


def _drawn(image: Pillow.Image, crop: Crop, size: tuple[int, int] | None) -> bytes:
    if size is not None:
        # As the engine does it: one resampling of exactly this part.
        edges = _edges(crop, image.size)
        return pictures.to_jpeg(image.resize(size, Pillow.Resampling.LANCZOS, box=edges), quality=95)
    return pictures.to_jpeg(pictures.resize_within(image.crop(crop.pixels(image.size)), MOST_SIDE), quality=95)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]
