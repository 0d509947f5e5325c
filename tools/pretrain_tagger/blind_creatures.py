"""Birds, the ladybug and the invented creatures of the blind renderer."""

from __future__ import annotations

import math

from tools.pretrain_tagger.blind_pen import INK, RGB, WHITE, Pen, Point, accent, dark, light, turned

_BEAK: RGB = (245, 160, 40)


def penguin(pen: Pen, tint: RGB) -> None:
    """Upright, black and white; tint is the scarf's."""
    coat, lift, wide = pen.tone((40, 44, 58), (30, 30, 36), (52, 66, 96)), pen.v(8, 50), pen.v(27, 33)
    for s in (-1, 1):
        pen.oval(s * 12, 46, 10, 5, _BEAK)
        pen.poly(
            turned(
                [(math.cos(a / 9) * 6, math.sin(a / 9) * 17 + 14) for a in range(57)], -s * lift, s * (wide - 6), -4
            ),
            coat,
        )
    pen.blob(
        [
            (0, -48),
            (19, -40),
            (22, -22),
            (wide, 6),
            (wide - 3, 34),
            (0, 47),
            (3 - wide, 34),
            (-wide, 6),
            (-22, -22),
            (-19, -40),
        ],
        coat,
    )
    pen.oval(0, 17, wide * 0.7, 27, WHITE)
    for s in (-1, 1):
        pen.oval(s * 8, -25, 10, 12, WHITE, shade=False)
    for s in (-1, 1):
        pen.oval(s * 8, -27, 4, 4.6, INK, shade=False)
        pen.oval(s * 8 - 1.2, -28.6, 1.4, 1.4, WHITE, shade=False)
    pen.poly([(-7, -21), (7, -21), (0, -11)], _BEAK)
    if pen.chance(0.4):
        pen.box(-23, -11, 23, -4, tint, round_by=3)
        pen.box(8, -6, 16, 12, tint, round_by=3)


def owl(pen: Pen, tint: RGB) -> None:
    """Round eyes in discs, tufts, folded wings."""
    plume = pen.tone((142, 96, 58), (110, 78, 60), (168, 122, 78))
    pale, disc = light(plume, 0.62), pen.v(15, 18)
    for s in (-1, 1):
        pen.poly([(s * 6, -32), (s * 31, -50), (s * 33, -18)], plume)
    body = pen.blob(
        [(0, -40), (28, -34), (36, -6), (34, 24), (18, 44), (-18, 44), (-34, 24), (-36, -6), (-28, -34)], plume
    )
    belly = pen.oval(0, 24, 22, 24, pale, inside=body)
    for row in range(4):
        for column in range(-3, 4):
            x, y = column * 10 + (row % 2) * 5, 10 + row * 9
            pen.line([(x - 4, y), (x, y + 4), (x + 4, y)], 1.8, dark(plume, 0.1), inside=belly)
    for s in (-1, 1):
        pen.blob([(s * 30, -10), (s * 40, 8), (s * 34, 34), (s * 22, 22), (s * 24, 2)], dark(plume, 0.3))
        pen.oval(s * 15, -17, disc, disc, pale)
    iris = pen.pick((250, 190, 40), (240, 150, 40), WHITE)
    for s in (-1, 1):
        pen.oval(s * 15, -17, 11, 11, iris, shade=False)
        pen.oval(s * 15, -17, 6.5, 6.5, INK, shade=False)
        pen.oval(s * 15 - 3, -20, 2.4, 2.4, WHITE, shade=False)
        for toe in (-4, 0, 4):
            pen.oval(s * 10 + toe, 45, 2.4, 4, _BEAK, shade=False)
    pen.poly([(-6, -11), (6, -11), (0, 2)], _BEAK)


