"""Food and plants of the blind renderer."""

from __future__ import annotations

import math

from tools.pretrain_tagger.blind_pen import RGB, WHITE, Pen, Point, dark, light, turned

_LEAF: RGB = (86, 168, 70)
_CREAM: RGB = (252, 240, 214)


def apple(pen: Pen, tint: RGB) -> None:
    """A dent above and below, stem, leaf."""
    skin = pen.tone((214, 40, 44), (214, 40, 44), (136, 194, 60), (240, 200, 70))
    wide, dip = pen.v(36, 41), pen.v(20, 26)
    half: list[Point] = [(0, -dip), (14, -32), (32, -26), (wide, -4), (wide - 9, 26), (14, 43), (0, 39)]
    pen.blob(half + [(-x, y) for x, y in half[-2:0:-1]], skin)
    pen.oval(-20, -10, 5, 11, light(skin, 0.55), turn=20, shade=False)
    pen.line([(0, -dip + 3), (2, -36), (7, -46)], 4, (104, 68, 44))
    if pen.chance(0.85):
        pen.blob([(5, -35), (16, -47), (33, -46), (22, -33)], _LEAF)


def strawberry(pen: Pen, tint: RGB) -> None:
    """Pointed, with seeds and a crown of leaves."""
    wide, low = pen.v(31, 37), pen.v(43, 48)
    half: list[Point] = [(0, -26), (18, -29), (wide, -16), (wide - 4, 8), (14, 34), (0, low)]
    skin = pen.tone((226, 40, 52), (214, 28, 60))
    body = pen.blob(half + [(-x, y) for x, y in half[-2:0:-1]], skin)
    for row in range(6):
        for column in range(-3, 4):
            x, y = column * 12 + (row % 2) * 6, -14 + row * 11
            pen.oval(x, y, 1.6, 2.8, (254, 222, 120), shade=False, inside=body)
    for angle in (-74, -38, 0, 38, 74):
        pen.blob(turned([(0, 0), (6, 10), (0, 24), (-6, 10)], angle, 0, -31), _LEAF)
    for s in (-1, 1):
        pen.blob(turned([(0, 0), (5, 9), (0, 20), (-5, 9)], s * 112, 0, -31), _LEAF)
    pen.line([(0, -30), (2, -38), (6, -45)], 4, dark(_LEAF, 0.15))


def pizza(pen: Pen, tint: RGB) -> None:
    """A slice, or a whole one with its cuts."""
    cheese, crust, meat = pen.tone((250, 206, 92), (252, 216, 110)), pen.tone((206, 136, 62)), pen.tone((198, 54, 44))
    if pen.chance(0.6):
        pen.poly([(-36, -30), (36, -30), (0, 48)], crust)
        slice_ = pen.poly([(-34, -30), (34, -30), (0, 44)], cheese)
        for x, y in ((-14, -16), (13, -12), (-3, 8), (26, -25), (2, 28)):
            pen.oval(x, y, 7.5, 7.5, meat, inside=slice_)
        for x, y in ((0, -20), (10, 6), (-11, 1)):
            pen.oval(x, y, 3.4, 2, _LEAF, turn=pen.v(0, 180), shade=False, inside=slice_)
        pen.blob([(-40, -34), (-20, -43), (0, -45), (20, -43), (40, -34), (38, -25), (0, -32), (-38, -25)], crust)
        return
    pen.oval(0, 0, 47, 47, crust)
    top = pen.oval(0, 0, 40, 40, cheese)
    start = pen.v(0, 45)
    for angle in range(8):
        (spot,) = turned([(0, pen.v(18, 31))], start + angle * 45 + 22)
        pen.oval(*spot, 6, 6, meat, inside=top)
    for angle in range(4):
        pen.line(turned([(0, -48), (0, 48)], start + angle * 45), 1.8, dark(crust, 0.25))
    for _ in range(7):
        (spot,) = turned([(0, pen.v(6, 35))], pen.v(0, 360))
        pen.oval(*spot, 3, 1.8, _LEAF, turn=pen.v(0, 180), shade=False)


def cake(pen: Pen, tint: RGB) -> None:
    """A birthday cake with candles, or a slice with a berry; tint is the candles'."""
    icing, dough = pen.tone((252, 176, 200), (120, 72, 48), (252, 246, 236)), pen.tone((238, 190, 122), (196, 128, 80))
    if pen.chance(0.3):
        pen.poly([(-42, -6), (40, -14), (40, 32), (-42, 38)], dough)
        pen.poly([(-42, 13), (40, 7), (40, 13), (-42, 19)], icing, shade=False)
        pen.poly([(-42, -8), (24, -34), (40, -16), (40, -6), (-42, 2)], icing)
        pen.oval(18, -28, 9, 8, (216, 36, 48))
        pen.line([(18, -35), (20, -41), (26, -44)], 2, _LEAF)
        return
    number = pen.pick(1, 3, 5)
    for index in range(number):
        x = (index - (number - 1) / 2) * 11
        pen.box(x - 2.4, -36, x + 2.4, -14, tint, round_by=1)
        pen.blob([(x, -49), (x + 3.4, -41), (x, -36), (x - 3.4, -41)], (255, 170, 40), shade=False)
    pen.oval(0, 40, 48, 7, (226, 230, 236))
    if pen.chance(0.5):
        _tier(pen, 40, 8, 40, dough, icing)
        _tier(pen, 27, -17, 9, dough, icing)
    else:
        _tier(pen, 40, -16, 40, dough, icing)


