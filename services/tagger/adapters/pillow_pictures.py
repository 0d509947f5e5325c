"""Decodes pictures with the suite's intake, and keeps the alpha channel that the intake lays on white."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from services.chassis import pictures
from services.tagger.models import Picture

# A JPEG of twelve megapixels is decoded at half size in two thirds of the time; no tagger looks at more than this.
DRAFT_SIDE = 768


class PillowPictures:
    """A PictureDecoder. max_pixels: width times height of the original, checked in the header."""

    def __init__(self, *, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def decode(self, data: bytes, *, field: str) -> Picture:
        """See the port."""
        info = pictures.inspect(data, pictures.PictureLimits(max_pixels=self._max_pixels), field=field)
        image = pictures.decode(data, max_pixels=self._max_pixels, draft_side=DRAFT_SIDE, field=field)
        return Picture(
            rgb=np.asarray(image, np.uint8),
            alpha=_alpha(data) if info.has_alpha else None,
            width=info.width,
            height=info.height,
        )


def _alpha(data: bytes) -> npt.NDArray[np.uint8] | None:
    """The alpha channel, upright; None when every pixel is opaque. Only for data that has been decoded before."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        upright = ImageOps.exif_transpose(image)
        alpha = np.asarray(upright.convert("RGBA").getchannel("A"), np.uint8)
    return alpha if int(alpha.min()) < 255 else None
