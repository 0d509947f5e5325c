"""Pictures that a network takes for photographs: drawn, with soft edges and grain, so that the answer is known."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SIDE = 640
_RADIUS = 210
_INK = (20, 20, 24)


def photo_of_a_clock(seed: int = 0) -> bytes:
    """A PNG of a clock on a wall; the seed turns its hands and shifts it."""
    rng = np.random.default_rng(seed)
    middle = np.asarray(_SIDE / 2 + rng.integers(-40, 41, 2), np.float64)
    image = Image.new("RGB", (_SIDE, _SIDE), (150, 120, 96))
    pen = ImageDraw.Draw(image)
    for radius, colour in ((_RADIUS + 22, (40, 32, 30)), (_RADIUS, (236, 232, 220))):
        pen.ellipse([*(middle - radius), *(middle + radius)], fill=colour)
    for hour in range(1, 13):
        pen.text(_at(middle, 30 * hour, 0.8), str(hour), fill=_INK, anchor="mm", font_size=40)
    for length, width in ((0.5, 12), (0.74, 8)):
        pen.line([tuple(middle), _at(middle, float(rng.uniform(0, 360)), length)], fill=_INK, width=width)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), np.float64)
    grainy = Image.fromarray(np.clip(soft + rng.normal(0, 5, soft.shape), 0, 255).astype(np.uint8))
    buffer = BytesIO()
    grainy.save(buffer, "PNG")
    return buffer.getvalue()


def _at(middle: np.ndarray[tuple[int, ...], np.dtype[np.float64]], degrees: float, share: float) -> tuple[float, float]:
    """A point on the dial: clockwise from the top, at a share of the radius."""
    angle = math.radians(degrees - 90)
    return (
        float(middle[0] + share * _RADIUS * math.cos(angle)),
        float(middle[1] + share * _RADIUS * math.sin(angle)),
    )
