"""A soft mask of the subject of a photograph: where the photo network is excited, then by the picture's own colours.

The network's evidence (see `photo_subject`) is looked at whole and in nine overlapping quarters, faded into each other
so that no seam shows. It says about where the subject is. Which colours are the subject's and which the ground's is
estimated from that, and corrects it, three times (as GrabCut does, Rother et al. 2004, without its graph); a guided
filter (He et al. 2013) draws the border along the picture's edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.measurements import reduced
from services.tagger.adapters.onnx_model import Floats, OnnxModel
from services.tagger.adapters.photo_subject import above_the_ground, evidence_of, finer, something
from services.tagger.adapters.photo_views import SIDE

MASK_SIDE = 256
_WORKING_SIDE = 1024
_GRID, _HALF = 36, 18
_PLACES = tuple((across / 2, down / 2) for down in range(3) for across in range(3))
_SATURATED = 98
# Set on the development set (docs/crops.md): from this excitement on a place is the subject's before colours are seen;
# colours count this much; and between these the finished mask is soft.
_SURELY = 0.25
_COLOUR = 0.4
_SOFT = (0.3, 0.7)
_ROUNDS = 3
_BINS = 16
_EDGE = 1e-3

Doubles = npt.NDArray[np.float64]


def find_mask(model: OnnxModel, rgb: npt.NDArray[np.uint8]) -> Floats | None:
    """What of the picture is its subject, (rows, columns) in 0 to 1, at most 256 a side; None where nothing stands out.

    rgb: uint8 (height, width, 3), without bars.
    """
    image = Image.fromarray(reduced(rgb, _WORKING_SIDE))
    if min(image.size) < 8:
        return None
    excited = _excitement(model, image)
    if float(excited.max()) <= 0:
        return None
    scale = min(1.0, MASK_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.LANCZOS)
    spread = Image.fromarray(excited / excited.max()).resize(size, Image.Resampling.BICUBIC)
    radius = max(1, min(size) // 40)
    place = _mean(np.clip(np.asarray(spread, np.float64) / _SURELY, 0, 1), radius)
    pixels = np.asarray(small, np.float64) / 255
    found = guided(pixels, by_colours(np.asarray(small.convert("LAB"), np.int64), place), radius)
    found = guided(pixels, np.clip(found, 0, 1), radius)
    return np.clip((found - _SOFT[0]) / (_SOFT[1] - _SOFT[0]), 0, 1).astype(np.float32)


def by_colours(lab: npt.NDArray[np.int64], place: Doubles) -> Doubles:
    """The places corrected by the colours that occur in them and outside. Both (rows, columns), lab with channels."""
    bins = lab // (256 // _BINS)
    colours = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    prior = np.clip(place, 0.02, 0.98)
    prior = np.log(prior / (1 - prior))
    mask = place
    for _ in range(_ROUNDS):
        likelier = np.log(_shares(colours, mask) / _shares(colours, 1 - mask))
        mask = 1 / (1 + np.exp(-(prior + _COLOUR * np.clip(likelier, -3, 3))))
    return mask


def guided(guide: Doubles, mask: Doubles, radius: int) -> Doubles:
    """The mask smoothed within each colour of the guide, (rows, columns, 3), so that its border follows edges."""

    def mean(values: Doubles) -> Doubles:
        return _mean(values, radius)

    channels = [guide[..., channel] for channel in range(3)]
    means = np.stack([mean(channel) for channel in channels], -1)
    with_mask = np.stack([mean(channel * mask) for channel in channels], -1) - means * mean(mask)[..., None]
    spread = np.empty((*mask.shape, 3, 3))
    for one in range(3):
        for other in range(3):
            spread[..., one, other] = mean(channels[one] * channels[other]) - means[..., one] * means[..., other]
    slope = np.asarray(np.linalg.solve(spread + _EDGE * np.eye(3), with_mask[..., None])[..., 0], np.float64)
    offset = mean(mask) - (slope * means).sum(-1)
    slopes = np.stack([mean(slope[..., channel]) for channel in range(3)], -1)
    return np.asarray((slopes * guide).sum(-1) + mean(offset))


def _excitement(model: OnnxModel, image: Image.Image) -> Floats:
    """How much each of 36 × 36 places is the subject's."""
    wide, high = image.width / 2, image.height / 2
    boxes = [(x * wide, y * high, (x + 1) * wide, (y + 1) * high) for x, y in _PLACES]
    boxes.insert(0, (0.0, 0.0, float(image.width), float(image.height)))
    looks = [image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box, reducing_gap=2) for box in boxes]
    whole, *parts = evidence_of(model, looks).std(axis=1)
    coarse = finer(whole, _GRID)
    near = _levelled(above_the_ground(_faded(parts))) * something(coarse)
    return np.asarray(near + _levelled(above_the_ground(coarse)), np.float32)


def _faded(parts: Sequence[Floats]) -> Floats:
    """The overlapping quarters as one, each counting most in its middle."""
    rise = np.minimum(np.arange(_HALF) + 0.5, _HALF - np.arange(_HALF) - 0.5)
    weight = np.outer(rise, rise)
    total, weights = np.zeros((_GRID, _GRID)), np.zeros((_GRID, _GRID))
    for (across, down), part in zip(_PLACES, parts, strict=True):
        rows = slice(int(down * _HALF), int(down * _HALF) + _HALF)
        columns = slice(int(across * _HALF), int(across * _HALF) + _HALF)
        total[rows, columns] += weight * finer(part, _HALF)
        weights[rows, columns] += weight
    return np.asarray(total / weights, np.float32)


def _levelled(excitement: Floats) -> Floats:
    most = float(np.percentile(excitement, _SATURATED))
    return np.asarray(excitement / most, np.float32) if most > 0 else excitement


def _shares(colours: npt.NDArray[np.int64], weights: Doubles) -> Doubles:
    """How common each pixel's colour is among the weighted pixels; neighbouring colours count in part."""
    counts = np.bincount(colours.ravel(), weights.ravel(), _BINS**3).reshape((_BINS,) * 3)
    for axis in range(3):
        counts = counts + 0.5 * (np.roll(counts, 1, axis) + np.roll(counts, -1, axis))
    counts = counts + 1e-3 * max(counts.sum(), 1e-9) / counts.size
    return np.asarray((counts / counts.sum()).ravel()[colours])


def _mean(values: Doubles, radius: int) -> Doubles:
    """Means over squares of 2 radius + 1 places; beyond the border its values go on."""
    width = 2 * radius + 1
    sums = np.pad(values, (radius + 1, radius), mode="edge").cumsum(0).cumsum(1)
    return np.asarray((sums[width:, width:] - sums[:-width, width:] - sums[width:, :-width] + sums[:-width, :-width])
                      / width**2)  # fmt: skip
