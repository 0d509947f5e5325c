"""The check of a mask's bytes: a PNG of its picture's shape that marks something, kept as 8 bit grey."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from io import BytesIO

from PIL import Image as Pillow
from PIL import ImageStat

from services.chassis import pictures
from services.chassis.errors import InvalidArgument
from services.chassis.picture_decoding.formats import named
from services.chassis.pictures import Decoded, PictureLimits
from services.dataset.models.checks import Limits
from services.dataset.models.resources import Picture
from services.dataset.ports import PictureDecoder

MOST_SIDE = 2048
"""A stored mask has no more pixels a side: it is trained at the size of latents, an eighth of a picture's."""
_MOST_PIXELS = 4 * MOST_SIDE * MOST_SIDE
_MARKED = 128
_SHAPE_TOLERANCE = 0.02
_SIGNATURE, _PLAIN_CHUNKS = 8, {b"IHDR", b"IDAT", b"IEND"}


@dataclass(frozen=True)
class CheckedMask:
    """A mask as it is stored. png: 8 bit grey. sha256: hex, of it. covered_share: of the picture, 0 to 1."""

    png: bytes
    width: int
    height: int
    sha256: str
    covered_share: float


class MaskIntake:
    """Has masks decoded as pictures are."""

    def __init__(self, limits: Limits, decoder: PictureDecoder) -> None:
        self._limits = PictureLimits(max_pixels=limits.max_pixels)
        self._max_bytes = limits.max_image_bytes
        self._decoder = decoder

    async def check(self, data: bytes, picture: Picture, *, field: str, project: str) -> CheckedMask:
        """picture: whose mask it is. Where a mask has transparency, what is opaque is marked, whatever its colour.

        Raises InvalidArgument: MASK_TYPE_UNSUPPORTED, MASK_SHAPE_MISMATCH, MASK_EMPTY, MASK_TOO_LARGE, and the reasons
        of `pictures.inspect`; and Unavailable.
        """
        if len(data) > self._max_bytes:
            raise too_large(self._max_bytes, field)
        if data and pictures.sniff(data) != "png":
            name, _ = named(data)
            raise InvalidArgument(
                f"The mask is {name or 'no PNG file'}" if name != "PNG" else "The mask is a damaged PNG file",
                field=field,
                reason="MASK_TYPE_UNSUPPORTED",
                remedy="Save it as a grey PNG: white what is trained, black what is not.",
            )
        decoded = await self._decoder.read(
            data, self._limits, draft_side=MOST_SIDE, most_pixels=_MOST_PIXELS, keep_alpha=True, field=field,
            owner=project,
        )  # fmt: skip
        size = decoded.info.width, decoded.info.height
        if not _same_shape(size, (picture.width, picture.height)):
            raise InvalidArgument(
                f"The mask has {size[0]} × {size[1]} pixels, another shape than its picture of"
                f" {picture.width} × {picture.height}",
                field=field,
                reason="MASK_SHAPE_MISMATCH",
                remedy="Draw it over the whole upright picture, at its size or scaled.",
            )
        checked = await asyncio.to_thread(_stored, data, decoded)
        if checked is None:
            raise InvalidArgument(
                "The mask marks nothing: it has no bright pixel",
                field=field,
                reason="MASK_EMPTY",
                remedy="Paint what is trained white; to train all of the picture, take its mask away.",
            )
        return checked


def too_large(limit: int, field: str) -> InvalidArgument:
    """The mask's file is too large."""
    return InvalidArgument(
        f"The mask has more than {limit} bytes",
        field=field,
        reason="MASK_TOO_LARGE",
        remedy=f"Save it smaller, with at most {MOST_SIDE} pixels a side, as 8 bit grey.",
        metadata={"limit_bytes": str(limit)},
    )


def png_of(mask: Pillow.Image) -> bytes:
    """A grey picture as a PNG file."""
    buffer = BytesIO()
    mask.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _stored(data: bytes, decoded: Decoded) -> CheckedMask | None:
    """None where nothing is marked."""
    mask = decoded.rgb.convert("L")
    if decoded.alpha is not None and decoded.alpha.getextrema() != (255, 255):
        mask = decoded.alpha
    reduced = pictures.resize_within(mask, MOST_SIDE)
    if float(reduced.getextrema()[1]) < _MARKED:  # type: ignore[arg-type]
        return None
    # A file that is stored as it came keeps its digest, so that an exported mask is the same when it comes back.
    plain = reduced.size == (decoded.info.width, decoded.info.height) and _is_plain(data, decoded)
    png = data if plain else png_of(reduced)
    share = ImageStat.Stat(reduced).mean[0] / 255
    return CheckedMask(png, *reduced.size, hashlib.sha256(png).hexdigest(), round(share, 6))


def _is_plain(data: bytes, decoded: Decoded) -> bool:
    """Whether the file is 8 bit grey and holds pixels alone."""
    if decoded.info.mode != "L" or data[24] != 8:
        return False
    position, kinds = _SIGNATURE, set()
    while position + 8 <= len(data):
        kinds.add(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return kinds <= _PLAIN_CHUNKS and position == len(data)


def _same_shape(mask: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Whether the mask is the picture scaled, give or take a pixel, or two in a hundred."""
    high = mask[0] * picture[1] / picture[0]
    wide = mask[1] * picture[0] / picture[1]
    return abs(high - mask[1]) <= max(1.0, _SHAPE_TOLERANCE * high) or abs(wide - mask[0]) <= 1.0