def ladybug(pen: Pen, tint: RGB) -> None:
    """From above at any slant, or from the side."""
    shell = pen.tone((216, 34, 34), (232, 56, 30))
    if pen.chance(0.35):
        for x in (-24, -4, 16):
            pen.line([(x, 18), (x - 3, 28), (x + 2, 33)], 4, INK)
        pen.oval(32, 8, 15, 15, INK)
        for x in (40, 46):
            pen.line([(34, -2), (x - 3, -14), (x, -20)], 2.2, INK)
        pen.oval(37, 4, 4, 5, WHITE, shade=False)
        dome = [
            (-42.0, 22.0),
            *[(-6 - 38 * math.cos(a / 20), 20 - 46 * math.sin(a / 20)) for a in range(63)],
            (30.0, 22.0),
        ]
        half = pen.poly(dome, shell)
        for x, y, r in ((-26, 6, 6), (-10, -14, 7), (-6, 10, 6.5), (14, -4, 6.5)):
            pen.oval(x, y, r, r, INK, shade=False, inside=half)
        return
    slant, apart = pen.v(-50, 50), pen.chance(0.3)
    for s in (-1, 1):
        for y, reach in ((-16, -22), (4, 4), (22, 30)):
            pen.line(turned([(s * 26, y), (s * 40, reach - 2), (s * 45, reach + 5)], slant), 4, INK)
        pen.line(turned([(s * 6, -38), (s * 12, -46), (s * 18, -49)], slant), 2.6, INK)
    pen.poly(turned([(19 * math.cos(a / 10), -30 + 14 * math.sin(a / 10)) for a in range(63)], slant), INK)
    back = pen.poly(turned([(34 * math.cos(a / 10), 7 + 36 * math.sin(a / 10)) for a in range(63)], slant), shell)
    gap: list[Point] = [(0, -32), (10, 48), (-10, 48)] if apart else [(-1.4, -32), (1.4, -32), (1.4, 48), (-1.4, 48)]
    pen.poly(turned(gap, slant), INK, shade=False, inside=back)
    for s in (-1, 1):
        for spot in turned([(s * 13, -13), (s * 19, 8), (s * 12, 27)], slant):
            pen.oval(*spot, 6, 6, INK, shade=False, inside=back)
        eye, pupil = turned([(s * 9, -35), (s * 9, -36)], slant)
        pen.oval(*eye, 4.4, 4.4, WHITE, shade=False)
        pen.oval(*pupil, 2.2, 2.2, INK, shade=False)


def monster(pen: Pen, tint: RGB) -> None:
    """A blob with horns, one to three eyes, and teeth."""
    tufts, wave, tall = pen.pick(0, 9, 13), pen.v(1.5, 4), pen.v(34, 40)
    horn = pen.pick((240, 226, 190), accent(tint))
    for s in (-1, 1):
        if pen.rng.random() < 0.8:
            pen.poly([(s * 8, -tall + 6), (s * pen.v(22, 32), -tall - 14), (s * 26, -tall + 16)], horn)
        pen.line([(s * 26, 6), (s * 38, pen.v(-10, 16)), (s * 46, pen.v(-22, 20))], 8, dark(tint, 0.15))
        pen.oval(s * 13, 44, 11, 6, dark(tint, 0.15))
    around = [2 * math.pi * step / 180 for step in range(180)]
    radii = [1 + (wave / 34 * math.sin(tufts * angle) if tufts else 0) for angle in around]
    body: list[Point] = [(33 * r * math.cos(a), 3 + tall * r * math.sin(a)) for a, r in zip(around, radii, strict=True)]
    trunk = pen.poly(body, tint)
    eyes = pen.pick(1, 2, 3)
    for number in range(eyes):
        x, r = (number - (eyes - 1) / 2) * (40 / max(eyes, 2)), (15, 9.5, 7)[eyes - 1]
        pen.oval(x, -11, r, r, WHITE, shade=False)
        pen.oval(x + 1, -10, r * 0.5, r * 0.5, INK, shade=False)
    mouth = pen.blob(
        [(-20, 11), (0, 14), (20, 11), (14, 25), (0, 30), (-14, 25)], (78, 18, 34), shade=False, inside=trunk
    )
    for x in (-13, -4, 5, 14):
        pen.poly([(x - 4, 9), (x + 4, 9), (x, 21)], WHITE, shade=False, inside=mouth)


