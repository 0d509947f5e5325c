"""Every noun of the drawn world in another hand: nothing here is shared with the renderer that training uses."""

from __future__ import annotations

import math
from collections.abc import Callable

from tools.pretrain_tagger.crayon import INK, PAPER, Colour, Crayon

RED, ORANGE, YELLOW, GREEN = (222, 60, 56), (236, 132, 40), (250, 206, 70), (84, 160, 70)
BROWN, TAN, PINK, GREY, DARK = (126, 82, 52), (214, 168, 110), (246, 168, 180), (150, 156, 166), (46, 44, 52)
GLASS = (176, 214, 236)


def dog(pen: Crayon) -> None:
    pen.oval(0.5, 0.52, 0.33, 0.36, TAN)
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.33, 0.44, 0.11, 0.24, BROWN)
    pen.oval(0.5, 0.66, 0.18, 0.15, PAPER)
    pen.eyes(0.5, 0.45, 0.13, 0.045)
    pen.oval(0.5, 0.59, 0.07, 0.05, DARK)
    pen.oval(0.5, 0.77, 0.05, 0.08, PINK)


def cat(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.33, 0.1), (0.5 + side * 0.38, 0.5), (0.5 + side * 0.06, 0.26)], YELLOW)
        pen.stroke([(0.5 + side * 0.14, 0.65), (0.5 + side * 0.44, 0.6)])
        pen.stroke([(0.5 + side * 0.14, 0.69), (0.5 + side * 0.44, 0.72)])
    pen.oval(0.5, 0.56, 0.36, 0.32, YELLOW)
    pen.eyes(0.5, 0.5, 0.15, 0.05)
    pen.polygon([(0.45, 0.6), (0.55, 0.6), (0.5, 0.66)], PINK)
    pen.stroke([(0.4, 0.72), (0.5, 0.68), (0.6, 0.72)])


def panda(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.3, 0.22, 0.13, 0.13, DARK)
    pen.oval(0.5, 0.54, 0.39, 0.36, PAPER)
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.16, 0.5, 0.09, 0.12, DARK)
        pen.dot(0.5 + side * 0.15, 0.49, 0.035, PAPER)
    pen.oval(0.5, 0.66, 0.06, 0.04, DARK)
    pen.stroke([(0.42, 0.74), (0.5, 0.77), (0.58, 0.74)])


def fox(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.36, 0.08), (0.5 + side * 0.4, 0.46), (0.5 + side * 0.08, 0.3)], ORANGE)
    pen.polygon([(0.1, 0.46), (0.3, 0.26), (0.7, 0.26), (0.9, 0.46), (0.5, 0.92)], ORANGE)
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.38, 0.5), (0.5 + side * 0.1, 0.58), (0.5, 0.9)], PAPER, shaded=False)
    pen.eyes(0.5, 0.48, 0.14)
    pen.dot(0.5, 0.86, 0.055)


def frog(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.22, 0.27, 0.14, 0.14, GREEN)
        pen.oval(0.5 + side * 0.22, 0.26, 0.09, 0.09, PAPER)
        pen.dot(0.5 + side * 0.22, 0.27, 0.045)
    pen.oval(0.5, 0.58, 0.42, 0.3, GREEN)
    pen.stroke([(0.18, 0.58), (0.32, 0.7), (0.5, 0.74), (0.68, 0.7), (0.82, 0.58)], (170, 50, 40), 0.035)


def pig(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.36, 0.12), (0.5 + side * 0.38, 0.44), (0.5 + side * 0.1, 0.24)], PINK)
    pen.oval(0.5, 0.54, 0.38, 0.36, PINK)
    pen.eyes(0.5, 0.44, 0.18)
    pen.oval(0.5, 0.62, 0.16, 0.12, (232, 128, 144))
    for side in (-1, 1):
        pen.dot(0.5 + side * 0.06, 0.62, 0.028, (150, 60, 80))


