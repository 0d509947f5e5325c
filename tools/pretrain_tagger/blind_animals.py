"""Animals of the blind renderer that are heads, or sit or walk on one body."""

from __future__ import annotations

from collections.abc import Callable

from tools.pretrain_tagger.blind_pen import INK, RGB, WHITE, Pen, Point, dark, light, turned

Head = Callable[[Pen, RGB], None]

_ROSE: RGB = (244, 150, 160)


def dog(pen: Pen, tint: RGB) -> None:
    """Hanging ears and a light muzzle; tint is the collar's."""
    fur = pen.tone((196, 140, 84), (138, 88, 52), (226, 180, 112), (150, 140, 132))
    ear, hang = dark(fur, pen.v(0.25, 0.5)), pen.v(14, 24)

    def head(pen: Pen, tint: RGB) -> None:
        face = pen.blob([(0, -38), (28, -28), (32, 2), (22, 30), (0, 38), (-22, 30), (-32, 2), (-28, -28)], fur)
        if blaze:
            pen.blob([(0, -40), (6, -10), (14, 18), (0, 40), (-14, 18), (-6, -10)], light(fur, 0.75), inside=face)
        for s in (-1, 1):
            pen.blob(
                [(s * 18, -36), (s * 36, -30), (s * 46, -4), (s * 42, hang), (s * 31, hang - 4), (s * 25, -14)], ear
            )
        pen.oval(0, 19, 20, 16, light(fur, 0.6))
        pen.blob([(-9, 8), (9, 8), (5, 16), (0, 18), (-5, 16)], INK)
        if tongue:
            pen.box(-6, 26, 6, 40, (236, 98, 112), round_by=6)
        pen.line([(-11, 23), (-6, 28), (0, 25), (6, 28), (11, 23)], 2.6, INK)
        pen.line([(0, 16), (0, 25)], 2.4, INK)
        _eyes(pen, 14, -6, 5)

    blaze, tongue = pen.chance(0.4), pen.chance(0.5)
    _posed(pen, tint, head, fur, light(fur, 0.5), [(0, 0), (10, -8), (14, -22)], 7)


def cat(pen: Pen, tint: RGB) -> None:
    """Pointed ears, whiskers and stripes."""
    fur = pen.tone((240, 156, 66), (150, 150, 158), (70, 68, 78), (236, 214, 178))
    line, iris = (INK if sum(fur) > 300 else (225, 225, 225)), pen.pick((126, 190, 60), (240, 200, 60), (90, 170, 210))
    striped, tall = pen.chance(0.6), pen.v(44, 50)

    def head(pen: Pen, tint: RGB) -> None:
        for s in (-1, 1):
            pen.poly([(s * 10, -24), (s * 34, -tall), (s * 38, -2)], fur)
            pen.poly([(s * 18, -25), (s * 31, -tall + 9), (s * 33, -10)], _ROSE, shade=False)
        face = pen.oval(0, 4, 41, 33, fur)
        if striped:
            for x in (-10, 0, 10):
                pen.line([(x, -34), (x * 0.8, -17)], 4, dark(fur, 0.4), inside=face)
            for s in (-1, 1):
                pen.line([(s * 44, 0), (s * 31, 2)], 4, dark(fur, 0.4), inside=face)
        for s in (-1, 1):
            pen.oval(s * 16, 0, 8, 9, iris, shade=False)
            pen.oval(s * 16, 0, 3, 8, INK, shade=False)
            for y, end in ((14, 9), (19, 19), (24, 28)):
                pen.line([(s * 18, y), (s * 48, end)], 1.4, line)
        pen.oval(-7, 19, 9, 7, light(fur, 0.55))
        pen.oval(7, 19, 9, 7, light(fur, 0.55))
        pen.poly([(-5, 10), (5, 10), (0, 16)], _ROSE if sum(fur) < 560 else (226, 110, 120), shade=False)
        pen.line([(-9, 22), (-4, 24), (0, 17), (4, 24), (9, 22)], 2, INK)

    _posed(pen, tint, head, fur, light(fur, 0.45), [(0, 0), (14, -4), (16, -22), (8, -34)], 6)


