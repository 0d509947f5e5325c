"""Animals with fur as a photograph shows them: shaded bodies of soft ellipses in five poses, in one to three colours.

Everything is measured in half widths of the picture: x to the right and y downwards from its centre, both in [-1, 1].
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from research.fiveshot_tiny.scenes.textures import Field, correlated_noise

Tone = tuple[float, float, float]

COATS: dict[str, Tone] = {
    "brown": (118, 78, 48), "orange": (205, 128, 62), "golden": (214, 170, 104), "black": (38, 34, 34),
    "gray": (132, 130, 128), "white": (234, 230, 222), "cream": (232, 210, 174),
}  # fmt: skip
POSES = ("sitting", "sideways", "lying", "standing", "portrait")
EARS = ("pointed", "hanging", "round", "long")
_DARK: Tone = (30, 24, 24)
_TONGUE: Tone = (214, 104, 116)


@dataclass(frozen=True)
class Animal:
    """What one animal looks like; `main`, `light` and `dark` name entries of COATS."""

    pose: str
    ears: str
    main: str
    light: str
    dark: str
    snout: float
    plump: float
    tongue: bool


def any_animal(rng: random.Random) -> Animal:
    """An animal with parts drawn at random: every second one has a light chest and muzzle, one in four dark ears."""
    main = rng.choice(list(COATS))
    light = rng.choice(["white", "cream"]) if rng.random() < 0.65 else main
    dark = rng.choice(["brown", "black", "gray"]) if rng.random() < 0.3 else main
    return Animal(
        rng.choices(POSES, (3, 2, 2, 2, 3))[0], rng.choices(EARS, (4, 4, 1, 1))[0], main, light, dark,
        rng.uniform(0.6, 1.3), rng.uniform(0.85, 1.2), rng.random() < 0.4,
    )  # fmt: skip


class FurPainter:
    """Paints soft, shaded parts over a float picture (n, n, 3), in place; a part's outline is frayed by noise."""

    def __init__(self, picture: Field, rng: random.Random, numbers: np.random.Generator) -> None:
        self._picture, self._rng = picture, rng
        n = len(picture)
        axis = (np.arange(n) + 0.5) / n * 2 - 1
        self._x, self._y = np.meshgrid(axis, axis)
        self._fur = correlated_noise(numbers, n, rng.uniform(0.7, 1.3))
        self._fray = correlated_noise(numbers, n, 1.1)[..., 0]
        self._strength = rng.uniform(6, 18)
        self._light = rng.uniform(-2.6, -0.5)
        self.origin, self.scale, self.mirror = (0.0, 0.0), 1.0, False

    def part(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        tone: Tone,
        angle: float = 0.0,
        *,
        fray: float = 0.12,
    ) -> None:
        """One ellipse of fur. angle: of its first axis, in radians, clockwise from the x axis."""
        u, v = self._local(centre, radii, angle)
        distance = np.hypot(u, v) + fray * self._fray * 0.7
        softness = max(0.06, 0.03 / (min(radii) * self.scale))
        mask = np.clip((1 - distance) / softness + 0.5, 0, 1)[..., None]
        side = math.cos(self._light) * u + math.sin(self._light) * v
        shade = np.clip(0.88 + 0.26 * side - 0.22 * np.clip(distance, 0, 1) ** 4, 0.35, 1.2)[..., None]
        coat = np.array(tone) * shade + self._fur * self._strength * (fray > 0.05)
        self._picture += (coat - self._picture) * mask

    def shadow(self, centre: tuple[float, float], radii: tuple[float, float], depth: float) -> None:
        """Darkens the ground below the animal."""
        u, v = self._local(centre, radii, 0.0)
        self._picture *= 1 - depth * np.clip(1 - np.hypot(u, v), 0, 1)[..., None]

    def _local(self, centre: tuple[float, float], radii: tuple[float, float], angle: float) -> tuple[Field, Field]:
        sign = -1.0 if self.mirror else 1.0
        x = sign * (self._x - self.origin[0]) / self.scale - centre[0]
        y = (self._y - self.origin[1]) / self.scale - centre[1]
        cos, sin = math.cos(angle), math.sin(angle)
        return (x * cos + y * sin) / radii[0], (y * cos - x * sin) / radii[1]