def penguin(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.28, 0.56, 0.08, 0.22, DARK)
        pen.oval(0.5 + side * 0.12, 0.93, 0.1, 0.04, ORANGE)
    pen.oval(0.5, 0.52, 0.27, 0.42, DARK)
    pen.oval(0.5, 0.64, 0.19, 0.27, PAPER)
    pen.oval(0.5, 0.26, 0.15, 0.1, PAPER)
    pen.eyes(0.5, 0.24, 0.07, 0.025)
    pen.polygon([(0.44, 0.29), (0.56, 0.29), (0.5, 0.37)], ORANGE)


def owl(pen: Crayon) -> None:
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.28, 0.08), (0.5 + side * 0.3, 0.34), (0.5 + side * 0.08, 0.22)], BROWN)
    pen.oval(0.5, 0.54, 0.32, 0.4, BROWN)
    pen.oval(0.5, 0.68, 0.19, 0.22, TAN)
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.14, 0.36, 0.13, 0.13, YELLOW)
        pen.dot(0.5 + side * 0.14, 0.36, 0.06)
        pen.oval(0.5 + side * 0.31, 0.6, 0.07, 0.22, (98, 62, 40))
    pen.polygon([(0.45, 0.44), (0.55, 0.44), (0.5, 0.54)], ORANGE)


def ladybug(pen: Crayon) -> None:
    for side in (-1, 1):
        for y in (0.42, 0.58, 0.74):
            pen.stroke([(0.5, y), (0.5 + side * 0.44, y + 0.04)], INK, 0.03)
        pen.stroke([(0.5 + side * 0.06, 0.2), (0.5 + side * 0.16, 0.06)], INK, 0.025)
    pen.oval(0.5, 0.24, 0.17, 0.14, DARK)
    pen.oval(0.5, 0.58, 0.34, 0.35, RED)
    pen.stroke([(0.5, 0.24), (0.5, 0.92)], INK, 0.025)
    for x, y in ((0.34, 0.45), (0.66, 0.45), (0.3, 0.66), (0.7, 0.66), (0.4, 0.82), (0.6, 0.82)):
        pen.dot(x, y, 0.055)


def apple(pen: Crayon) -> None:
    pen.stroke([(0.5, 0.3), (0.54, 0.1)], BROWN, 0.04)
    pen.polygon([(0.56, 0.2), (0.7, 0.08), (0.82, 0.14), (0.7, 0.26)], GREEN)
    right = [(0.5, 0.29), (0.62, 0.25), (0.78, 0.28), (0.88, 0.44), (0.84, 0.68), (0.72, 0.88), (0.6, 0.92)]
    pen.polygon([*right, *((1 - x, y) for x, y in reversed(right))], RED)


def strawberry(pen: Crayon) -> None:
    pen.polygon([(0.18, 0.34), (0.34, 0.24), (0.66, 0.24), (0.82, 0.34), (0.76, 0.6), (0.5, 0.94), (0.24, 0.6)], RED)
    for x, y in ((0.34, 0.44), (0.5, 0.42), (0.66, 0.44), (0.42, 0.58), (0.58, 0.58), (0.5, 0.72)):
        pen.dot(x, y, 0.02, YELLOW)
    pen.polygon([(0.5, 0.1), (0.6, 0.22), (0.8, 0.2), (0.64, 0.34), (0.5, 0.28), (0.36, 0.34), (0.2, 0.2), (0.4, 0.22)],
                GREEN)  # fmt: skip


def pizza(pen: Crayon) -> None:
    pen.polygon([(0.08, 0.2), (0.92, 0.2), (0.5, 0.96)], YELLOW)
    pen.polygon([(0.05, 0.12), (0.5, 0.06), (0.95, 0.12), (0.93, 0.25), (0.5, 0.2), (0.07, 0.25)], (196, 126, 60))
    for x, y in ((0.34, 0.36), (0.62, 0.34), (0.48, 0.58), (0.52, 0.78)):
        pen.oval(x, y, 0.07, 0.065, RED)


