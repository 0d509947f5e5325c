"""Numbers that a picture's pixels give: flatness, plain background and colour shares.

Everything is measured on reduced copies, so that a picture of any size is judged as a person sees it. The constants
were set on drawn pictures and on photographs; each measurement would rather be absent than wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.colour_names import COLOUR_NAMES, Floats, name_indices, to_oklab

Mask = npt.NDArray[np.bool_]

COLOUR_SIDE = 128
COLOUR_THRESHOLD = 0.12
"""The share of the subject from which on a colour is named."""
_ROWS = 400

# A ring of this width, as a share of the side, shows the background.
_RING = 0.06
_RING_SHARE = 0.75
_BACKGROUND_AREA = 0.15
# OKLab distances: within the first a surface looks like one colour; beyond the second it is surely another.
_SAME = 0.045
_OTHER = 0.09


@dataclass(frozen=True)
class Background:
    """share: of the border ring that shows it. colour: its name, "" when the name is not sure. mask: where it is."""

    share: float
    colour: str
    mask: Mask


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


def to_lab(rgb: npt.NDArray[np.uint8]) -> Floats:
    """The reduced copy on which colours are measured, in OKLab."""
    return to_oklab(reduced(rgb, COLOUR_SIDE))
