"""The check of a picture's bytes: what they say they are, a real decode of every pixel, a thumbnail."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from services.chassis import pictures
from services.chassis.errors import InvalidArgument
from services.chassis.pictures import PictureInfo, PictureLimits
from services.dataset.models.checks import Limits
from services.dataset.use_cases.picture_facts import picture_facts

THUMBNAIL_SIDE = 256
_FIELD = "chunk"


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that decodes. sha256: hex, of the bytes. thumbnail: JPEG, upright, at most 256 pixels a side.

    facts: of `picture_facts`.
    """

    info: PictureInfo
    sha256: str
    thumbnail: bytes
    facts: tuple[str, ...] = ()


class Intake:
    """Decodes in threads, few at a time: a picture at the pixel limit unfolds to hundreds of megabytes."""

    def __init__(self, limits: Limits, *, threads: int) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(threads)

    async def check(self, data: bytes, promised: str) -> CheckedPicture:
        """promised: the format that the file's name promises.

        Raises InvalidArgument with reason IMAGE_EMPTY, IMAGE_TYPE_MISMATCH, IMAGE_UNREADABLE, IMAGE_TOO_MANY_PIXELS or
        IMAGE_TOO_SMALL.
        """
        async with self._turns:
            return await asyncio.to_thread(self._check, data, promised)

    def _check(self, data: bytes, promised: str) -> CheckedPicture:
        found = pictures.sniff(data)
        if data and found != promised:
            shown = found.upper() if found else "neither PNG nor JPEG"
            raise InvalidArgument(
                f"The file is named as {promised.upper()}, but its bytes are {shown}",
                field=_FIELD,
                reason="IMAGE_TYPE_MISMATCH",
                remedy="Give it the extension of what it is, or convert it to PNG or JPEG; renaming does not convert.",
                metadata={"promised": promised, "found": found or ""},
            )
        limits = PictureLimits(max_pixels=self._limits.max_pixels, min_side=self._limits.min_side)
        info = pictures.inspect(data, limits, field=_FIELD)
        image = pictures.decode(data, max_pixels=self._limits.max_pixels, field=_FIELD)
        thumbnail = pictures.thumbnail(image, THUMBNAIL_SIDE)
        return CheckedPicture(info, hashlib.sha256(data).hexdigest(), thumbnail, picture_facts(image))