def cake(pen: Crayon) -> None:
    for x in (0.32, 0.5, 0.68):
        pen.box(x - 0.025, 0.16, x + 0.025, 0.38, GLASS)
        pen.oval(x, 0.11, 0.025, 0.045, ORANGE)
    pen.box(0.14, 0.38, 0.86, 0.86, (240, 206, 140))
    pen.polygon([(0.12, 0.36), (0.88, 0.36), (0.88, 0.5), (0.76, 0.56), (0.62, 0.48), (0.5, 0.57), (0.38, 0.48),
                 (0.24, 0.56), (0.12, 0.5)], PAPER)  # fmt: skip
    pen.stroke([(0.15, 0.7), (0.85, 0.7)], RED, 0.05)


def mushroom(pen: Crayon) -> None:
    pen.polygon([(0.4, 0.5), (0.6, 0.5), (0.68, 0.92), (0.32, 0.92)], (244, 228, 200))
    arc = [(0.5 + 0.42 * math.cos(math.pi + math.pi * i / 16), 0.56 + 0.46 * math.sin(math.pi + math.pi * i / 16))
           for i in range(17)]  # fmt: skip
    pen.polygon(arc, RED)
    for x, y, radius in ((0.34, 0.38, 0.07), (0.6, 0.3, 0.08), (0.74, 0.46, 0.05), (0.48, 0.46, 0.045)):
        pen.dot(x, y, radius, PAPER)


def car(pen: Crayon) -> None:
    pen.polygon([(0.24, 0.52), (0.34, 0.3), (0.66, 0.3), (0.8, 0.52)], RED)
    pen.polygon([(0.3, 0.5), (0.37, 0.35), (0.48, 0.35), (0.48, 0.5)], GLASS)
    pen.polygon([(0.53, 0.5), (0.53, 0.35), (0.63, 0.35), (0.72, 0.5)], GLASS)
    pen.polygon([(0.05, 0.54), (0.9, 0.52), (0.96, 0.6), (0.95, 0.72), (0.05, 0.72)], RED)
    for x in (0.26, 0.74):
        pen.oval(x, 0.73, 0.11, 0.11, DARK)
        pen.oval(x, 0.73, 0.05, 0.05, GREY)


def rocket(pen: Crayon) -> None:
    pen.polygon([(0.42, 0.76), (0.58, 0.76), (0.5, 0.98)], ORANGE)
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.14, 0.5), (0.5 + side * 0.34, 0.8), (0.5 + side * 0.12, 0.76)], RED)
    pen.polygon([(0.5, 0.03), (0.64, 0.24), (0.66, 0.6), (0.6, 0.78), (0.4, 0.78), (0.34, 0.6), (0.36, 0.24)],
                (220, 224, 230))  # fmt: skip
    pen.polygon([(0.5, 0.03), (0.63, 0.23), (0.37, 0.23)], RED)
    pen.oval(0.5, 0.42, 0.08, 0.08, GLASS)


def house(pen: Crayon) -> None:
    pen.box(0.66, 0.12, 0.78, 0.36, BROWN)
    pen.box(0.18, 0.46, 0.82, 0.92, (240, 224, 190))
    pen.polygon([(0.08, 0.48), (0.5, 0.12), (0.92, 0.48)], (190, 76, 56))
    pen.box(0.42, 0.64, 0.58, 0.92, BROWN)
    for x in (0.29, 0.71):
        pen.box(x - 0.07, 0.56, x + 0.07, 0.7, GLASS)


def tree(pen: Crayon) -> None:
    pen.polygon([(0.43, 0.58), (0.57, 0.58), (0.62, 0.96), (0.38, 0.96)], BROWN)
    for x, y, radius in ((0.3, 0.46, 0.2), (0.7, 0.46, 0.2), (0.5, 0.28, 0.24), (0.5, 0.5, 0.22)):
        pen.oval(x, y, radius, radius, GREEN)