def _tier(pen: Pen, wide: float, top: float, low: float, dough: RGB, icing: RGB) -> None:
    pen.box(-wide, top, wide, low, dough, round_by=5)
    drips = [(wide * (1 - i / 8), top + (low - top) * (0.28 if i % 2 else pen.v(0.45, 0.68))) for i in range(17)]
    pen.blob([(-wide - 1, top - 1), (0, top - 4), (wide + 1, top - 1), *drips], icing)


def mushroom(pen: Pen, tint: RGB) -> None:
    """A spotted cap on a pale stem."""
    cap, high, wide = pen.tone((216, 44, 40), (216, 44, 40), (172, 112, 66)), pen.v(38, 46), pen.v(10, 15)
    pen.blob(
        [(-wide, -6), (wide, -6), (wide + 1, 24), (wide + 6, 44), (0, 47), (-wide - 6, 44), (-wide - 1, 24)], _CREAM
    )
    pen.oval(0, 2, 34, 7, dark(_CREAM, 0.2))
    dome = [(43 * math.cos(a / 20), 3 - high * math.sin(a / 20)) for a in range(63)]
    top = pen.poly([*dome, (-34.0, 8.0), (0.0, 4.0), (34.0, 8.0)], cap)
    for x, y, r in ((-22, -12, 7), (2, -25, 8.5), (25, -13, 6.5), (4, -4, 5.5), (-38, -1, 6), (40, 0, 5)):
        pen.oval(x, y, r, r * 0.9, WHITE, shade=False, inside=top)


def tree(pen: Pen, tint: RGB) -> None:
    """A round crown of leaves, or a fir."""
    leaf, bark = pen.tone((66, 150, 68), (96, 168, 62), (40, 122, 78)), pen.tone((124, 82, 50))
    if pen.chance(0.35):
        pen.box(-6, 30, 6, 49, bark)
        for row, wide in enumerate((36, 29, 21)):
            low = 34 - row * 23
            pen.poly([(-wide, low), (0, low - 38), (wide, low)], light(leaf, row * 0.07))
        return
    pen.poly([(-6, 4), (6, 4), (10, 48), (-10, 48)], bark)
    pen.line([(0, 22), (14, 8)], 5, bark)
    puffs = [(-22, 0, 19), (22, 0, 19), (-14, -22, 20), (16, -22, 19), (0, -8, 24), (0, -31, 17)]
    for x, y, r in puffs:
        pen.oval(x + pen.v(-2, 2), y + pen.v(-2, 2), r, r, leaf)
    if pen.chance(0.3):
        for x, y in ((-20, -2), (6, -24), (20, 4), (-6, 4), (-12, -26)):
            pen.oval(x, y, 3.6, 3.6, (222, 48, 44), shade=False)


def sunflower(pen: Pen, tint: RGB) -> None:
    """Pointed petals around a brown disc, often with stem and leaves."""
    petal, number, stem = pen.tone((252, 196, 28), (254, 212, 50)), pen.pick(14, 16, 18), pen.chance(0.6)
    if stem:
        pen.line([(0, -10), (2, 20), (0, 49)], 5, dark(_LEAF, 0.1))
        for s in (-1, 1):
            pen.blob([(0, 40), (s * 12, 24), (s * 28, 20), (s * 20, 34)], _LEAF)
    with pen.frame(0, -16 if stem else 0, 0.68 if stem else 1):
        for ring, colour in ((0.0, dark(petal, 0.16)), (0.5, petal)):
            for index in range(number):
                angle = (index + ring) * 360 / number
                pen.blob(turned([(0, -16), (8, -32), (0, -49), (-8, -32)], angle), colour)
        disc = pen.oval(0, 0, 23, 23, pen.tone((104, 62, 34), (84, 50, 32)))
        for index in range(60):
            x, y = turned([(0, 2.9 * math.sqrt(index))], index * 137.5)[0]
            pen.oval(x, y, 1.2, 1.2, (168, 110, 58), shade=False, inside=disc)


def pumpkin(pen: Pen, tint: RGB) -> None:
    """Ribs and a stem; one in two has a face."""
    skin, high = pen.tone((240, 130, 30), (228, 112, 24)), pen.v(31, 36)
    pen.line([(0, -22), (-1, -36), (pen.pick(-8, 8), -45)], 8, (90, 126, 58))
    for x, wide in ((-28, 18), (28, 18), (-15, 19), (15, 19), (0, 17)):
        pen.oval(x, 8, wide, high - abs(x) * 0.12, dark(skin, abs(x) * 0.007))
        pen.oval(x, 8, wide - 1.6, high - abs(x) * 0.12 - 1.2, skin if x == 0 else dark(skin, 0.04 + abs(x) * 0.002))
    if pen.chance(0.5):
        face = (64, 32, 20)
        for s in (-1, 1):
            pen.poly([(s * 8, 2), (s * 24, 2), (s * 16, -12)], face, shade=False)
        pen.poly([(0, 3), (4, 10), (-4, 10)], face, shade=False)
        grin: list[Point] = [(-28, 14), (-16, 19), (-10, 16), (-4, 20), (4, 20), (10, 16), (16, 19), (28, 14)]
        pen.poly([*grin, (18, 28), (8, 32), (3, 27), (-3, 27), (-8, 32), (-18, 28)], face, shade=False)
