"""The things of the drawn world, sketched: the same thing never twice with the same proportions."""

from __future__ import annotations

import math

from gateway.demo_pictures.canvas import Colour, Point, shade
from tools.pretrain_tagger.sketch import Sketch
from tools.pretrain_tagger.sketched_creatures import BLACK, BROWN, GREEN, GREY, ORANGE, RED, WHITE, YELLOW

GLASS, CREAM, STONE, STEEL = (178, 216, 238), (244, 222, 180), (222, 206, 178), (222, 226, 232)


def around(centre: Point, radii: Point, start: float, end: float, steps: int = 18) -> list[Point]:
    """Points of an ellipse between two angles in degrees."""
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles]


def apple(pen: Sketch) -> None:
    skin = pen.one_of(RED, (196, 36, 40), (226, 70, 60))
    pen.pair(0.15, 0.5, 0.27, 0.28, skin)
    pen.pair(0.12, 0.66, 0.24, 0.27, skin, bare=True)
    pen.oval(0.5, 0.56, 0.36, 0.3, skin, bare=True)
    pen.line([(0.5, 0.32), (0.5 + pen.rng.uniform(-0.06, 0.08), 0.1)], BROWN, 0.04)
    if pen.maybe(0.8):
        pen.shape([(0.53, 0.22), (0.64, 0.08), (0.82, 0.12), (0.7, 0.24)], pen.one_of(GREEN))
    if pen.maybe(0.4):
        pen.oval(0.33, 0.46, 0.06, 0.09, shade(skin, 1.5), bare=True)


def strawberry(pen: Sketch) -> None:
    skin = pen.one_of(RED, (206, 30, 50))
    pen.shape([(0.14, 0.4), (0.24, 0.24), (0.5, 0.2), (0.76, 0.24), (0.86, 0.4), (0.74, 0.7), (0.5, 0.95), (0.26, 0.7)],
              skin)  # fmt: skip
    seed = pen.one_of(YELLOW, CREAM)
    for row, (y, number) in enumerate(((0.42, 4), (0.56, 3), (0.7, 2), (0.82, 1))):
        for i in range(number):
            x = 0.5 + (i - (number - 1) / 2) * 0.16 + row * 0.0
            pen.oval(x, y, 0.02, 0.03, seed, bare=True)
    tips = pen.rng.choice([5, 6, 7])
    points = []
    for i in range(tips * 2):
        x = 0.2 + 0.6 * i / (tips * 2 - 1)
        points.append((x, 0.22 if i % 2 else 0.36))
    pen.shape([(0.5, 0.12), *reversed(points), (0.24, 0.2)], pen.one_of(GREEN, (60, 130, 50)))
    if pen.maybe():
        pen.line([(0.5, 0.18), (0.53, 0.06)], GREEN, 0.04)


def pizza(pen: Sketch) -> None:
    tip = 0.5 + pen.rng.uniform(-0.12, 0.12)
    pen.shape([(0.06, 0.2), (0.94, 0.2), (tip, 0.96)], pen.one_of(YELLOW, (248, 220, 120)))
    pen.shape([(0.04, 0.22), (0.06, 0.1), (0.5, 0.05), (0.94, 0.1), (0.96, 0.22), (0.5, 0.18)],
              pen.one_of((200, 130, 64), (224, 160, 90)))  # fmt: skip
    for x, y in ((0.3, 0.33), (0.56, 0.36), (0.74, 0.28), (0.46, 0.56), (0.53, 0.76))[: pen.rng.choice([3, 4, 5])]:
        pen.oval(x, y, 0.075, 0.07, pen.one_of(RED, (190, 60, 40)))
    for _ in range(pen.rng.choice([0, 2, 4])):
        pen.oval(pen.rng.uniform(0.35, 0.65), pen.rng.uniform(0.3, 0.6), 0.03, 0.02, GREEN, bare=True)


def cake(pen: Sketch) -> None:
    icing = pen.one_of(WHITE, (250, 190, 206), CREAM)
    body = pen.one_of(CREAM, (232, 190, 120), (150, 96, 60))
    for x in ((0.5,), (0.36, 0.64), (0.3, 0.5, 0.7))[pen.rng.randrange(3)]:
        pen.box(x - 0.025, 0.18, x + 0.025, 0.42, pen.one_of(GLASS, (240, 120, 150), YELLOW))
        pen.oval(x, 0.12, 0.028, 0.05, pen.one_of(ORANGE, YELLOW), bare=True)
    if pen.maybe(0.4):
        pen.box(0.26, 0.36, 0.74, 0.6, body, round_by=0.04)
        pen.box(0.26, 0.36, 0.74, 0.44, icing, round_by=0.03)
    pen.box(0.12, 0.46, 0.88, 0.88, body, round_by=0.04)
    pen.box(0.12, 0.44, 0.88, 0.56, icing, round_by=0.05)
    for x in (0.2, 0.35, 0.5, 0.65, 0.8):
        pen.oval(x, 0.56, 0.07, 0.06, icing, bare=True)
    if pen.maybe():
        pen.line([(0.14, 0.73), (0.86, 0.73)], pen.one_of(RED, icing), 0.05)
    if pen.maybe(0.3):
        pen.oval(0.5, 0.92, 0.48, 0.04, STEEL)


