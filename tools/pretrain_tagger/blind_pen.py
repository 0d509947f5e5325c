"""The pen of the blind renderer: filled outlines, plain in a flat drawing and rounded by light in a soft one.

Coordinates run from -50 to 50, to the right and down, around the middle of the drawing.
"""

from __future__ import annotations

import colorsys
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from PIL import Image, ImageChops, ImageDraw, ImageOps

RGB = tuple[int, int, int]
Point = tuple[float, float]
T = TypeVar("T")

WHITE: RGB = (252, 252, 250)
INK: RGB = (38, 34, 42)

_HUES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-0.015, 0.008), (0.80, 0.92), (0.78, 0.92)),
    "orange": ((0.070, 0.088), (0.88, 0.98), (0.92, 1.00)),
    "yellow": ((0.138, 0.158), (0.75, 0.92), (0.95, 1.00)),
    "green": ((0.310, 0.370), (0.60, 0.85), (0.50, 0.70)),
    "blue": ((0.580, 0.635), (0.70, 0.88), (0.70, 0.90)),
    "purple": ((0.755, 0.795), (0.55, 0.75), (0.52, 0.72)),
    "pink": ((0.905, 0.945), (0.35, 0.50), (0.95, 1.00)),
    "brown": ((0.055, 0.080), (0.55, 0.70), (0.36, 0.50)),
    "white": ((0.000, 1.000), (0.00, 0.02), (0.97, 1.00)),
    "gray": ((0.000, 1.000), (0.00, 0.04), (0.48, 0.62)),
    "black": ((0.000, 1.000), (0.00, 0.10), (0.06, 0.13)),
    "teal": ((0.485, 0.510), (0.75, 0.95), (0.48, 0.62)),
}
"""Hue, saturation and value of what a person calls by the name."""


def hue(name: str, rng: random.Random) -> RGB:
    """One of the many colours of that name."""
    turn, strength, light = (rng.uniform(*bounds) for bounds in _HUES[name])
    red, green, blue = colorsys.hsv_to_rgb(turn % 1.0, strength, light)
    return round(red * 255), round(green * 255), round(blue * 255)


