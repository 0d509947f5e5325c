"""The pen of the second renderer: ink outlines that shake, and fills with a darker side, in unit coordinates."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (38, 30, 34)
PAPER: Colour = (250, 247, 240)
PIXELS = 256


class Crayon:
    """Draws on a transparent square; x and y run from 0 (left, top) to 1. ink: width of outlines, 0 for none."""

    def __init__(self, rng: random.Random, *, ink: float = 0.018) -> None:
        self.image = Image.new("RGBA", (PIXELS, PIXELS), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._rng = rng
        self._ink = ink

    def polygon(self, points: Sequence[Point], fill: Colour, *, shaded: bool = True) -> None:
        """A filled outline; its lower right is darker when shaded."""
        shaken = [self._shaken(point) for point in points]
        self._draw.polygon(shaken, fill=(*fill, 255))
        if shaded:
            self._shade(shaken, fill)
        if self._ink:
            self._draw.line([*shaken, shaken[0], shaken[1]], fill=(*INK, 255), width=self._width(), joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour, *, shaded: bool = True) -> None:
        """An ellipse around (x, y) with half axes rx and ry."""
        steps = 28
        angles = [2 * math.pi * i / steps for i in range(steps)]
        self.polygon([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles], fill, shaded=shaded)

    def dot(self, x: float, y: float, radius: float, fill: Colour = INK) -> None:
        """A small disc without an outline."""
        box = [(x - radius) * PIXELS, (y - radius) * PIXELS, (x + radius) * PIXELS, (y + radius) * PIXELS]
        self._draw.ellipse(box, fill=(*fill, 255))

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """An upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def stroke(self, points: Sequence[Point], colour: Colour = INK, width: float = 0.02) -> None:
        """A line through points."""
        shaken = [self._shaken(point) for point in points]
        self._draw.line(shaken, fill=(*colour, 255), width=max(1, round(width * PIXELS)), joint="curve")

    def eyes(self, x: float, y: float, apart: float, radius: float = 0.035) -> None:
        """Two eyes with a light in each, around (x, y)."""
        for side in (-1, 1):
            self.dot(x + side * apart, y, radius)
            self.dot(x + side * apart - radius * 0.3, y - radius * 0.35, radius * 0.35, PAPER)

    def _shade(self, points: Sequence[Point], fill: Colour) -> None:
        layer = Image.new("L", self.image.size, 0)
        draw = ImageDraw.Draw(layer)
        draw.polygon(points, fill=255)
        width = max(x for x, _ in points) - min(x for x, _ in points)
        draw.polygon([(x - width * 0.12, y - width * 0.1) for x, y in points], fill=0)
        dark = tuple(int(value * 0.8) for value in fill)
        self.image.paste((*dark, 255), (0, 0), layer)

    def _shaken(self, point: Point) -> Point:
        shake = 0.006
        return tuple((value + self._rng.uniform(-shake, shake)) * PIXELS for value in point)  # type: ignore[return-value]

    def _width(self) -> int:
        return max(1, round(self._ink * PIXELS))