def sunflower(pen: Crayon) -> None:
    pen.stroke([(0.5, 0.5), (0.5, 0.98)], GREEN, 0.05)
    pen.polygon([(0.5, 0.86), (0.72, 0.72), (0.78, 0.82)], GREEN)
    for i in range(12):
        angle = math.pi * i / 6
        pen.oval(0.5 + 0.26 * math.cos(angle), 0.38 + 0.26 * math.sin(angle), 0.09, 0.09, YELLOW)
    pen.oval(0.5, 0.38, 0.17, 0.17, BROWN)


def pumpkin(pen: Crayon) -> None:
    pen.stroke([(0.5, 0.26), (0.54, 0.1)], GREEN, 0.07)
    for x in (0.26, 0.74, 0.38, 0.62, 0.5):
        pen.oval(x, 0.58, 0.2, 0.34, ORANGE)
    for side in (-1, 1):
        x = 0.5 + side * 0.16
        pen.polygon([(x - 0.08, 0.56), (x + 0.08, 0.56), (x, 0.42)], DARK)
    pen.polygon([(0.26, 0.68), (0.42, 0.72), (0.5, 0.68), (0.58, 0.72), (0.74, 0.68), (0.62, 0.82), (0.38, 0.82)], DARK)


def snowman(pen: Crayon) -> None:
    pen.oval(0.5, 0.74, 0.27, 0.23, PAPER)
    pen.oval(0.5, 0.38, 0.19, 0.18, PAPER)
    pen.box(0.36, 0.05, 0.64, 0.21, DARK)
    pen.stroke([(0.28, 0.22), (0.72, 0.22)], DARK, 0.04)
    pen.eyes(0.5, 0.35, 0.07, 0.022)
    pen.polygon([(0.5, 0.39), (0.5, 0.44), (0.66, 0.43)], ORANGE)
    for y in (0.62, 0.72, 0.82):
        pen.dot(0.5, y, 0.025)
    for side in (-1, 1):
        pen.stroke([(0.5 + side * 0.24, 0.64), (0.5 + side * 0.46, 0.5)], BROWN, 0.025)


def ghost(pen: Crayon) -> None:
    top = [(0.5 + 0.32 * math.cos(math.pi + math.pi * i / 12), 0.4 + 0.34 * math.sin(math.pi + math.pi * i / 12))
           for i in range(13)]  # fmt: skip
    hem = [(0.84, 0.92), (0.7, 0.8), (0.6, 0.94), (0.5, 0.82), (0.4, 0.94), (0.3, 0.8), (0.16, 0.92)]
    pen.polygon([*top, *hem], PAPER)
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.12, 0.38, 0.05, 0.075, DARK)
    pen.oval(0.5, 0.58, 0.07, 0.09, DARK)


def crown(pen: Crayon) -> None:
    pen.polygon([(0.1, 0.28), (0.3, 0.5), (0.5, 0.18), (0.7, 0.5), (0.9, 0.28), (0.82, 0.8), (0.18, 0.8)], YELLOW)
    pen.stroke([(0.19, 0.72), (0.81, 0.72)], (196, 140, 40), 0.03)
    for x, y, colour in ((0.1, 0.25, RED), (0.5, 0.15, RED), (0.9, 0.25, RED), (0.5, 0.6, (60, 110, 200))):
        pen.oval(x, y, 0.05, 0.05, colour)


def balloon(pen: Crayon) -> None:
    pen.stroke([(0.5, 0.68), (0.46, 0.8), (0.54, 0.88), (0.5, 0.98)], INK, 0.015)
    pen.polygon([(0.46, 0.72), (0.54, 0.72), (0.5, 0.64)], RED)
    pen.oval(0.5, 0.36, 0.26, 0.31, RED)
    pen.oval(0.41, 0.25, 0.05, 0.08, (246, 150, 140), shaded=False)


OBJECTS: dict[str, Callable[[Crayon], None]] = {
    function.__name__: function
    for function in (
        dog, cat, panda, fox, frog, pig, penguin, owl, ladybug, apple, strawberry, pizza, cake, mushroom, car, rocket,
        house, tree, sunflower, pumpkin, snowman, ghost, crown, balloon,
    )
}  # fmt: skip


