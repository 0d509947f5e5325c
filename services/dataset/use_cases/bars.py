"""Bars and borders about a picture: letterboxes, frames of one colour, the head and foot of a screenshot.

A bar begins at the picture's side, is of one colour and ends in a straight, sharp edge along its whole length. A night
sky and the white of a studio are of one colour too, but what ends them is neither straight nor as long as the picture.
A screenshot's bar holds signs as well; it counts when lines of one colour part them from the picture. The constants
were set on photographs with and without drawn bars (docs/crops.md); a bar is rather overlooked than seen in a photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.dataset.models.resources import Crop

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

# Levels of light, or three times as many of colour, by which a pixel of a bar may differ from it: JPEG leaves a few.
_NEAR = 10
# Levels from which on a pixel is surely not of the bar.
_FAR = 20
_UNIFORM = 0.985
# A screenshot's line of signs still shows so much of the bar.
_SIGNS = 0.5
_LONGEST_SIGNS = 0.3
_DEEPEST = 0.45
_THINNEST = 0.003
# JPEG rings so many lines about an edge; scaling blurs it over fewer.
_RINGING = 9
_SHARP = 0.3
# The share of the first line of the picture that must differ from a bar to be sure of it alone, and with signs in it;
# of a bar that faces a sure one of its colour; and of two equally thick ones, where one shows more.
_ALONE, _WITH_SIGNS, _FACING, _EQUAL, _MORE = 0.85, 0.9, 0.4, 0.05, 0.4
_EQUALLY = 0.004
_ROUNDS = 4
_LEAST_LEFT = 0.15


@dataclass(frozen=True)
class _Bar:
    """lines: how thick. share: of the line behind it that differs. signs: whether more than its colour is in it."""

    lines: int
    colour: npt.NDArray[np.int16]
    share: float
    signs: bool


def picture_inside(image: Image.Image) -> Crop | None:
    """The part of an upright RGB picture that its bars surround; None when it has none."""
    pixels = np.asarray(image, np.uint8)
    height, width = pixels.shape[:2]
    left, top, right, bottom = without_bars(pixels)
    if (left, top, right, bottom) == (0, 0, width, height):
        return None
    return Crop(left / width, top / height, right / width, bottom / height)


def without_bars(pixels: Pixels) -> Box:
    """Left, top, right, bottom of the picture inside its bars, in pixels. pixels: RGB, (height, width, 3)."""
    height, width = pixels.shape[:2]
    # JPEG keeps colour more coarsely than light, so that next to a picture it strays further.
    pixels = np.asarray(Image.fromarray(pixels).convert("YCbCr"), np.uint8)
    left, top, right, bottom = 0, 0, width, height
    for _ in range(_ROUNDS):
        inside = pixels[top:bottom, left:right]
        above, below = _facing(inside)
        # Behind a bar the ends of a line belong to the bars beside it; only what is between them tells.
        before, behind = _facing(inside[above : inside.shape[0] - below].swapaxes(0, 1))
        if not (above or below):
            above, below = _facing(inside[:, before : inside.shape[1] - behind])
        if not any((above, below, before, behind)):
            break
        left, top, right, bottom = left + before, top + above, right - behind, bottom - below
    if (right - left) * (bottom - top) < _LEAST_LEFT * width * height:
        return 0, 0, width, height
    return left, top, right, bottom


def _facing(lines: Pixels) -> tuple[int, int]:
    """How thick the bars at the first and at the last lines are, 0 for none. lines: (n, pixels, 3)."""
    first, last = _bar(lines), _bar(lines[::-1])
    kept = [_is_sure(first), _is_sure(last)]
    if first and last and first.lines + last.lines >= len(lines):
        return 0, 0
    if first and last and bool((np.abs(first.colour - last.colour) <= _NEAR).all()):
        equal = abs(first.lines - last.lines) <= max(2, _EQUALLY * len(lines))
        shares = first.share, last.share
        if equal and min(shares) >= _EQUAL and max(shares) >= _MORE:
            kept = [True, True]
        kept = [kept[0] or (kept[1] and shares[0] >= _FACING), kept[1] or (kept[0] and shares[1] >= _FACING)]
    least = max(2, round(_THINNEST * len(lines)))
    bars = [bar.lines if bar and sure else 0 for bar, sure in ((first, kept[0]), (last, kept[1]))]
    return bars[0] * (bars[0] >= least), bars[1] * (bars[1] >= least)


def _is_sure(bar: _Bar | None) -> bool:
    return bar is not None and bar.share >= (_WITH_SIGNS if bar.signs else _ALONE)


def _bar(lines: Pixels) -> _Bar | None:
    """The bar that begins with the first line."""
    colour = np.median(lines[0], axis=0).astype(np.int16)
    deepest = round(_DEEPEST * len(lines))
    near = _near_shares(lines[:deepest], colour)
    if not len(near) or near[0] < _UNIFORM or (len(near) == deepest and near[-1] >= _UNIFORM):
        return None
    uniform = near >= _UNIFORM
    plain = int(np.argmin(uniform)) if not uniform.all() else len(near)
    broken = near < _SIGNS
    reach = int(np.argmax(broken)) if broken.any() else len(near)
    last = int(np.flatnonzero(uniform[:reach])[-1]) + 1
    if last > plain and last <= _LONGEST_SIGNS * len(lines) and uniform[max(0, last - 3) : last].all():
        bar = _edge(lines, last, colour, signs=True)
        if bar is not None and bar.share >= _FACING:
            return bar
    return _edge(lines, plain, colour, signs=False)


def _near_shares(lines: Pixels, colour: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """The share of each line that has the bar's colour, up to where the bar must have ended."""
    shares: list[npt.NDArray[np.float64]] = []
    for start in range(0, len(lines), 64):
        shares.append((_distances(lines[start : start + 64], colour) <= _NEAR).mean(axis=1))
        if (shares[-1] < _SIGNS).all() or shares[0][0] < _UNIFORM:
            break
    return np.concatenate(shares) if shares else np.zeros(0)


def _distances(lines: Pixels, colour: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """How far each pixel is from the bar's colour."""
    apart = np.abs(lines.astype(np.int16) - colour)
    distances: npt.NDArray[np.int16] = np.maximum(apart[..., 0], np.maximum(apart[..., 1], apart[..., 2]) // 3)
    return distances


def _edge(lines: Pixels, end: int, colour: npt.NDArray[np.int16], *, signs: bool) -> _Bar | None:
    """The bar that ends near line `end`, at the steepest step; None when nothing ends it sharply."""
    start = max(0, end - 2)
    around = _distances(lines[start : end + _RINGING + 3], colour)
    if len(around) < 4:
        return None
    levels = around.mean(axis=1)
    step = int(np.argmax(np.diff(levels[: _RINGING + 2])))
    at = step + 1
    behind = around[at + 1 : at + 3] if len(around) > at + 1 else around[at:]
    if levels[max(0, at - 2)] > _SHARP * max(float(behind.mean()), 1.0):
        return None
    return _Bar(start + at, colour, float((behind > _FAR).mean()), signs)