def panda(pen: Pen, tint: RGB) -> None:
    """White, with black ears, eyes and limbs."""
    big = pen.v(11, 14)

    def head(pen: Pen, tint: RGB) -> None:
        for s in (-1, 1):
            pen.oval(s * 29, -28, big, big, INK)
        pen.oval(0, 3, 41, 36, WHITE)
        for s in (-1, 1):
            pen.oval(s * 17, -1, 9, 13, INK, turn=s * 32, shade=False)
            pen.oval(s * 15, -3, 4.5, 4.5, WHITE, shade=False)
            pen.oval(s * 15, -3, 2.8, 2.8, INK, shade=False)
        pen.oval(0, 15, 7, 5, INK, shade=False)
        pen.line([(-9, 24), (-4, 27), (0, 22), (4, 27), (9, 24)], 2.4, INK)

    if pen.chance(0.5):
        head(pen, tint)
        return
    pen.oval(0, 24, 27, 25, WHITE)
    for s in (-1, 1):
        pen.oval(s * 22, 18, 9, 17, INK, turn=s * pen.v(10, 40))
        pen.oval(s * 20, 42, 12, 10, INK, turn=-s * 20)
        pen.oval(s * 20, 43, 5, 4, (120, 112, 118), shade=False)
    with pen.frame(0, -19, 0.72):
        head(pen, tint)


def fox(pen: Pen, tint: RGB) -> None:
    """Orange, with white cheeks and a bushy tail."""
    fur = pen.tone((236, 118, 38), (222, 96, 34), (246, 138, 58))
    tip, wide = pen.pick(INK, (92, 48, 30)), pen.v(42, 48)

    def head(pen: Pen, tint: RGB) -> None:
        for s in (-1, 1):
            ear = pen.poly([(s * 8, -20), (s * 34, -49), (s * 38, -4)], fur)
            pen.poly([(s * 22, -50), (s * 36, -50), (s * 38, -34), (s * 22, -36)], tip, shade=False, inside=ear)
            pen.poly([(s * 19, -22), (s * 30, -34), (s * 32, -14)], light(fur, 0.75), shade=False)
        half: list[Point] = [(0, -28), (22, -24), (36, -4), (wide, 10), (24, 26), (8, 40), (0, 43)]
        face = pen.blob(half + [(-x, y) for x, y in half[-2:0:-1]], fur)
        for s in (-1, 1):
            pen.blob(
                [(s * 3, 24), (s * 14, 10), (s * 30, 2), (s * 52, 8), (s * 30, 34), (s * 3, 50)], WHITE, inside=face
            )
        pen.oval(0, 39, 6.5, 5, INK)
        _eyes(pen, 17, 1, 4.5)

    pose = pen.pick("head", "seated", "walking")
    if pose == "head":
        head(pen, tint)
        return
    tail: list[Point] = [(0, 0), (14, -2), (26, -18), (26, -36), (20, -48), (10, -34), (2, -18)]
    tail = turned(tail, pen.v(-5, 15), 10, 36) if pose == "seated" else turned([(-x, y) for x, y in tail], -20, -24, 12)
    brush = pen.blob(tail, fur)
    end = tail[4]
    pen.oval(end[0], end[1], 13, 13, WHITE, inside=brush)
    _body(pen, pose, fur, WHITE, dark(fur, 0.6))
    with pen.frame(*(0, -20, 0.66) if pose == "seated" else (25, -12, 0.55)):
        head(pen, tint)


def pig(pen: Pen, tint: RGB) -> None:
    """Pink, with a snout."""
    skin = pen.tone((246, 172, 184), (250, 188, 190), (240, 156, 172))
    long = pen.v(13, 17)

    def head(pen: Pen, tint: RGB) -> None:
        for s in (-1, 1):
            pen.blob([(s * 10, -30), (s * 30, -46), (s * 44, -40), (s * 38, -10)], dark(skin, 0.16))
        pen.oval(0, 2, 40, 37, skin)
        pen.oval(0, 12, long, 11.5, dark(skin, 0.16))
        for s in (-1, 1):
            pen.oval(s * 6, 12, 3, 5, dark(skin, 0.6), shade=False)
            pen.oval(s * 28, 12, 6, 4.5, (250, 128, 150), shade=False)
        pen.line([(-9, 27), (0, 31), (9, 27)], 2.4, dark(skin, 0.6))
        _eyes(pen, 18, -8, 4.5)

    _posed(pen, tint, head, skin, light(skin, 0.3), [(0, 0), (7, -2), (6, -9), (0, -6), (6, 1), (14, -6)], 3)


