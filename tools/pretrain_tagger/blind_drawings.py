"""Vehicles, toys and shapes of the blind renderer, and the list of everything that it draws."""

from __future__ import annotations

import math
from collections.abc import Callable

from tools.pretrain_tagger import blind_animals as animals
from tools.pretrain_tagger import blind_creatures as creatures
from tools.pretrain_tagger import blind_garden as garden
from tools.pretrain_tagger.blind_pen import INK, RGB, WHITE, Pen, Point, accent, dark, light, oval_points, turned

_GLASS: RGB = (190, 226, 240)
_CREAM: RGB = (252, 240, 214)
_GOLD: RGB = (250, 196, 48)


def car(pen: Pen, tint: RGB) -> None:
    """From the side: a low body, a rounded cabin, two wheels."""
    roof, boot = pen.v(-26, -20), pen.v(-40, -32)
    pen.blob([(boot + 4, 2), (-20, roof + 2), (-8, roof - 2), (12, roof - 1), (31, 2), (20, 6), (-24, 6)], tint)
    pen.blob([(-49, 8), (-40, -1), (0, -4), (36, -1), (48, 7), (49, 20), (38, 24), (-42, 24), (-49, 20)], tint)
    pen.poly([(boot + 14, 0), (-17, roof + 6), (-3, roof + 4), (-3, 0)], _GLASS, shade=False)
    pen.poly([(2, roof + 4), (11, roof + 5), (23, 0), (2, 0)], _GLASS, shade=False)
    pen.oval(45, 8, 3.6, 4, (255, 236, 150), shade=False)
    pen.box(-49, 6, -45, 13, (222, 50, 46), round_by=2, shade=False)
    pen.box(2, 5, 9, 7.5, accent(tint), round_by=1, shade=False)
    _wheels(pen, 28, 24, pen.v(10, 12))


def van(pen: Pen, tint: RGB) -> None:
    """From the side: a tall box with a short nose and a row of windows."""
    top, nose, windows = pen.v(-30, -24), pen.v(4, 9), pen.pick(1, 2, 2)
    body = pen.blob(
        [(-46, 24), (-48, 0), (-46, top + 3), (-38, top), (20, top), (30, top + 5), (40, -2), (48, nose), (49, 24)],
        tint,
    )
    if pen.chance(0.4):
        pen.box(-50, 8, 50, 13, WHITE if sum(tint) < 600 else accent(tint), shade=False, inside=body)
    for index in range(windows):
        left, wide = (-41 + index * 25, 21) if windows == 2 else (-41, 26)
        pen.box(left, top + 7, left + wide, -4, _GLASS, round_by=3, shade=False)
    pen.poly([(12, top + 7), (24, top + 7), (34, -4), (12, -4)], _GLASS, shade=False)
    pen.line([(9, top + 6), (9, 21)], 1.2, dark(tint, 0.4) if sum(tint) > 200 else light(tint, 0.4))
    pen.box(13, 1, 19, 3.5, accent(tint), round_by=1, shade=False)
    pen.oval(45, 12, 3.4, 4, (255, 236, 150), shade=False)
    pen.box(-49, 20, 50, 25, accent(tint), round_by=2, shade=False)
    _wheels(pen, 28, 25, pen.v(9, 11))


def _wheels(pen: Pen, apart: float, y: float, r: float) -> None:
    for s in (-1, 1):
        pen.oval(s * apart, y, r, r, INK)
        pen.oval(s * apart, y, r * 0.52, r * 0.52, (198, 202, 210), shade=False)


def rocket(pen: Pen, tint: RGB) -> None:
    """Upright or climbing; tint is that of nose and fins."""
    slant, hull, wide = pen.pick(0, 0, 35, 45), pen.tone((236, 238, 242), (206, 212, 222)), pen.v(14, 18)

    def part(points: list[Point], colour: RGB, *, smooth: bool = False) -> None:
        (pen.blob if smooth else pen.poly)(turned(points, slant), colour)

    part([(-9, 26), (9, 26), (12, 36), (0, 50), (-12, 36)], (255, 140, 30), smooth=True)
    part([(-5, 26), (5, 26), (6, 33), (0, 41), (-6, 33)], (255, 222, 90), smooth=True)
    for s in (-1, 1):
        part([(s * 10, 6), (s * 30, 22), (s * 30, 36), (s * 10, 27)], tint)
    half: list[Point] = [(0, -50), (9, -38), (wide, -16), (wide + 1, 4), (11, 28), (0, 28)]
    outline = half + [(-x, y) for x, y in half[-2:0:-1]]
    body = pen.blob(turned(outline, slant), hull)
    pen.poly(turned([(-30, -60), (30, -60), (30, -28), (-30, -28)], slant), tint, inside=body)
    (x, y), (u, w) = turned([(0, -12), (0, 8)], slant)
    pen.oval(x, y, 8.5, 8.5, accent(hull), shade=False)
    pen.oval(x, y, 6, 6, (120, 200, 240), shade=False)
    pen.oval(u, w, 4, 4, (120, 200, 240), shade=False)
    part([(-11, 25), (11, 25), (9, 31), (-9, 31)], (96, 100, 112))


