"""Facts of a picture out of its pixels: shape, resolution, exposure, contrast, sharpness. No words for a caption.

Each is measured on a reduced copy, so that a picture of any size is judged as a person sees it. The constants stand
between measurements on photographs, whole, blurred and darkened (docs/tagging.md); a fact is rather absent than wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.dataset.models.resources import Crop

Floats = npt.NDArray[np.float32]

FACTS = (
    "square", "portrait", "landscape", "low resolution", "high resolution", "underexposed", "overexposed",
    "low contrast", "high contrast", "blurry", "greyscale", "bars",
    "blank",
)  # fmt: skip
"""Every fact that an upload gives. Whether something is written in it says a tagger later."""

LOW_RESOLUTION_SIDE = 512
HIGH_RESOLUTION_SIDE = 2048

_SQUARE = 1.05
# Above this share of equal neighbours a picture is a drawing, of which exposure and sharpness say nothing.
_DRAWING = 0.5
_ROWS = 400
_TONE_SIDE = 512
_SHARPNESS_SIDE = 768
_TILES = 8
_CLIPPED = 0.05
# White cloth in good light has as much as 0.16 of white; photographs that were lightened until much was lost have more
# than this.
_BURNT = 0.2
# Of the outermost places so many are clipped where something stands before a studio's white or black, or is cut out.
_GROUND = 0.75
# What stands before it is burnt out, or too dark, when half of it is beyond; but white porcelain before white is well
# lit when so little of it is clipped, and a black cat before black when something of it shines.
_WASHED_OUT, _SUNK = 192, 32
_LITTLE_BURNT, _SHINES = 0.3, 56
_FEW_MIDTONES = 0.15
_FLAT_RANGE = 0.25
_FLAT_SPREAD = 0.08
_HARD_SPREAD = 0.32
# On the test photographs, the middle half: unblurred 19 to 45 (0.69 to 1.7), Gaussian blur of 1 pixel 6 to 10 (0.25 to
# 0.46), of 2 pixels 2.6 to 3.7 (0.12 to 0.17), of 4 pixels 1.6 to 2.0 (0.08 to 0.11).
_BLURRED_DETAIL = 4.0
_BLURRED_RELATIVE = 0.16
# What blurs also makes neighbours equal; only beyond this is a smooth picture surely drawn.
_SMOOTH_DRAWING = 0.8
# A tile of less contrast shows the noise of a JPEG and not how sharp it is.
_STRUCTURE = 12
# A picture whose places, but for a hundredth, differ by no more levels in any channel shows nothing.
_BLANK_RANGE = 10
# Largest difference of the channels of a pixel that still looks grey, in levels.
_GREY_RANGE = 8


def picture_facts(
    image: Image.Image, *, size: tuple[int, int] | None = None, inside: Crop | None = None
) -> tuple[str, ...]:
    """The facts of an upright RGB picture, in the order of FACTS.

    size: of the original, if `image` is reduced. inside: the part within its bars; light and sharpness are its alone.
    """
    found = {*_format(size or image.size), *_tones(image if inside is None else image.crop(inside.pixels(image.size)))}
    if inside is not None:
        found.add("bars")
    return tuple(fact for fact in FACTS if fact in found)


def sharpness(image: Image.Image) -> tuple[float, float] | None:
    """How sharp the sharpest tenth of the picture is: the 90th percentile over an 8 by 8 grid of tiles.

    The first number is the standard deviation of the Laplacian in luma levels; the second is the same relative to the
    tile's own contrast, so that a faint but sharp structure counts as sharp. None when fewer than eight tiles hold any
    structure: nothing can be said of a smooth surface.
    """
    luma = np.asarray(_reduced(image, _SHARPNESS_SIDE).convert("L"), np.float32)
    high, wide = luma.shape[0] // _TILES, luma.shape[1] // _TILES
    if min(high, wide) < 8:
        return None
    laplacian = np.zeros_like(luma)
    laplacian[1:-1, 1:-1] = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    detail, contrast = _tile_deviations(laplacian, high, wide), _tile_deviations(luma, high, wide)
    structured = contrast > _STRUCTURE
    if structured.sum() < _TILES:
        return None
    relative = detail[structured] / contrast[structured]
    return float(np.percentile(detail, 90)), float(np.percentile(relative, 90))


def _format(size: tuple[int, int]) -> Iterator[str]:
    width, height = size
    if width > height * _SQUARE:
        yield "landscape"
    elif height > width * _SQUARE:
        yield "portrait"
    else:
        yield "square"
    if min(size) < LOW_RESOLUTION_SIDE:
        yield "low resolution"
    elif min(size) >= HIGH_RESOLUTION_SIDE:
        yield "high resolution"


def _tones(image: Image.Image) -> Iterator[str]:
    if _is_blank(image):
        yield "blank"
    if _is_greyscale(image):
        yield "greyscale"
    flat = _flat_share(image)
    if flat <= _DRAWING:
        yield from _exposure(image)
    measured = sharpness(image) if flat <= _SMOOTH_DRAWING else None
    if measured is not None and measured[0] < _BLURRED_DETAIL and measured[1] < _BLURRED_RELATIVE:
        yield "blurry"


def _exposure(image: Image.Image) -> Iterator[str]:
    """Clipping alone is no fault (a white wall, a night sky); with few midtones as well it is."""
    # Single pixels, evenly spread: averages would hide what is clipped.
    step = max(1, max(image.size) // _TONE_SIDE)
    sample = image.resize((image.width // step or 1, image.height // step or 1), Image.Resampling.NEAREST)
    luma = np.asarray(sample.convert("L"), np.float32)
    dark, bright = float((luma <= 8).mean()), float((luma >= 250).mean())
    middle = float(((luma >= 64) & (luma <= 192)).mean())
    if middle < _FEW_MIDTONES and (dark > _CLIPPED or bright > _BURNT):
        fault = "underexposed" if dark > bright else "overexposed"
        if not _is_a_ground(luma, fault):
            yield fault
    low, high = np.percentile(luma, [5, 95])
    if (high - low) / 255 < _FLAT_RANGE and luma.std() / 255 < _FLAT_SPREAD:
        yield "low contrast"
    elif luma.std() / 255 > _HARD_SPREAD:
        yield "high contrast"


def _is_a_ground(luma: Floats, fault: str) -> bool:
    """Whether what is clipped is the ground before which something well lit stands. luma: (rows, columns)."""
    clipped = luma <= 8 if fault == "underexposed" else luma >= 250
    ring = np.concatenate([clipped[0], clipped[-1], clipped[:, 0], clipped[:, -1]])
    rest = luma[~clipped]
    if ring.mean() < _GROUND or rest.size < _CLIPPED * luma.size:
        return False
    if fault == "underexposed":
        return bool(np.median(rest) >= _SUNK or np.percentile(rest, 95) >= _SHINES)
    return bool(np.median(rest) <= _WASHED_OUT or _share_within(clipped) <= _LITTLE_BURNT)


def _share_within(clipped: npt.NDArray[np.bool_]) -> float:
    """The share of clipped pixels between the first and the last of each row that is not."""
    shown = ~clipped
    within = np.maximum.accumulate(shown, axis=1) & np.maximum.accumulate(shown[:, ::-1], axis=1)[:, ::-1]
    return float(clipped[within].mean())


def _is_blank(image: Image.Image) -> bool:
    """Whether it is of one colour all over: a lens cap, a failed export. The grain of a sensor does not count."""
    small = np.asarray(_reduced(image, 128), np.float32)
    low, high = np.percentile(small, [0.5, 99.5], axis=(0, 1))
    return bool((high - low).max() <= _BLANK_RANGE)


def _is_greyscale(image: Image.Image) -> bool:
    """Whether all but a hundredth of the places are without colour."""
    small = np.asarray(_reduced(image, 128), np.int16)
    return bool(np.percentile(small.max(axis=2) - small.min(axis=2), 99) < _GREY_RANGE)


def _flat_share(image: Image.Image) -> float:
    """The share of pixels equal to their right neighbour, clipped ones aside: high in drawings, low in photographs."""
    step = max(1, image.height // _ROWS)
    rows = image.resize((image.width, max(1, image.height // step)), Image.Resampling.NEAREST)
    pixels = np.asarray(rows)
    left, right = pixels[:, :-1], pixels[:, 1:]
    clipped = (left >= 250).all(axis=2) | (left <= 5).all(axis=2)
    equal = (left == right).all(axis=2) & ~clipped
    unclipped = int((~clipped).sum())
    # A picture of nothing but pure black and white is a drawing.
    return float(equal.sum() / unclipped) if unclipped > 0.02 * clipped.size else 1.0


def _reduced(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX)


def _tile_deviations(values: Floats, high: int, wide: int) -> Floats:
    tiles = values[: _TILES * high, : _TILES * wide].reshape(_TILES, high, _TILES, wide)
    return np.asarray(tiles.transpose(0, 2, 1, 3).reshape(_TILES * _TILES, -1).std(axis=1), np.float32)