def mushroom(pen: Sketch) -> None:
    cap = pen.one_of(RED, (206, 50, 40))
    pen.shape([(0.39, 0.5), (0.61, 0.5), (0.66, 0.92), (0.34, 0.92)], pen.one_of(CREAM, WHITE))
    top = pen.about(0.46)
    pen.shape(around((0.5, 0.56), (0.44, top), 180, 360), cap)
    for x, y, radius in ((0.5, 0.24, 0.07), (0.3, 0.38, 0.08), (0.7, 0.36, 0.07), (0.5, 0.46, 0.06))[
        : pen.rng.choice([3, 4])
    ]:
        pen.oval(x, y, radius, radius, WHITE, bare=True)


def car(pen: Sketch) -> None:
    paint = pen.one_of(RED, (200, 40, 40), (230, 80, 50))
    left, right = 0.2 + pen.rng.uniform(-0.04, 0.06), 0.76 + pen.rng.uniform(-0.06, 0.06)
    roof = pen.about(0.3)
    pen.shape([(left, 0.54), (left + 0.1, roof), (right - 0.14, roof), (right, 0.54)], paint)
    pen.shape([(left + 0.07, 0.52), (left + 0.13, roof + 0.05), (0.46, roof + 0.05), (0.46, 0.52)], GLASS)
    pen.shape([(0.51, 0.52), (0.51, roof + 0.05), (right - 0.16, roof + 0.05), (right - 0.06, 0.52)], GLASS)
    pen.box(0.04, 0.52, 0.96, 0.74, paint, round_by=pen.rng.choice([0.03, 0.08, 0.1]))
    radius = pen.about(0.115)
    for x in (0.25, 0.75):
        pen.oval(x, 0.74, radius, radius, BLACK)
        pen.oval(x, 0.74, radius * 0.5, radius * 0.5, GREY, bare=True)
    if pen.maybe():
        pen.oval(0.92, 0.6, 0.035, 0.035, YELLOW, bare=True)


def rocket(pen: Sketch) -> None:
    nose = pen.one_of(RED, (200, 50, 50), (230, 90, 60))
    flame = pen.about(0.12)
    pen.shape([(0.5 - flame, 0.78), (0.5 + flame, 0.78), (0.5, 0.99)], pen.one_of(ORANGE, YELLOW))
    pen.mirrored([(0.12, 0.52), (0.34, 0.84), (0.1, 0.78)], nose)
    wide = pen.about(0.17)
    pen.shape([*around((0.5, 0.36), (wide, 0.33), 180, 360), (0.5 + wide * 0.8, 0.8), (0.5 - wide * 0.8, 0.8)],
              pen.one_of(STEEL, WHITE, (200, 206, 216)))  # fmt: skip
    pen.shape([*around((0.5, 0.24), (wide * 0.9, 0.21), 180, 360)], nose)
    pen.oval(0.5, 0.44, 0.085, 0.085, pen.one_of(GLASS, (90, 150, 210)))


def house(pen: Sketch) -> None:
    wall, roof = pen.one_of(CREAM, STONE, (240, 226, 200)), pen.one_of((190, 80, 60), (170, 60, 50), BROWN)
    if pen.maybe(0.6):
        pen.box(0.68, 0.14, 0.79, 0.4, pen.one_of(BROWN, (180, 90, 70)))
    pen.box(0.16, 0.46, 0.84, 0.92, wall)
    pen.shape([(0.05, 0.5), (0.5, 0.1), (0.95, 0.5)], roof)
    door = 0.5 if pen.maybe(0.6) else 0.32
    pen.box(door - 0.08, 0.64, door + 0.08, 0.92, pen.one_of(BROWN, (110, 70, 50)))
    for x in (0.28, 0.72) if door == 0.5 else (0.64,):
        pen.box(x - 0.075, 0.56, x + 0.075, 0.7, GLASS)


