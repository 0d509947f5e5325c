"""Which part of a picture to keep: out of its size, the area inside its bars, its subject, and a model's shapes. Pure.

Boxes are left, top, right, bottom in pixels of the original.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
Shape = tuple[int, int]

USUAL_SHAPES: tuple[Shape, ...] = (
    (512, 512), (448, 576), (576, 448), (416, 624), (624, 416), (384, 672), (672, 384),
)  # fmt: skip
"""The forms of photographs (1:1, 4:5, 3:2, 16:9), near 512 pixels a side."""

# Of the picture so much stays at least: a model learns the subject in its surroundings.
_LEAST_KEPT = 0.25
# A crop that cuts less than this is not worth a change.
_WORTH = 0.06
# A shape that loses no more of the subject than the best one is as good.
_EQUAL_LOSS = 0.005


@dataclass(frozen=True)
class Crop:
    """box: what to keep. shape: that it fits, None where only bars are cut."""

    box: Box
    shape: Shape | None


def best_crop(inside: Box, subject: Box | None, shapes: Sequence[Shape]) -> Crop | None:
    """The part of the area `inside` the bars that shows the subject largest, whole, in one of the shapes.

    None when the area is best left as it is: nothing stands out in it, or too little would go.
    """
    if subject is None:
        return None
    area = _area(inside)
    crops = [Crop(_around(subject, shape, inside), shape) for shape in shapes]
    least = min(_lost(subject, crop.box) for crop in crops)
    whole = [crop for crop in crops if _lost(subject, crop.box) <= least + _EQUAL_LOSS]
    # The largest subject; among equals the form of the picture itself.
    best = min(whole, key=lambda crop: (round(_area(crop.box) / area, 2), _distance(crop.box, inside)))
    return best if _area(best.box) < (1 - _WORTH) * area else None


def _around(subject: Box, shape: Shape, inside: Box) -> Box:
    """The smallest box of the shape's form about the subject that keeps enough, moved inside the area."""
    ratio = shape[0] / shape[1]
    across, down = inside[2] - inside[0], inside[3] - inside[1]
    most = min(across, down * ratio)
    enough = math.sqrt(_LEAST_KEPT * across * down * ratio)
    width = min(most, max(subject[2] - subject[0], (subject[3] - subject[1]) * ratio, enough, shape[0]))
    height = width / ratio
    middle_x, middle_y = (subject[0] + subject[2]) / 2, (subject[1] + subject[3]) / 2
    # Of what is too tall for the shape the upper part stays: rather feet than a head are cut off.
    begins = subject[1] if subject[3] - subject[1] > height else middle_y - height / 2
    left = max(min(middle_x - width / 2, inside[2] - width), inside[0])
    top = max(min(begins, inside[3] - height), inside[1])
    return left, top, min(left + width, inside[2]), min(top + height, inside[3])


def _lost(subject: Box, box: Box) -> float:
    """The share of the subject that the box leaves out."""
    across = min(subject[2], box[2]) - max(subject[0], box[0])
    down = min(subject[3], box[3]) - max(subject[1], box[1])
    return 1 - max(across, 0) * max(down, 0) / _area(subject)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _distance(box: Box, other: Box) -> float:
    """How far the two forms are from each other."""
    return abs(math.log((box[2] - box[0]) / (box[3] - box[1]) * (other[3] - other[1]) / (other[2] - other[0])))
