"""Pictures as the taggers see them: decoded in the suite's one way, with the transparency that it lays on white."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from services.chassis.pictures import Decoded, PictureLimits
from services.tagger.models.pictures import Picture

# A JPEG of twelve megapixels is decoded at half size in two thirds of the time; no tagger looks at more than this.
DRAFT_SIDE = 768
# Of a long strip the shorter side may keep less: no tagger sees more of it either.
MOST_PIXELS = 8_000_000


class Reader(Protocol):
    """What decodes: the pool of `services.chassis.picture_decoding`."""

    async def read(
        self,
        data: bytes,
        limits: PictureLimits,
        *,
        draft_side: int,
        most_pixels: int,
        keep_alpha: bool,
        field: str,
        owner: str,
    ) -> Decoded:
        """As `pictures.read`."""
        ...


class DecodedPictures:
    """A PictureDecoder. max_pixels: width times height of the original, checked in the header."""

    def __init__(self, reader: Reader, *, max_pixels: int) -> None:
        self._reader = reader
        self._limits = PictureLimits(max_pixels=max_pixels)

    async def decode(self, data: bytes, *, field: str, owner: str) -> Picture:
        """See the port."""
        decoded = await self._reader.read(
            data,
            self._limits,
            draft_side=DRAFT_SIDE,
            most_pixels=MOST_PIXELS,
            keep_alpha=True,
            field=field,
            owner=owner,
        )
        return as_picture(decoded)


def as_picture(decoded: Decoded) -> Picture:
    """The decoded picture as arrays; alpha None when every pixel is opaque."""
    alpha = None if decoded.alpha is None else np.asarray(decoded.alpha, np.uint8)
    return Picture(
        rgb=np.asarray(decoded.rgb, np.uint8),
        alpha=alpha if alpha is not None and int(alpha.min()) < 255 else None,
        width=decoded.info.width,
        height=decoded.info.height,
    )
