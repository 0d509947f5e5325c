"""Numbers that a picture's pixels give: flatness, plain background, colour shares, tones and sharpness.

Everything is measured on reduced copies, so that a picture of any size is judged as a person sees it. The constants
were set on drawn pictures and on photographs, whole and blurred; each measurement would rather be absent than wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.colour_names import COLOUR_NAMES, Floats, chroma, name_indices, to_oklab

Mask = npt.NDArray[np.bool_]

COLOUR_SIDE = 128
SHARPNESS_SIDE = 768
TILES = 8
_ROWS = 400
_TONE_SIDE = 512

# A ring of this width, as a share of the side, shows the background.
_RING = 0.06
_RING_SHARE = 0.75
_BACKGROUND_AREA = 0.15
# OKLab distances: within the first a surface looks like one colour; beyond the second it is surely another.
_SAME = 0.045
_OTHER = 0.09
_GREY_LIMIT = 0.02


@dataclass(frozen=True)
class Background:
    """share: of the border ring that shows it. colour: its name, "" when the name is not sure. mask: where it is."""

    share: float
    colour: str
    mask: Mask


@dataclass(frozen=True)
class Tones:
    """Shares of the pixels by luma (0 to 255): dark up to 8, bright from 250, middle 64 to 192.

    spread: standard deviation of the luma, as a fraction of 255. range: between the 5th and the 95th percentile.
    """

    dark: float
    bright: float
    middle: float
    spread: float
    range: float


def reduced(rgb: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The picture with its longer side at most `side` pixels, each the mean of what it covers; never enlarged."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX), np.uint8)


def flat_share(rgb: npt.NDArray[np.uint8]) -> float:
    """The share of pixels equal to their right neighbour, clipped ones aside: high in drawings, low in photographs.

    Some 400 rows are looked at, whole, because only true neighbours tell.
    """
    rows = rgb[:: max(1, rgb.shape[0] // _ROWS)]
    left, right = rows[:, :-1], rows[:, 1:]
    red, green, blue = left[..., 0], left[..., 1], left[..., 2]
    clipped = ((red >= 250) & (green >= 250) & (blue >= 250)) | ((red <= 5) & (green <= 5) & (blue <= 5))
    equal = (red == right[..., 0]) & (green == right[..., 1]) & (blue == right[..., 2])
    unclipped = int((~clipped).sum())
    # A picture of nothing but pure black and white is a drawing.
    return float((equal & ~clipped).sum() / unclipped) if unclipped > 0.02 * clipped.size else 1.0


def is_greyscale(lab: Floats) -> bool:
    """Whether all but a hundredth of the pixels are without colour."""
    return bool(np.percentile(chroma(lab), 99) < _GREY_LIMIT)


def ring_mask(shape: tuple[int, int]) -> Mask:
    """The border ring of a picture (height, width)."""
    width = max(1, round(min(shape) * _RING))
    mask = np.ones(shape, np.bool_)
    mask[width:-width, width:-width] = False
    return mask


def find_background(lab: Floats, *, photograph: bool) -> Background | None:
    """The plain background of an OKLab picture (height, width, 3): one colour along most of the border.

    None when the border shows several colours, or when that colour fills too little of the picture.
    """
    ring = ring_mask(lab.shape[:2])
    centre = np.median(lab[ring], axis=0)
    for _ in range(2):
        # Twice, because a subject that touches the border pulls the first median towards itself.
        near = np.linalg.norm(lab - centre, axis=2) < _SAME
        if not (near & ring).any():
            return None
        centre = np.median(lab[near & ring], axis=0)
    near = np.linalg.norm(lab - centre, axis=2) < _SAME
    share = float(near[ring].mean())
    if share < _RING_SHARE or float(near.mean()) < _BACKGROUND_AREA:
        return None
    names = name_indices(lab[near & ring], shaded=photograph)
    best = int(np.bincount(names + 1).argmax()) - 1
    sure = best >= 0 and float((names == best).mean()) >= 0.8
    mask = np.linalg.norm(lab - centre, axis=2) < _OTHER
    return Background(share, COLOUR_NAMES[best] if sure else "", mask)


def colour_shares(lab: Floats, where: Mask, *, photograph: bool) -> dict[str, float]:
    """The share of each named colour among the pixels of a mask, largest first; empty when the mask is nearly empty."""
    if where.mean() < 0.02:
        return {}
    names = name_indices(lab[where], shaded=photograph)
    counts = np.bincount(names[names >= 0], minlength=len(COLOUR_NAMES)) / names.size
    return {COLOUR_NAMES[i]: float(counts[i]) for i in np.argsort(-counts) if counts[i] >= 0.02}


def measure_tones(rgb: npt.NDArray[np.uint8]) -> Tones:
    """Tones of a picture, on the luma (BT.601) of evenly spread pixels of it; averages would hide what is clipped."""
    step = max(1, max(rgb.shape[:2]) // _TONE_SIDE)
    luma = _luma(np.ascontiguousarray(rgb[::step, ::step]))
    low, high = np.percentile(luma, [5, 95])
    return Tones(
        dark=float((luma <= 8).mean()),
        bright=float((luma >= 250).mean()),
        middle=float(((luma >= 64) & (luma <= 192)).mean()),
        spread=float(luma.std() / 255),
        range=float((high - low) / 255),
    )


def sharpness(rgb: npt.NDArray[np.uint8]) -> tuple[float, float] | None:
    """How sharp the sharpest tenth of the picture is: the 90th percentile over an 8 by 8 grid of tiles.

    The first number is the standard deviation of the Laplacian in luma levels; the second is the same relative to the
    tile's own contrast, so that a faint but sharp structure counts as sharp. None when fewer than eight tiles hold any
    structure: nothing can be said of a smooth surface.
    """
    luma = _luma(reduced(rgb, SHARPNESS_SIDE))
    high, wide = luma.shape[0] // TILES, luma.shape[1] // TILES
    if min(high, wide) < 8:
        return None
    laplacian = np.zeros_like(luma)
    laplacian[1:-1, 1:-1] = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    detail, contrast = _tile_deviations(laplacian, high, wide), _tile_deviations(luma, high, wide)
    structured = contrast > 4
    if structured.sum() < TILES:
        return None
    relative = detail[structured] / contrast[structured]
    return float(np.percentile(detail, 90)), float(np.percentile(relative, 90))


def to_lab(rgb: npt.NDArray[np.uint8]) -> Floats:
    """The reduced copy on which colours are measured, in OKLab."""
    return to_oklab(reduced(rgb, COLOUR_SIDE))


def _luma(rgb: npt.NDArray[np.uint8]) -> Floats:
    return np.asarray(Image.fromarray(rgb).convert("L"), np.float32)


def _tile_deviations(values: Floats, high: int, wide: int) -> Floats:
    tiles = values[: TILES * high, : TILES * wide].reshape(TILES, high, TILES, wide)
    return np.asarray(tiles.transpose(0, 2, 1, 3).reshape(TILES * TILES, -1).std(axis=1), np.float32)