def mix(one: RGB, other: RGB, part: float) -> RGB:
    """one, with a part (0 to 1) of other."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def dark(colour: RGB, part: float) -> RGB:
    """The colour in the shade."""
    return mix(colour, (12, 8, 24), part)


def light(colour: RGB, part: float) -> RGB:
    """The colour in the light."""
    return mix(colour, (255, 255, 250), part)


def accent(colour: RGB) -> RGB:
    """A neutral tone that can be seen on the colour."""
    return (58, 58, 66) if sum(colour) > 330 else (205, 208, 214)


class Pen:
    """Draws on a transparent square of so many pixels. Every call returns the mask of what it filled, for inside."""

    def __init__(self, rng: random.Random, side: int, *, soft: bool) -> None:
        self.rng, self.soft = rng, soft
        self.image = Image.new("RGBA", (side, side))
        self._scale = side / 116  # The margin keeps arms, tails and flames that reach beyond 50.
        self._frame = (0.0, 0.0, 1.0)

    def v(self, low: float, high: float) -> float:
        """A value between the two."""
        return self.rng.uniform(low, high)

    def chance(self, part: float = 0.5) -> bool:
        """True in that part of the drawings."""
        return self.rng.random() < part

    def pick(self, *choices: T) -> T:
        """One of them."""
        return self.rng.choice(choices)

    def tone(self, *choices: RGB) -> RGB:
        """One of them, a little lighter or darker."""
        chosen, part = self.rng.choice(choices), self.v(-0.14, 0.14)
        return light(chosen, part) if part > 0 else dark(chosen, -part)

    @contextmanager
    def frame(self, x: float, y: float, zoom: float) -> Iterator[None]:
        """Inside, (0, 0) lies at (x, y) and everything is zoom times as large."""
        before = self._frame
        self._frame = (before[0] + x * before[2], before[1] + y * before[2], before[2] * zoom)
        yield
        self._frame = before

    def poly(
        self, points: Sequence[Point], colour: RGB, *, shade: bool = True, inside: Image.Image | None = None
    ) -> Image.Image:
        """A polygon."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon([self._pixel(point) for point in points], fill=255)
        return self._paint(mask, colour, shade, inside)

    def blob(
        self, points: Sequence[Point], colour: RGB, *, shade: bool = True, inside: Image.Image | None = None
    ) -> Image.Image:
        """A closed smooth curve through the points."""
        return self.poly(_curve([points[-1], *points, points[0], points[1]]), colour, shade=shade, inside=inside)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: RGB,
        *,
        turn: float = 0,
        shade: bool = True,
        inside: Image.Image | None = None,
    ) -> Image.Image:
        """An ellipse, turned by so many degrees."""
        return self.poly(oval_points(x, y, rx, ry, turn), colour, shade=shade, inside=inside)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        colour: RGB,
        *,
        round_by: float = 0,
        shade: bool = True,
        inside: Image.Image | None = None,
    ) -> Image.Image:
        """A rectangle with rounded corners."""
        r = max(0.01, min(round_by, (right - left) / 2, (bottom - top) / 2))
        corners = [
            (right - r, bottom - r, 0),
            (left + r, bottom - r, 90),
            (left + r, top + r, 180),
            (right - r, top + r, 270),
        ]
        angles = [(x, y, math.radians(start + step * 10)) for x, y, start in corners for step in range(10)]
        points = [(x + r * math.cos(angle), y + r * math.sin(angle)) for x, y, angle in angles]
        return self.poly(points, colour, shade=shade, inside=inside)

    def line(
        self, points: Sequence[Point], width: float, colour: RGB, *, inside: Image.Image | None = None
    ) -> Image.Image:
        """A smooth stroke through the points, with round ends."""
        path = [self._pixel(point) for point in _curve([points[0], *points, points[-1]])]
        thick = max(2.0, width * self._scale * self._frame[2])
        mask = Image.new("L", self.image.size)
        draw = ImageDraw.Draw(mask)
        for (x, y), (to_x, to_y) in itertools.pairwise(path):
            draw.line((x, y, to_x, to_y), fill=255, width=round(thick))
        for x, y in path:
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
        return self._paint(mask, colour, False, inside)

    def cut(self, mask: Image.Image) -> None:
        """Makes a hole."""
        self.image.putalpha(ImageChops.subtract(self.image.getchannel("A"), mask))

    def _pixel(self, point: Point) -> Point:
        x, y, zoom = self._frame
        return (point[0] * zoom + x + 58) * self._scale, (point[1] * zoom + y + 58) * self._scale

    def _paint(self, mask: Image.Image, colour: RGB, shade: bool, inside: Image.Image | None) -> Image.Image:
        if inside is not None:
            mask = ImageChops.multiply(mask, inside)
        bounds = mask.getbbox()
        if bounds is None:
            return mask
        size = (bounds[2] - bounds[0], bounds[3] - bounds[1])
        fill = _lit(colour, size) if self.soft and shade else Image.new("RGB", size, colour)
        self.image.paste(fill.convert("RGBA"), bounds, mask.crop(bounds))
        return mask


def oval_points(x: float, y: float, rx: float, ry: float, turn: float = 0, steps: int = 90) -> list[Point]:
    """Points around an ellipse, turned by so many degrees."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    angles = [2 * math.pi * step / steps for step in range(steps)]
    around = [(rx * math.cos(angle), ry * math.sin(angle)) for angle in angles]
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in around]


def turned(points: Sequence[Point], degrees: float, x: float = 0, y: float = 0) -> list[Point]:
    """The points turned around (0, 0), then moved by (x, y)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in points]


def _curve(points: Sequence[Point], steps: int = 12) -> list[Point]:
    """A Catmull-Rom spline through all points but the first and the last."""
    path: list[Point] = []
    for a, b, c, d in zip(points, points[1:], points[2:], points[3:], strict=False):
        for step in range(steps):
            t = step / steps
            x, y = (
                b[i]
                + 0.5
                * t
                * (c[i] - a[i] + t * (2 * a[i] - 5 * b[i] + 4 * c[i] - d[i] + t * (3 * (b[i] - c[i]) + d[i] - a[i])))
                for i in (0, 1)
            )
            path.append((x, y))
    path.append(points[-2])
    return path


def _lit(colour: RGB, size: tuple[int, int]) -> Image.Image:
    """The colour on a rounded surface, lit from the upper left."""
    width, height = size
    ball = Image.radial_gradient("L").resize((width * 2 + 2, height * 2 + 2), Image.Resampling.BILINEAR)
    left, top = round(width * 0.65), round(height * 0.7)
    ball = ball.crop((left, top, left + width, top + height))
    return ImageOps.colorize(ball, light(colour, 0.16), dark(colour, 0.30))