def circle(pen: Crayon, paint: Colour) -> None:
    pen.oval(0.5, 0.5, 0.44, 0.44, paint)


def square(pen: Crayon, paint: Colour) -> None:
    pen.box(0.12, 0.12, 0.88, 0.88, paint)


def triangle(pen: Crayon, paint: Colour) -> None:
    pen.polygon([(0.5, 0.08), (0.92, 0.86), (0.08, 0.86)], paint)


def star(pen: Crayon, paint: Colour) -> None:
    angles = [-math.pi / 2 + math.pi * i / 5 for i in range(10)]
    pen.polygon([(0.5 + (0.46, 0.19)[i % 2] * math.cos(a), 0.53 + (0.46, 0.19)[i % 2] * math.sin(a))
                 for i, a in enumerate(angles)], paint)  # fmt: skip


def heart(pen: Crayon, paint: Colour) -> None:
    angles = [2 * math.pi * i / 36 for i in range(36)]
    pen.polygon(
        [
            (
                0.5 + 0.027 * 16 * math.sin(a) ** 3,
                0.46 - 0.027 * (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)),
            )
            for a in angles
        ],
        paint,
    )


def robot(pen: Crayon, paint: Colour) -> None:
    pen.stroke([(0.5, 0.2), (0.5, 0.06)], GREY, 0.03)
    pen.dot(0.5, 0.06, 0.035, RED)
    for side in (-1, 1):
        pen.stroke([(0.5 + side * 0.22, 0.56), (0.5 + side * 0.4, 0.7)], GREY, 0.06)
        pen.box(0.5 + side * 0.11 - 0.06, 0.82, 0.5 + side * 0.11 + 0.06, 0.97, GREY)
    pen.box(0.27, 0.48, 0.73, 0.84, paint)
    pen.box(0.3, 0.18, 0.7, 0.46, paint)
    pen.eyes(0.5, 0.3, 0.1, 0.045)
    pen.stroke([(0.4, 0.4), (0.6, 0.4)])
    pen.box(0.38, 0.58, 0.62, 0.72, PAPER)


def monster(pen: Crayon, paint: Colour) -> None:
    for side in (-1, 1):
        pen.polygon([(0.5 + side * 0.1, 0.22), (0.5 + side * 0.26, 0.28), (0.5 + side * 0.26, 0.04)], TAN)
        pen.oval(0.5 + side * 0.16, 0.93, 0.1, 0.05, paint)
        pen.stroke([(0.5 + side * 0.3, 0.56), (0.5 + side * 0.46, 0.44)], paint, 0.08)
    pen.oval(0.5, 0.56, 0.33, 0.37, paint)
    pen.oval(0.5, 0.42, 0.13, 0.13, PAPER)
    pen.dot(0.5, 0.43, 0.06)
    pen.oval(0.5, 0.7, 0.15, 0.07, DARK)
    for x in (0.44, 0.56):
        pen.polygon([(x - 0.03, 0.65), (x + 0.03, 0.65), (x, 0.71)], PAPER, shaded=False)


def van(pen: Crayon, paint: Colour) -> None:
    pen.polygon([(0.04, 0.26), (0.7, 0.26), (0.84, 0.5), (0.96, 0.54), (0.96, 0.76), (0.04, 0.76)], paint)
    pen.polygon([(0.6, 0.32), (0.68, 0.32), (0.77, 0.5), (0.6, 0.5)], GLASS)
    for x in (0.12, 0.36):
        pen.box(x, 0.34, x + 0.17, 0.5, GLASS)
    for x in (0.24, 0.76):
        pen.oval(x, 0.77, 0.11, 0.11, DARK)
        pen.oval(x, 0.77, 0.05, 0.05, GREY)


COLOURED: dict[str, Callable[[Crayon, Colour], None]] = {
    function.__name__: function for function in (circle, square, triangle, star, heart, robot, monster, van)
}
