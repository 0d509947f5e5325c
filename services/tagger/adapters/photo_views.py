"""Several looks at one picture as the photo network wants them: RGB, (x - 127) / 128, planes first, 260 pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from services.tagger.adapters.measurements import reduced
from services.tagger.adapters.onnx_model import Floats

SIDE = 260

# No view shows more than this many pixels a side, so that a large picture is reduced once and not for each view.
_WORKING_SIDE = 1024
_PROBE = 128
# Rows and columns at the border whose values differ by less are a bar, or a ground without anything on it.
_BAR_RANGE = 12
_LEAST_LEFT = 18
_MIDDLE = 0.875
# Of the network's excitement: below this share of its peak a place does not belong to the subject.
_EXCITED = 0.35
_SPREADS = 3.4
_CLOSEST = 0.3


def without_bars(rgb: npt.NDArray[np.uint8]) -> Image.Image:
    """The picture, reduced, without borders of one colour: letterbox bars, or the empty ground about a small thing."""
    small = reduced(rgb, _WORKING_SIDE)
    image = Image.fromarray(small)
    probe = np.asarray(image.resize((_PROBE, _PROBE), Image.Resampling.BOX), np.int16)
    top, bottom = _bar(probe), _bar(probe[::-1])
    left, right = _bar(probe.swapaxes(0, 1)), _bar(probe.swapaxes(0, 1)[::-1])
    if max(top + bottom, left + right) > _PROBE - _LEAST_LEFT:
        return image
    wide, high = image.width / _PROBE, image.height / _PROBE
    box = (round(left * wide), round(top * high), round((_PROBE - right) * wide), round((_PROBE - bottom) * high))
    # A strip one pixel high has nothing to cut from.
    return image.crop(box) if box[2] > box[0] and box[3] > box[1] else image


def overview(image: Image.Image) -> list[Image.Image]:
    """The whole picture squeezed to the square, its middle mirrored, and the whole on its mean colour."""
    squeezed = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2)
    return [squeezed, ImageOps.mirror(_square(image, _MIDDLE, 0.5, 0.5)), _padded(image)]


def close_up(image: Image.Image, evidence: Floats) -> Image.Image:
    """A square about the place that excites the network most.

    evidence: (classes, rows, columns), what speaks for each class at each place of the squeezed picture. Where some
    classes are spoken for much more than others, something is recognised.
    """
    excitement = evidence.std(axis=0)
    excitement = np.clip(excitement - np.median(excitement), 0, None)
    weights = excitement * (excitement > _EXCITED * excitement.max())
    total = float(weights.sum())
    if total <= 0:
        return _square(image, _MIDDLE, 0.5, 0.5)
    rows, columns = (np.arange(size) + 0.5 for size in weights.shape)
    by_row, by_column = weights.sum(axis=1) / total, weights.sum(axis=0) / total
    middle_y, middle_x = float(rows @ by_row), float(columns @ by_column)
    spread_y = float(np.sqrt(((rows - middle_y) ** 2) @ by_row)) / weights.shape[0] * image.height
    spread_x = float(np.sqrt(((columns - middle_x) ** 2) @ by_column)) / weights.shape[1] * image.width
    share = max(spread_x, spread_y) * _SPREADS / min(image.size)
    return _square(image, min(max(share, _CLOSEST), 1.0), middle_x / weights.shape[1], middle_y / weights.shape[0])


def as_input(views: list[Image.Image]) -> Floats:
    """Views as the network's input: float32 (n, 3, 260, 260)."""
    pixels = np.stack([np.asarray(view, np.float32) for view in views])
    return np.ascontiguousarray((pixels.transpose(0, 3, 1, 2) - 127) / 128)


def _bar(lines: npt.NDArray[np.int16]) -> int:
    """How many lines from the first on are of one colour each. lines: (n, pixels, 3)."""
    ranges = (lines.max(axis=1) - lines.min(axis=1)).max(axis=1)
    return int(np.argmax(ranges > _BAR_RANGE)) if (ranges > _BAR_RANGE).any() else len(lines)


def _square(image: Image.Image, share: float, middle_x: float, middle_y: float) -> Image.Image:
    """A square of `share` of the shorter side about a point (fractions), moved inside where it would stick out."""
    side = share * min(image.size)
    left = min(max(middle_x * image.width - side / 2, 0), image.width - side)
    top = min(max(middle_y * image.height - side / 2, 0), image.height - side)
    box = (left, top, left + side, top + side)
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box, reducing_gap=2)


def _padded(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    red, green, blue = (int(value) for value in np.asarray(small).reshape(-1, 3).mean(axis=0))
    square = Image.new("RGB", (SIDE, SIDE), (red, green, blue))
    square.paste(small, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square
