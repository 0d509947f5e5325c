"""A small vector canvas over Pillow: everything is drawn in unit coordinates, so one drawing serves every size.

Pillow's own drawing is not antialiased. Callers draw on a canvas several times larger than the picture they want
and reduce it once at the end (`reduce_to`), which costs less than antialiasing every stroke.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    """A transparent RGBA picture of `pixels` x `pixels`; x and y run from 0 (left, top) to 1 (right, bottom)."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.image = Image.new("RGBA", (pixels, pixels), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        fill: Colour | None,
        outline: Colour | None = None,
        width: float = 0.015,
    ) -> None:
        """An upright ellipse; `radii` are the half axes, `width` is the outline's thickness, all in canvas units."""
        box = self._box(centre[0] - radii[0], centre[1] - radii[1], centre[0] + radii[0], centre[1] + radii[1])
        self._draw.ellipse(box, fill=fill, outline=outline, width=self._stroke(width) if outline else 0)

    def rectangle(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        fill: Colour | None,
        *,
        radius: float = 0.0,
        outline: Colour | None = None,
        width: float = 0.015,
    ) -> None:
        """A rectangle with corners rounded by `radius`."""
        self._draw.rounded_rectangle(
            self._box(left, top, right, bottom),
            radius * self.pixels,
            fill=fill,
            outline=outline,
            width=self._stroke(width) if outline else 0,
        )

    def polygon(
        self, points: Sequence[Point], fill: Colour, outline: Colour | None = None, width: float = 0.015
    ) -> None:
        """A filled polygon through `points`."""
        pixels = [self._point(p) for p in points]
        self._draw.polygon(pixels, fill=fill)
        if outline:
            self._draw.line([*pixels, pixels[0]], fill=outline, width=self._stroke(width), joint="curve")

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A stroke through `points` with round ends."""
        self._draw.line([self._point(p) for p in points], fill=colour, width=self._stroke(width), joint="curve")
        for end in (points[0], points[-1]):
            self.ellipse(end, (width / 2, width / 2), colour)

    def arc(self, centre: Point, radii: Point, start: float, end: float, colour: Colour, width: float) -> None:
        """A piece of an ellipse's outline from angle `start` to `end`, in degrees clockwise from three o'clock."""
        box = self._box(centre[0] - radii[0], centre[1] - radii[1], centre[0] + radii[0], centre[1] + radii[1])
        self._draw.arc(box, start, end, fill=colour, width=self._stroke(width))

    def erase_ellipse(self, centre: Point, radii: Point) -> None:
        """Makes an ellipse transparent again (the hole of a ring)."""
        box = self._box(centre[0] - radii[0], centre[1] - radii[1], centre[0] + radii[0], centre[1] + radii[1])
        self._draw.ellipse(box, fill=(0, 0, 0, 0))

    def _point(self, point: Point) -> Point:
        return point[0] * self.pixels, point[1] * self.pixels

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left * self.pixels, top * self.pixels, right * self.pixels, bottom * self.pixels

    def _stroke(self, width: float) -> int:
        return max(1, round(width * self.pixels))


def star_points(centre: Point, outer: float, inner: float | None = None, tips: int = 5) -> list[Point]:
    """The corners of a star that points up; `inner` defaults to 0.45 of the outer radius."""
    radii = (outer, outer * 0.45 if inner is None else inner)
    return [
        (
            centre[0] + radii[i % 2] * math.cos(-math.pi / 2 + i * math.pi / tips),
            centre[1] + radii[i % 2] * math.sin(-math.pi / 2 + i * math.pi / tips),
        )
        for i in range(2 * tips)
    ]


def shade(colour: Colour, factor: float) -> Colour:
    """`colour` made darker (factor < 1) or moved towards white (factor > 1, where 2 is white)."""
    if factor <= 1:
        return tuple(int(v * factor) for v in colour)  # type: ignore[return-value]
    return tuple(int(v + (255 - v) * (factor - 1)) for v in colour)  # type: ignore[return-value]


def reduce_to(image: Image.Image, size: int) -> Image.Image:
    """The picture at `size` x `size` pixels, each averaged over the larger picture's area."""
    return image.resize((size, size), Image.Resampling.BOX)