def paint_animal(painter: FurPainter, animal: Animal, rng: random.Random) -> None:
    """Paints the animal in its pose around the painter's origin, about one half width tall and wide at scale 1."""
    {
        "sitting": _sitting, "sideways": _sideways, "lying": _lying, "standing": _standing, "portrait": _portrait,
    }[animal.pose](painter, animal, rng)  # fmt: skip


def _tones(animal: Animal, rng: random.Random) -> tuple[Tone, Tone, Tone]:
    def vary(name: str) -> Tone:
        lightness = rng.uniform(0.85, 1.1)
        red, green, blue = (min(248.0, value * lightness * rng.uniform(0.96, 1.04)) for value in COATS[name])
        return red, green, blue

    main = vary(animal.main)
    return (
        main,
        main if animal.light == animal.main else vary(animal.light),
        (main if animal.dark == animal.main else vary(animal.dark)),
    )


def _sitting(p: FurPainter, animal: Animal, rng: random.Random) -> None:
    main, light, dark = _tones(animal, rng)
    w = animal.plump
    p.shadow((0, 0.86), (0.75, 0.2), 0.5)
    if rng.random() < 0.6:
        p.part((0.5 * w, 0.7), (0.3, 0.1), main, -0.3)
    for x in (-0.3, 0.3):
        p.part((x * w, 0.62), (0.2, 0.26), main)
    p.part((0, 0.32), (0.36 * w, 0.5), main)
    p.part((0, 0.3), (0.24 * w, 0.42), light)
    for x in (-0.14, 0.14):
        p.part((x, 0.66), (0.1, 0.26), light)
        p.part((x, 0.88), (0.12, 0.07), light)
    lean = rng.uniform(-0.1, 0.1)
    if rng.random() < 0.6:
        _front_head(p, animal, rng, (lean, -0.38), 0.4, (main, light, dark))
    else:
        _side_head(p, animal, (lean + 0.06, -0.38), 0.38, (main, light, dark))


def _sideways(p: FurPainter, animal: Animal, rng: random.Random) -> None:
    main, light, dark = _tones(animal, rng)
    w = animal.plump
    p.shadow((-0.05, 0.86), (0.8, 0.2), 0.5)
    p.part((-0.62, 0.7), (0.26, 0.09), main, -0.4)
    p.part((-0.3, 0.5), (0.36 * w, 0.36), main)
    p.part((-0.02, 0.18), (0.3 * w, 0.56), main, -0.45)
    p.part((0.2, 0.22), (0.16, 0.4), light, -0.2)
    for x in (0.14, 0.3):
        p.part((x, 0.62), (0.09, 0.3), light)
    p.part((-0.2, 0.84), (0.26, 0.08), main)
    _any_head(p, animal, rng, (0.26, -0.36), 0.36, (main, light, dark))


def _lying(p: FurPainter, animal: Animal, rng: random.Random) -> None:
    main, light, dark = _tones(animal, rng)
    w = animal.plump
    p.shadow((0, 0.62), (0.95, 0.22), 0.5)
    p.part((-0.78, 0.42), (0.24, 0.09), main, 0.3)
    p.part((-0.15, 0.3), (0.6, 0.28 * w), main)
    p.part((-0.48, 0.34), (0.28, 0.27), main)
    p.part((0.32, 0.32), (0.24, 0.28), light)
    p.part((0.5, 0.54), (0.3, 0.08), light)
    p.part((-0.34, 0.56), (0.26, 0.07), main)
    _any_head(p, animal, rng, (0.42, -0.16), 0.34, (main, light, dark))


def _standing(p: FurPainter, animal: Animal, rng: random.Random) -> None:
    main, light, dark = _tones(animal, rng)
    w = animal.plump
    p.shadow((0, 0.8), (0.85, 0.16), 0.45)
    for x in (-0.34, 0.24):
        p.part((x, 0.5), (0.09, 0.3), tuple(0.75 * c for c in main))  # type: ignore[arg-type]
    p.part((-0.66, -0.06), (0.28, 0.08), main, 0.9)
    p.part((0, 0.14), (0.56, 0.26 * w), main)
    p.part((0.36, 0.18), (0.2, 0.26), light)
    for x in (-0.42, 0.36):
        p.part((x, 0.5), (0.1, 0.3), light if x > 0 else main)
    _any_head(p, animal, rng, (0.52, -0.28), 0.32, (main, light, dark))


