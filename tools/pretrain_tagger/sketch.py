"""The pen of the sketches: parts whose size, place and colour differ from one drawing to the next."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from gateway.demo_pictures.canvas import Canvas, Colour, Point, shade

_CENTRE = 0.5
_CURVE = 12


class Sketch:
    """Draws on a transparent square in unit coordinates, `about` what is asked for. loose: how far off, as a share."""

    def __init__(self, rng: random.Random, pixels: int, *, loose: float = 0.12) -> None:
        self._canvas = Canvas(pixels)
        self.image = self._canvas.image
        self.rng = rng
        self._loose = loose
        self._ink: Colour = rng.choice([(20, 20, 26), (70, 45, 30), (40, 40, 90)])
        self._width = rng.choice([0.0, 0.0, 0.012, 0.022, 0.034])

    def about(self, value: float) -> float:
        """A length near `value`."""
        return value * (1 + self.rng.uniform(-self._loose, self._loose))

    def maybe(self, chance: float = 0.5) -> bool:
        """Whether an optional part is drawn."""
        return self.rng.random() < chance

    def one_of(self, *colours: Colour) -> Colour:
        """One of several colours, a little lighter or darker."""
        return shade(self.rng.choice(colours), self.rng.uniform(0.85, 1.15))

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour, *, bare: bool = False) -> None:
        """An ellipse; bare: without ink."""
        outline = None if bare or not self._width else self._ink
        self._canvas.ellipse((x, y), (self.about(rx), self.about(ry)), fill, outline, self._width)

    def pair(self, apart: float, y: float, rx: float, ry: float, fill: Colour, *, bare: bool = False) -> None:
        """Two equal ellipses, mirrored."""
        rx, ry, apart = self.about(rx), self.about(ry), self.about(apart)
        outline = None if bare or not self._width else self._ink
        for side in (-1, 1):
            self._canvas.ellipse((_CENTRE + side * apart, y), (rx, ry), fill, outline, self._width)

    def shape(self, points: Sequence[Point], fill: Colour, *, bare: bool = False) -> None:
        """A polygon whose corners are each a little off, those of a curve less."""
        off = self._loose / (5 if len(points) < _CURVE else 20)
        moved = [(x + self.rng.uniform(-off, off), y + self.rng.uniform(-off, off)) for x, y in points]
        self._canvas.polygon(moved, fill, None if bare or not self._width else self._ink, self._width or 0.01)

    def mirrored(self, points: Sequence[Point], fill: Colour) -> None:
        """A polygon of the right half (x from the middle) and its mirror image, as two."""
        off = self._loose / 4
        moved = [(x + self.rng.uniform(-off, off), y + self.rng.uniform(-off, off)) for x, y in points]
        for side in (-1, 1):
            self._canvas.polygon(
                [(_CENTRE + side * x, y) for x, y in moved], fill, self._ink if self._width else None, self._width
            )

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour, *, round_by: float = 0.0) -> None:
        """An upright rectangle."""
        outline = self._ink if self._width else None
        self._canvas.rectangle(left, top, right, bottom, fill, radius=round_by, outline=outline, width=self._width)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A stroke with round ends."""
        self._canvas.line(points, colour, self.about(width))

    def smile(self, y: float, wide: float, colour: Colour, width: float = 0.025) -> None:
        """A mouth that turns up."""
        self._canvas.arc((_CENTRE, y), (self.about(wide), self.about(wide * 0.6)), 20, 160, colour, width)

    def eyes(self, apart: float, y: float, radius: float, ink: Colour = (24, 22, 28)) -> None:
        """Two eyes: plain dots, dots with a light, or whites with pupils."""
        kind, apart, radius = self.rng.randrange(3), self.about(apart), self.about(radius)
        look = self.rng.uniform(-0.4, 0.4) * radius
        for side in (-1, 1):
            x = _CENTRE + side * apart
            if kind == 2:
                self._canvas.ellipse((x, y), (radius * 1.4, radius * 1.4), (252, 252, 250), ink, 0.008)
                self._canvas.ellipse((x + look, y), (radius * 0.7, radius * 0.7), ink)
            else:
                self._canvas.ellipse((x, y), (radius, radius * self.about(1.15)), ink)
            if kind == 1:
                self._canvas.ellipse(
                    (x - radius * 0.3, y - radius * 0.4), (radius * 0.35, radius * 0.35), (255, 255, 255)
                )

    def petals(self, x: float, y: float, reach: float, size: float, number: int, fill: Colour) -> None:
        """Ellipses in a ring."""
        turn, size = self.rng.uniform(0, 1), self.about(size)
        for i in range(number):
            angle = 2 * math.pi * (i + turn) / number
            centre = (x + reach * math.cos(angle), y + reach * math.sin(angle))
            self._canvas.ellipse(centre, (size, size), fill, self._ink if self._width else None, self._width * 0.7)

    def hoop(self, radius: float, thick: float, fill: Colour) -> None:
        """A ring around the middle, transparent inside."""
        self._canvas.ellipse((_CENTRE, _CENTRE), (radius, radius), None, fill, thick)