def tree(pen: Sketch) -> None:
    leaves = pen.one_of(GREEN, (70, 140, 60), (100, 180, 80))
    pen.shape([(0.43, 0.56), (0.57, 0.56), (0.61, 0.96), (0.39, 0.96)], pen.one_of(BROWN, (110, 72, 44)))
    if pen.maybe(0.35):
        pen.oval(0.5, 0.38, 0.38, 0.34, leaves)
    else:
        pen.pair(0.2, 0.46, 0.2, 0.18, leaves)
        pen.oval(0.5, 0.28, 0.25, 0.22, leaves)
        pen.oval(0.5, 0.46, 0.26, 0.2, leaves, bare=True)


def sunflower(pen: Sketch) -> None:
    stalk = pen.one_of(GREEN, (70, 140, 60))
    pen.line([(0.5, 0.5), (0.5 + pen.rng.uniform(-0.04, 0.04), 0.96)], stalk, 0.05)
    for side in (-1, 1)[: pen.rng.choice([1, 2])]:
        pen.shape([(0.5, 0.84), (0.5 + side * 0.16, 0.7), (0.5 + side * 0.3, 0.72), (0.5 + side * 0.16, 0.82)], stalk)
    petal, number = pen.one_of(YELLOW, (246, 186, 40)), pen.rng.choice([9, 11, 13, 16])
    pen.petals(0.5, 0.37, 0.25, 1.05 / number, number, petal)
    pen.oval(0.5, 0.37, 0.17, 0.17, pen.one_of(BROWN, (96, 62, 40)))


def pumpkin(pen: Sketch) -> None:
    skin = pen.one_of(ORANGE, (226, 116, 30))
    pen.line([(0.5, 0.28), (0.5 + pen.rng.uniform(-0.05, 0.08), 0.1)], pen.one_of(GREEN, BROWN), 0.075)
    pen.pair(0.24, 0.58, 0.2, 0.31, skin)
    pen.pair(0.12, 0.58, 0.2, 0.34, skin)
    pen.oval(0.5, 0.58, 0.16, 0.35, skin)
    face = pen.one_of(BLACK, (80, 40, 20), (250, 210, 80))
    pen.mirrored([(0.08, 0.56), (0.26, 0.56), (0.17, 0.4)], face)
    if pen.maybe(0.4):
        pen.shape([(0.46, 0.62), (0.54, 0.62), (0.5, 0.55)], face)
    pen.shape([(0.24, 0.66), (0.36, 0.72), (0.44, 0.68), (0.52, 0.73), (0.62, 0.68), (0.76, 0.66), (0.64, 0.82),
               (0.5, 0.86), (0.36, 0.82)], face)  # fmt: skip


def snowman(pen: Sketch) -> None:
    if pen.maybe(0.6):
        for side in (-1, 1):
            pen.line([(0.5 + side * 0.2, 0.64), (0.5 + side * 0.46, pen.rng.uniform(0.44, 0.64))], BROWN, 0.028)
    pen.oval(0.5, 0.74, 0.27, 0.23, WHITE)
    pen.oval(0.5, 0.4, 0.2, 0.19, WHITE)
    if pen.maybe(0.8):
        pen.box(0.37, 0.04, 0.63, 0.22, BLACK)
        pen.line([(0.28, 0.23), (0.72, 0.23)], BLACK, 0.04)
    pen.eyes(0.075, 0.37, 0.025)
    pen.shape([(0.5, 0.41), (0.5, 0.46), (0.66, 0.45)], ORANGE, bare=True)
    if pen.maybe(0.5):
        pen.line([(0.34, 0.55), (0.66, 0.55)], pen.one_of(RED, GREEN), 0.06)
    for y in (0.66, 0.76, 0.86):
        pen.oval(0.5, y, 0.025, 0.025, BLACK, bare=True)


def ghost(pen: Sketch) -> None:
    sheet = pen.one_of(WHITE, (236, 238, 246))
    wide, waves = pen.about(0.33), pen.rng.choice([3, 4, 5])
    hem = []
    for i in range(2 * waves + 1):
        hem.append((0.5 + wide - 2 * wide * i / (2 * waves), 0.8 if i % 2 else 0.93))
    pen.shape([*around((0.5, 0.42), (wide, 0.36), 180, 360), *hem], sheet)
    if pen.maybe(0.4):
        for side in (-1, 1):
            pen.oval(0.5 + side * (wide + 0.03), 0.56, 0.08, 0.06, sheet)
    if pen.maybe(0.5):
        pen.pair(0.12, 0.4, 0.05, 0.075, BLACK, bare=True)
    else:
        pen.eyes(0.12, 0.4, 0.05)
    if pen.maybe(0.8):
        pen.oval(0.5, 0.58, 0.065, 0.08, BLACK, bare=True)