def house(pen: Pen, tint: RGB) -> None:
    """Walls, a gable, door and windows; tint is the roof's."""
    wall, eaves = pen.tone(_CREAM, (240, 214, 170), (226, 226, 232), (222, 150, 110)), pen.v(-12, -4)
    side, wide = pen.pick(-1, 1), pen.v(30, 36)
    pen.box(side * 20 - 6, -44, side * 20 + 6, -14, (164, 84, 70))
    pen.box(-wide, eaves - 2, wide, 47, wall)
    pen.poly([(-wide - 9, eaves), (0, -48), (wide + 9, eaves)], tint)
    door = pen.tone((128, 78, 46), (70, 110, 150))
    at = pen.pick(-14, 0)
    pen.box(at - 8, 17, at + 8, 47, door, round_by=pen.pick(0, 8), shade=False)
    pen.oval(at + 4.5, 33, 1.6, 1.6, _GOLD, shade=False)
    for x in (-21, 21) if at == 0 else (15,):
        w = 7 if at == 0 else 11
        pen.box(x - w, eaves + 14, x + w, eaves + 32, _GLASS, shade=False)
        for bar in ([(x, eaves + 14), (x, eaves + 32)], [(x - w, eaves + 23), (x + w, eaves + 23)]):
            pen.line([(float(a), float(b)) for a, b in bar], 1.6, WHITE)
    if pen.chance(0.5):
        pen.oval(0, (eaves - 48) / 2 + 8, 6, 6, _GLASS, shade=False)


def crown(pen: Pen, tint: RGB) -> None:
    """Gold, three or five points, jewels; tint is that of one jewel."""
    gold, points = pen.tone((246, 190, 44), (252, 206, 66)), pen.pick(3, 5)
    flare, outline = pen.v(36, 44), [(-34.0, 34.0)]
    for index in range(points * 2 - 1):
        t = index / (points * 2 - 2) * 2 - 1
        outline.append((t * flare, -34 + 8 * abs(t) if index % 2 == 0 else 4))
    pen.poly([*outline, (34, 34)], gold)
    for x, y in outline[1::2]:
        pen.oval(x, y, 5, 5, light(gold, 0.3))
    pen.box(-36, 22, 36, 36, dark(gold, 0.16), round_by=3)
    for x, gem in ((-22, (40, 120, 220)), (0, (216, 36, 60)), (22, tint)):
        pen.oval(x, 29, 5, 4.6, gem, shade=False)


def balloon(pen: Pen, tint: RGB) -> None:
    """An egg, a knot and a string."""
    wide, swing = pen.v(25, 29), pen.v(-8, 8)
    pen.line([(0, 20), (swing, 29), (-swing, 39), (0, 50)], 1.8, accent(tint))
    pen.poly([(0, 13), (6, 22), (-6, 22)], dark(tint, 0.15))
    pen.blob([(0, -49), (19, -42), (wide, -20), (18, 4), (5, 16), (-5, 16), (-18, 4), (-wide, -20), (-19, -42)], tint)
    pen.oval(-11, -30, 4, 9, light(tint, 0.6), turn=25, shade=False)


def circle(pen: Pen, tint: RGB) -> None:
    """A disc."""
    pen.oval(0, 0, 46, 46, tint)


def square(pen: Pen, tint: RGB) -> None:
    """Sharp or slightly rounded corners."""
    pen.box(-42, -42, 42, 42, tint, round_by=pen.pick(0, 4, 9))


def triangle(pen: Pen, tint: RGB) -> None:
    """On its base."""
    high = pen.v(36, 46)
    pen.poly([(0, -high), (46, high - 4), (-46, high - 4)], tint)


def star(pen: Pen, tint: RGB) -> None:
    """Five points."""
    inner = pen.v(0.40, 0.52)
    radii = [(48.0, 48 * inner)[index % 2] for index in range(10)]
    pen.poly([turned([(0.0, -r)], index * 36)[0] for index, r in enumerate(radii)], tint)


def heart(pen: Pen, tint: RGB) -> None:
    """The curve 16 sin³, 13 cos - 5 cos 2 - 2 cos 3 - cos 4."""
    high, turns = pen.v(2.5, 2.8), [2 * math.pi * step / 120 for step in range(120)]
    lobes = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    pen.poly([(2.75 * 16 * math.sin(t) ** 3, -high * y - 6) for t, y in zip(turns, lobes, strict=True)], tint)


def ring(pen: Pen, tint: RGB) -> None:
    """A disc with a wide hole."""
    pen.oval(0, 0, 46, 46, tint)
    inner = pen.v(22, 32)
    pen.cut(pen.poly(oval_points(0, 0, inner, inner), tint))


_EVERY = (
    *(animals.dog, animals.cat, animals.panda, animals.fox, animals.frog, animals.pig),
    *(creatures.penguin, creatures.owl, creatures.ladybug, creatures.snowman, creatures.ghost),
    *(garden.apple, garden.strawberry, garden.pizza, garden.cake, garden.mushroom),
    *(garden.tree, garden.sunflower, garden.pumpkin, car, rocket, house, crown, balloon),
    *(circle, square, triangle, star, heart, ring, creatures.robot, creatures.monster, van),
)

DRAWINGS: dict[str, Callable[[Pen, RGB], None]] = {draw.__name__: draw for draw in _EVERY}
"""How each noun is drawn. The colour is the thing's own where it may have any, else that of an accessory."""
