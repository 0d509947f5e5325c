"""The check of a picture's bytes: what they say they are, a real decode of every pixel, a thumbnail, its facts."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from services.chassis import pictures
from services.chassis.errors import InvalidArgument
from services.chassis.picture_decoding.formats import named
from services.chassis.pictures import Decoded, PictureInfo, PictureLimits
from services.dataset.models.checks import Limits
from services.dataset.models.resources import Crop
from services.dataset.ports import PictureDecoder
from services.dataset.use_cases.bars import picture_inside
from services.dataset.use_cases.likeness import perceptual_hash
from services.dataset.use_cases.picture_facts import picture_facts

THUMBNAIL_SIDE = 256
LOOKED_AT_SIDE = 1024
"""Facts are measured on no more than this of the shorter side, so that a huge picture is not handed over whole."""
LOOKED_AT_PIXELS = 8_000_000
_FIELD = "chunk"


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that decodes. sha256: hex, of the bytes. thumbnail: JPEG, upright, at most 256 pixels a side.

    facts: of `picture_facts`, of the picture inside its bars. content_area: that part; None where there are no bars.
    """

    info: PictureInfo
    sha256: str
    thumbnail: bytes
    facts: tuple[str, ...] = ()
    content_area: Crop | None = None
    perceptual_hash: str = ""


class Intake:
    """Has pictures decoded, each within the limits."""

    def __init__(self, limits: Limits, decoder: PictureDecoder) -> None:
        self._limits = PictureLimits(max_pixels=limits.max_pixels, min_side=limits.min_side)
        self._decoder = decoder

    async def check(self, data: bytes, promised: str, *, project: str) -> CheckedPicture:
        """promised: the format that the file's name promises. project: whose picture it is.

        Raises InvalidArgument with reason IMAGE_EMPTY, IMAGE_TYPE_MISMATCH, IMAGE_TYPE_UNSUPPORTED, IMAGE_UNREADABLE,
        IMAGE_TOO_COSTLY, IMAGE_TOO_MANY_PIXELS or IMAGE_TOO_SMALL, and Unavailable.
        """
        found = pictures.sniff(data)
        if data and found != promised:
            raise _mismatch(data, promised, found)
        decoded = await self._decoder.read(
            data,
            self._limits,
            draft_side=LOOKED_AT_SIDE,
            most_pixels=LOOKED_AT_PIXELS,
            field=_FIELD,
            owner=project,
        )
        return await asyncio.to_thread(_looked_at, data, decoded)


def _looked_at(data: bytes, decoded: Decoded) -> CheckedPicture:
    info = decoded.info
    area = picture_inside(decoded.rgb)
    inside = decoded.rgb if area is None else decoded.rgb.crop(area.pixels(decoded.rgb.size))
    return CheckedPicture(
        info=info,
        sha256=hashlib.sha256(data).hexdigest(),
        thumbnail=pictures.thumbnail(decoded.rgb, THUMBNAIL_SIDE),
        facts=picture_facts(decoded.rgb, size=(info.width, info.height), inside=area),
        content_area=area,
        perceptual_hash=perceptual_hash(inside),
    )


def _mismatch(data: bytes, promised: str, found: str | None) -> InvalidArgument:
    if found:
        shown, remedy = f"its bytes are {found.upper()}", f"Rename it to .{found} and upload it again."
    else:
        name, remedy = named(data)
        shown = f"it is {name}" if name else "its bytes are neither PNG nor JPEG"
    return InvalidArgument(
        f"The file is named as {promised.upper()}, but {shown}",
        field=_FIELD,
        reason="IMAGE_TYPE_MISMATCH",
        remedy=remedy,
        metadata={"promised": promised, "found": found or ""},
    )