def _portrait(p: FurPainter, animal: Animal, rng: random.Random) -> None:
    main, light, dark = _tones(animal, rng)
    p.part((0, 0.95), (0.8 * animal.plump, 0.7), main)
    p.part((0, 0.95), (0.48, 0.62), light)
    _any_head(p, animal, rng, (rng.uniform(-0.08, 0.08), -0.12), 0.58, (main, light, dark))


def _any_head(
    p: FurPainter, animal: Animal, rng: random.Random, at: tuple[float, float], r: float, tones: tuple[Tone, Tone, Tone]
) -> None:
    if rng.random() < 0.5:
        _front_head(p, animal, rng, at, r, tones)
    else:
        _side_head(p, animal, at, r, tones)


def _ears(
    p: FurPainter, animal: Animal, at: tuple[float, float], r: float, tone: Tone, sides: tuple[float, ...]
) -> None:
    x, y = at
    for side in sides:
        if animal.ears == "pointed":
            p.part((x + side * 0.68 * r, y - 0.82 * r), (0.2 * r, 0.5 * r), tone, side * 0.4)
            inner = tuple(0.6 * a + 0.4 * b for a, b in zip(tone, (226, 170, 160), strict=True))
            p.part((x + side * 0.68 * r, y - 0.74 * r), (0.1 * r, 0.3 * r), inner, side * 0.4)  # type: ignore[arg-type]
        elif animal.ears == "hanging":
            p.part((x + side * 0.92 * r, y + 0.05 * r), (0.28 * r, 0.66 * r), tone, -side * 0.25)
        elif animal.ears == "round":
            p.part((x + side * 0.72 * r, y - 0.7 * r), (0.32 * r, 0.32 * r), tone)
        else:
            p.part((x + side * 0.4 * r, y - 1.2 * r), (0.2 * r, 0.8 * r), tone, side * 0.2)


def _front_head(
    p: FurPainter, animal: Animal, rng: random.Random, at: tuple[float, float], r: float, tones: tuple[Tone, Tone, Tone]
) -> None:
    main, light, dark = tones
    x, y = at
    if animal.ears != "hanging":
        _ears(p, animal, at, r, dark, (-1, 1))
    p.part(at, (0.9 * r, 0.85 * r), main)
    if light != main and rng.random() < 0.7:
        p.part((x, y - 0.3 * r), (0.16 * r, 0.6 * r), light)
    p.part((x, y + 0.4 * r), (0.46 * r * animal.snout, 0.42 * r), light)
    if animal.tongue:
        p.part((x, y + 0.86 * r), (0.17 * r, 0.3 * r), _TONGUE, fray=0.0)
        p.part((x, y + 0.58 * r), (0.3 * r, 0.08 * r), _DARK, fray=0.0)
    p.part((x, y + 0.22 * r), (0.18 * r, 0.13 * r), _DARK, fray=0.0)
    for side in (-1, 1):
        p.part((x + side * 0.38 * r, y - 0.1 * r), (0.11 * r, 0.12 * r), _DARK, fray=0.0)
    if animal.ears == "hanging":
        _ears(p, animal, at, r, dark, (-1, 1))


def _side_head(
    p: FurPainter, animal: Animal, at: tuple[float, float], r: float, tones: tuple[Tone, Tone, Tone]
) -> None:
    main, light, dark = tones
    x, y = at
    length = 0.55 * animal.snout * r
    if animal.ears != "hanging":
        _ears(p, animal, (x - 0.2 * r, y), r, dark, (-0.5, 0.5))
    p.part(at, (0.82 * r, 0.8 * r), main)
    p.part((x + 0.7 * r, y + 0.24 * r), (length, 0.34 * r), light, 0.2)
    if animal.tongue:
        p.part((x + 0.72 * r, y + 0.62 * r), (0.14 * r, 0.26 * r), _TONGUE, -0.3, fray=0.0)
    p.part((x + 0.7 * r + length, y + 0.2 * r), (0.14 * r, 0.13 * r), _DARK, fray=0.0)
    p.part((x + 0.36 * r, y - 0.12 * r), (0.1 * r, 0.11 * r), _DARK, fray=0.0)
    if animal.ears == "hanging":
        _ears(p, animal, (x - 0.7 * r, y), r, dark, (0.4,))