def robot(pen: Pen, tint: RGB) -> None:
    """Boxes on boxes, an antenna, a panel."""
    metal, panel = accent(tint), dark(tint, 0.35) if sum(tint) > 200 else light(tint, 0.3)
    corner, lamp = pen.v(2, 9), pen.pick((120, 230, 255), (255, 236, 130), WHITE)
    pen.line([(0, -36), (0, -45)], 3, metal)
    pen.oval(0, -46, 4.5, 4.5, metal)
    lift = pen.v(-16, 20)
    for s in (-1, 1):
        pen.line([(s * 20, 4), (s * 32, 8), (s * 38, lift if s > 0 else 20)], 6.5, metal)
        pen.oval(s * 38, lift if s > 0 else 20, 6, 6, tint)
        pen.box(s * 10 - 5, 26, s * 10 + 5, 44, metal)
        pen.box(s * 11 - 9, 40, s * 11 + 9, 49, tint, round_by=4)
        pen.box(s * 29 - 4, -26, s * 29 + 4, -14, metal, round_by=2)
    pen.box(-5, -8, 5, 2, metal)
    pen.box(-22, -2, 22, 31, tint, round_by=corner)
    pen.box(-28, -38, 28, -5, tint, round_by=corner + 2)
    pen.box(-21, -31, 21, -13, panel if pen.chance() else INK, round_by=5, shade=False)
    for s in (-1, 1):
        pen.oval(s * 10, -22, 5.5, 5.5, lamp, shade=False)
    pen.box(-13, 6, 13, 20, panel, round_by=2, shade=False)
    for x, button in ((-7, (232, 70, 60)), (0, (250, 206, 70)), (7, (100, 200, 110))):
        pen.oval(x, 13, 2.6, 2.6, button, shade=False)


def snowman(pen: Pen, tint: RGB) -> None:
    """Two or three balls, a carrot, hat and scarf; tint is the scarf's."""
    snow, balls = pen.tone((246, 250, 254)), pen.pick(2, 3)
    for s in (-1, 1):
        up = pen.v(-18, 0)
        pen.line([(s * 14, 4), (s * 34, up)], 3, (112, 76, 48))
        pen.line([(s * 27, up * 0.65 + 1.4), (s * 35, up + 9)], 2.4, (112, 76, 48))
    for y, r in ((25, 24), (-18, 17)) if balls == 2 else ((30, 20), (4, 16), (-20, 13)):
        pen.oval(0, y, r, r * 0.97, dark(snow, 0.08))
        pen.oval(-0.6, y - 0.8, r - 1, r * 0.97 - 1.2, snow)
    head = -18 if balls == 2 else -20
    for s in (-1, 1):
        pen.oval(s * 5.5, head - 3, 2.2, 2.6, INK, shade=False)
    pen.poly([(0, head), (pen.pick(-1, 1) * 16, head + 4), (0, head + 5)], (244, 130, 36), shade=False)
    for y in (11, 19, 27) if balls == 2 else (1, 8, 26):
        pen.oval(0, y, 2, 2, INK, shade=False)
    if pen.chance(0.7):
        pen.box(-14, head + 12, 14, head + 18, tint, round_by=3)
        pen.box(5, head + 14, 11, head + 32, tint, round_by=2)
    if pen.chance(0.75):
        pen.box(-16, head - 16, 16, head - 11, INK, round_by=2)
        pen.box(-10, -50, 10, head - 12, INK, round_by=2)
        pen.box(-10, head - 19, 10, head - 15, tint, shade=False)


def ghost(pen: Pen, tint: RGB) -> None:
    """A sheet with a wavy hem."""
    sheet, hem, waves = pen.tone((248, 248, 252)), pen.v(5, 9), pen.pick(3, 4)
    dome = [(31 * math.cos(a / 20), -14 - 34 * math.sin(a / 20)) for a in range(63)]
    low = [(-31 + 62 * i / 60, 40 - hem * math.cos(2 * math.pi * waves * i / 60)) for i in range(61)]
    for s in (-1, 1):
        pen.blob([(s * 24, -4), (s * 42, pen.v(-14, 0)), (s * 46, 4), (s * 28, 14)], dark(sheet, 0.06))
    pen.poly([*dome, *low], sheet)
    for s in (-1, 1):
        pen.oval(s * 11, -16, 5, pen.v(6.5, 9), INK, shade=False)
        pen.oval(s * 19, -3, 4.5, 3, (250, 180, 196), shade=False)
    if pen.chance(0.6):
        pen.oval(0, 2, 6, 8, INK, shade=False)
    else:
        pen.line([(-8, 0), (0, 5), (8, 0)], 2.6, INK)
