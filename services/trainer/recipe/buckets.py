"""Aspect-ratio buckets: which shape a picture is trained at. Pure, so that an estimate needs no worker.

A bucket is a shape (width, height) in pixels whose sides are multiples of what the model can halve and whose area is
at most ``resolution`` squared, so that no bucket needs more memory than the square one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Crop = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the upright picture's width and height."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the upright picture."""

HEAD_HEIGHT = 1 / 3
"""A picture that must be cut and that nobody cropped is kept around this height: heads are rarely in the middle."""

MAX_ASPECT_RATIO = 3.0
"""Longer pictures are cut to 3:1; the base models have seen nothing beyond."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A shape and the samples of one epoch that have it."""

    width: int
    height: int
    items: tuple[int, ...]
    repeats: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(self.repeats)


def bucket_shapes(resolution: int, multiple: int) -> list[tuple[int, int]]:
    """Every (width, height) a picture may be trained at, the square first.

    Args:
        resolution: side of the square bucket in pixels, at least ``multiple``.
        multiple: sides are multiples of it: the autoencoder's factor times what the denoiser halves.

    Raises:
        ValueError: when not even one square of ``multiple`` fits.
    """
    if resolution < multiple:
        raise ValueError(f"resolution {resolution} is below {multiple}, the least that this base model can take")
    square = resolution // multiple * multiple
    shapes = {(square, square)}
    width = multiple
    while width * multiple <= resolution * resolution:
        height = int(resolution * resolution / width) // multiple * multiple
        if height >= multiple and max(width / height, height / width) <= MAX_ASPECT_RATIO:
            shapes.update({(width, height), (height, width)})
        width += multiple
    return sorted(shapes, key=lambda shape: (shape[0] != shape[1], abs(math.log(shape[0] / shape[1])), shape))


def nearest_shape(width: float, height: float, shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The shape whose aspect ratio is nearest in log scale: it cuts the least away. The larger area breaks a tie."""
    ratio = math.log(width / height)
    return min(shapes, key=lambda shape: (abs(math.log(shape[0] / shape[1]) - ratio), -shape[0] * shape[1]))


def cropped_size(width: int, height: int, crop: Crop | None) -> tuple[float, float]:
    """Pixels of the picture, or of the part that its crop keeps."""
    if crop is None:
        return float(width), float(height)
    left, top, right, bottom = crop
    return width * (right - left), height * (bottom - top)


def fitted(box: Box, shape: tuple[int, int]) -> Box:
    """The largest box of the shape's aspect ratio inside ``box``: what of a picture its bucket shows."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    ratio = shape[0] / shape[1]
    if width / height > ratio:
        kept = height * ratio
        start = left + (width - kept) / 2
        return start, top, start + kept, bottom
    kept = width / ratio
    start = min(max(top, top + height * HEAD_HEIGHT - kept / 2), bottom - kept)
    return left, start, right, start + kept


def plan_buckets(
    sizes: Sequence[tuple[float, float]],
    repeats: Sequence[int],
    *,
    resolution: int,
    multiple: int,
    aspect_buckets: bool,
) -> list[Bucket]:
    """Buckets of a dataset in a fixed order; with ``aspect_buckets`` off all pictures share the square one.

    Args:
        sizes: width and height of each upright, cropped picture (see ``cropped_size``).
        repeats: samples that each picture gives an epoch, at least 1.
    """
    shapes = bucket_shapes(resolution, multiple)
    if not aspect_buckets:
        shapes = shapes[:1]
    members: dict[tuple[int, int], list[int]] = {}
    for index, (width, height) in enumerate(sizes):
        members.setdefault(nearest_shape(width, height, shapes), []).append(index)
    return [
        Bucket(width, height, tuple(items), tuple(repeats[item] for item in items))
        for (width, height), items in sorted(members.items())
    ]


def lost_share(width: float, height: float, shape: tuple[int, int]) -> float:
    """Share of the picture's area that filling ``shape`` cuts away, 0 to 1."""
    ratio, target = width / height, shape[0] / shape[1]
    return 1.0 - min(ratio, target) / max(ratio, target)