def frog(pen: Pen, tint: RGB) -> None:
    """Green, with eyes on top and a wide mouth."""
    skin = pen.tone((104, 186, 66), (70, 164, 74), (140, 200, 60))
    grin = pen.v(6, 16)

    def head(pen: Pen, tint: RGB) -> None:
        for s in (-1, 1):
            pen.oval(s * 22, -22, 15, 15, skin)
        pen.oval(0, 8, 44, 30, skin)
        for s in (-1, 1):
            pen.oval(s * 22, -23, 10.5, 10.5, WHITE, shade=False)
            pen.oval(s * 21, -22, 6, 6, INK, shade=False)
            pen.oval(s * 19, -25, 2, 2, WHITE, shade=False)
            pen.oval(s * 34, 12, 6, 4, (240, 140, 130), shade=False)
            pen.oval(s * 4, 0, 1.6, 1.6, dark(skin, 0.6), shade=False)
        pen.line([(-28, 10), (-14, 10 + grin), (0, 12 + grin), (14, 10 + grin), (28, 10)], 2.8, dark(skin, 0.7))

    if pen.chance(0.5):
        head(pen, tint)
        return
    for s in (-1, 1):
        pen.oval(s * 29, 26, 16, 20, dark(skin, 0.12), turn=s * 20)
        pen.blob([(s * 20, 40), (s * 42, 38), (s * 50, 46), (s * 20, 48)], dark(skin, 0.12))
    pen.oval(0, 18, 27, 28, skin)
    pen.oval(0, 24, 18, 20, light(skin, 0.6))
    for s in (-1, 1):
        pen.line([(s * 17, 14), (s * 14, 30), (s * 13, 45)], 8, dark(skin, 0.06))
        for toe in (-6, 0, 6):
            pen.line([(s * 13, 45), (s * 13 + toe, 48)], 3.6, dark(skin, 0.06))
    with pen.frame(0, -18, 0.76):
        head(pen, tint)


def _eyes(pen: Pen, apart: float, y: float, r: float) -> None:
    for s in (-1, 1):
        pen.oval(s * apart, y, r, r * 1.15, INK, shade=False)
        pen.oval(s * apart - r * 0.3, y - r * 0.4, r * 0.34, r * 0.34, WHITE, shade=False)


def _posed(pen: Pen, tint: RGB, head: Head, fur: RGB, belly: RGB, tail: list[Point], thick: float) -> None:
    """The head alone, or on a body that sits or walks, with a tail that starts at (0, 0)."""
    pose = pen.pick("head", "seated", "walking")
    if pose == "head":
        head(pen, tint)
        return
    curl = pen.v(-10, 20)
    behind = turned(tail, curl, 16, 38) if pose == "seated" else turned([(-x, y) for x, y in tail], -curl, -30, 10)
    pen.line(behind, thick, fur)
    _body(pen, pose, fur, belly, dark(fur, 0.12))
    if pose == "seated" and pen.chance(0.4):
        pen.box(-15, 3, 15, 9, tint, round_by=3)
    with pen.frame(*(0, -20, 0.66) if pose == "seated" else (25, -12, 0.55)):
        head(pen, tint)


def _body(pen: Pen, pose: str, fur: RGB, belly: RGB, paw: RGB) -> None:
    if pose == "seated":
        pen.blob([(0, -4), (16, 2), (26, 32), (20, 47), (-20, 47), (-26, 32), (-16, 2)], fur)
        pen.oval(0, 26, 12, 18, belly)
        for s in (-1, 1):
            pen.oval(s * 19, 43, 11, 6, paw)
            pen.box(s * 8 - 5, 18, s * 8 + 5, 48, fur, round_by=5)
        return
    stride = pen.v(-4, 4)
    for x in (-18, 20):
        pen.box(x + stride, 20, x + stride + 9, 46, paw, round_by=4)
    pen.box(-34, -2, 28, 30, fur, round_by=16)
    for x in (-31, 8):
        pen.box(x - stride, 18, x - stride + 10, 48, fur, round_by=4)