def crown(pen: Sketch) -> None:
    gold = pen.one_of(YELLOW, (240, 190, 50), (226, 170, 40))
    tips, points = pen.rng.choice([3, 3, 5]), []
    for i in range(2 * tips - 1):
        x = 0.08 + 0.84 * i / (2 * tips - 2)
        points.append((x, 0.5 if i % 2 else (0.16 if i == tips - 1 else 0.26)))
    pen.shape([*points, (0.84, 0.82), (0.16, 0.82)], gold)
    pen.box(0.15, 0.7, 0.85, 0.84, shade(gold, 0.85))
    jewel = pen.one_of(RED, (60, 110, 200), (80, 170, 90))
    for x, y in points[::2]:
        pen.oval(x, y - 0.02, 0.05, 0.05, pen.rng.choice([jewel, gold]))
    for x in ((0.5,), (0.3, 0.5, 0.7))[pen.rng.randrange(2)]:
        pen.oval(x, 0.77 if pen.maybe() else 0.6, 0.045, 0.045, jewel)


def balloon(pen: Sketch) -> None:
    skin = pen.one_of(RED, (226, 60, 70))
    sway = pen.rng.uniform(-0.06, 0.06)
    pen.line([(0.5, 0.68), (0.5 - sway, 0.82), (0.5 + sway, 0.98)], pen.one_of(BLACK, GREY, BROWN), 0.018)
    pen.shape([(0.45, 0.74), (0.55, 0.74), (0.5, 0.66)], skin)
    pen.oval(0.5, 0.37, 0.28, 0.33, skin)
    if pen.maybe(0.6):
        pen.oval(0.4, 0.25, 0.05, 0.08, shade(skin, 1.5), bare=True)


def circle(pen: Sketch, paint: Colour) -> None:
    pen.oval(0.5, 0.5, 0.42, 0.42, paint)


def square(pen: Sketch, paint: Colour) -> None:
    pen.box(0.12, 0.12, 0.88, 0.88, paint, round_by=pen.rng.choice([0.0, 0.0, 0.05]))


def triangle(pen: Sketch, paint: Colour) -> None:
    pen.shape([(0.5 + pen.rng.uniform(-0.1, 0.1), 0.09), (0.93, 0.87), (0.07, 0.87)], paint)


def star(pen: Sketch, paint: Colour) -> None:
    inner = pen.rng.uniform(0.17, 0.25)
    angles = [-math.pi / 2 + math.pi * i / 5 for i in range(10)]
    pen.shape([(0.5 + (0.46, inner)[i % 2] * math.cos(a), 0.53 + (0.46, inner)[i % 2] * math.sin(a))
               for i, a in enumerate(angles)], paint)  # fmt: skip


def heart(pen: Sketch, paint: Colour) -> None:
    dip, shoulder = pen.rng.uniform(0.26, 0.36), pen.rng.uniform(0.2, 0.25)
    right = [(0.5, dip), *around((0.7, 0.34), (0.22, shoulder), 200, 400, 12), (0.5, 0.93)]
    pen.shape([*right, *((1 - x, y) for x, y in reversed(right[:-1]))], paint)


def ring(pen: Sketch, paint: Colour) -> None:
    pen.hoop(0.43, pen.rng.uniform(0.1, 0.22), paint)


def van(pen: Sketch, paint: Colour) -> None:
    roof, nose = pen.about(0.27), 0.72 + pen.rng.uniform(-0.06, 0.1)
    pen.shape([(0.04, roof), (nose, roof), (nose + 0.1, 0.5), (0.96, 0.55), (0.96, 0.76), (0.04, 0.76)], paint)
    if pen.maybe(0.4):
        pen.line([(0.06, 0.6), (0.94, 0.6)], pen.one_of(WHITE, shade(paint, 0.7)), 0.04)
    pen.shape([(nose - 0.12, roof + 0.06), (nose - 0.02, roof + 0.06), (nose + 0.06, 0.5), (nose - 0.12, 0.5)], GLASS)
    for x in ((0.12, 0.36), (0.14, 0.3, 0.46), ())[pen.rng.randrange(3)]:
        pen.box(x, roof + 0.06, x + 0.14, 0.5, GLASS)
    radius = pen.about(0.11)
    for x in (0.24, 0.76):
        pen.oval(x, 0.77, radius, radius, BLACK)
        pen.oval(x, 0.77, radius * 0.45, radius * 0.45, GREY, bare=True)
