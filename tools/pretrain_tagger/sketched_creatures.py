"""The creatures of the drawn world, sketched: the same animal never twice with the same proportions."""

from __future__ import annotations

from gateway.demo_pictures.canvas import Colour, shade
from tools.pretrain_tagger.sketch import Sketch

BLACK, WHITE, PINK, RED = (34, 32, 38), (250, 248, 244), (248, 170, 184), (214, 48, 46)
BROWN, TAN, ORANGE, GREY = (128, 80, 48), (222, 176, 118), (240, 134, 44), (140, 142, 150)
GREEN, YELLOW = (88, 168, 72), (250, 204, 72)


def dog(pen: Sketch) -> None:
    coat = pen.one_of(TAN, BROWN, (232, 200, 150), (200, 150, 96))
    ear = shade(coat, 0.65)
    pen.oval(0.5, 0.53, 0.34, 0.35, coat)
    if pen.maybe(0.7):
        pen.mirrored([(0.2, 0.2), (0.36, 0.2), (0.46, 0.5), (0.4, 0.66), (0.28, 0.5)], ear)
    else:
        pen.pair(0.34, 0.38, 0.1, 0.22, ear)
    if pen.maybe(0.3):
        pen.oval(0.36, 0.46, 0.12, 0.14, ear, bare=True)
    pen.eyes(0.14, 0.46, 0.045)
    pen.oval(0.5, 0.68, 0.19, 0.15, shade(coat, 1.5))
    if pen.maybe(0.6):
        pen.oval(0.5, 0.8, 0.06, 0.09, PINK)
    pen.oval(0.5, 0.61, 0.075, 0.052, BLACK)
    if pen.maybe(0.6):
        pen.smile(0.7, 0.1, BLACK)


def cat(pen: Sketch) -> None:
    coat = pen.one_of(YELLOW, ORANGE, (236, 190, 100), (240, 176, 60))
    pen.mirrored([(0.34, 0.08), (0.38, 0.46), (0.08, 0.28)], coat)
    if pen.maybe(0.6):
        pen.mirrored([(0.31, 0.18), (0.33, 0.36), (0.16, 0.28)], PINK)
    pen.oval(0.5, 0.56, 0.38, 0.33, coat)
    if pen.maybe(0.4):
        for x in (0.42, 0.5, 0.58):
            pen.line([(x, 0.26), (x, 0.36)], shade(coat, 0.6), 0.03)
    pen.eyes(0.16, 0.52, 0.05)
    pen.shape([(0.45, 0.61), (0.55, 0.61), (0.5, 0.67)], pen.one_of(PINK, BLACK))
    for side in (-1, 1):
        for y in (0.62, 0.67, 0.72)[: pen.rng.choice([2, 3])]:
            pen.line([(0.5 + side * 0.2, y), (0.5 + side * 0.46, y * 1.3 - 0.2)], shade(coat, 0.45), 0.015)
    pen.smile(0.67, 0.09, BLACK, 0.02)


def panda(pen: Sketch) -> None:
    pen.pair(0.3, 0.22, 0.14, 0.14, BLACK)
    pen.oval(0.5, 0.55, 0.4, 0.36, WHITE)
    pen.pair(0.17, 0.5, 0.1, 0.13, BLACK, bare=True)
    pen.pair(0.16, 0.49, 0.035, 0.035, WHITE, bare=True)
    pen.oval(0.5, 0.66, 0.06, 0.04, BLACK)
    pen.smile(0.69, 0.09, BLACK)


def fox(pen: Sketch) -> None:
    coat = pen.one_of(ORANGE, (226, 104, 36), (240, 150, 70))
    pen.mirrored([(0.38, 0.06), (0.42, 0.46), (0.06, 0.32)], coat)
    if pen.maybe():
        pen.mirrored([(0.34, 0.16), (0.36, 0.36), (0.2, 0.28)], pen.one_of(BLACK, WHITE))
    if pen.maybe():
        pen.oval(0.5, 0.52, 0.4, 0.3, coat)
    pen.shape([(0.08, 0.46), (0.3, 0.24), (0.7, 0.24), (0.92, 0.46), (0.6, 0.88), (0.4, 0.88)], coat)
    pen.mirrored([(0.4, 0.5), (0.14, 0.6), (0.02, 0.74), (0.06, 0.86)], WHITE)
    pen.eyes(0.16, 0.5, 0.042)
    pen.oval(0.5, 0.84, 0.065, 0.05, BLACK)


def frog(pen: Sketch) -> None:
    coat = pen.one_of(GREEN, (120, 190, 70), (60, 140, 60))
    pen.pair(0.24, 0.27, 0.15, 0.15, coat)
    pen.oval(0.5, 0.58, 0.44, 0.31, coat)
    pen.pair(0.24, 0.26, 0.1, 0.1, WHITE)
    pen.pair(0.24, 0.27, 0.05, 0.055, BLACK, bare=True)
    if pen.maybe():
        pen.oval(0.5, 0.72, 0.28, 0.14, shade(coat, 1.4), bare=True)
    pen.pair(0.04, 0.5, 0.012, 0.012, shade(coat, 0.4), bare=True)
    pen.smile(0.56, 0.3, pen.one_of((120, 40, 40), BLACK, shade(coat, 0.4)), 0.03)
    if pen.maybe(0.3):
        pen.pair(0.3, 0.62, 0.06, 0.04, PINK, bare=True)


def pig(pen: Sketch) -> None:
    skin = pen.one_of(PINK, (244, 186, 190), (250, 150, 170))
    dark = shade(skin, 0.8)
    pen.mirrored([(0.22, 0.16), (0.4, 0.12), (0.4, 0.4), (0.22, 0.32)], dark)
    pen.oval(0.5, 0.55, 0.4, 0.37, skin)
    pen.eyes(0.18, 0.45, 0.04)
    pen.oval(0.5, 0.63, 0.17, 0.12, dark)
    pen.pair(0.065, 0.63, 0.035, 0.045, shade(skin, 0.45), bare=True)
    if pen.maybe(0.5):
        pen.smile(0.76, 0.1, shade(skin, 0.4))


def penguin(pen: Sketch) -> None:
    coat = pen.one_of(BLACK, (40, 50, 80), (60, 60, 70))
    pen.pair(0.15, 0.92, 0.12, 0.055, ORANGE)
    pen.mirrored([(0.24, 0.4), (0.42, 0.62), (0.38, 0.74), (0.22, 0.62)], coat)
    pen.oval(0.5, 0.52, 0.29, 0.42, coat)
    pen.oval(0.5, 0.64, 0.2, 0.28, WHITE)
    if pen.maybe(0.6):
        pen.pair(0.08, 0.3, 0.1, 0.11, WHITE, bare=True)
    else:
        pen.oval(0.5, 0.3, 0.17, 0.12, WHITE, bare=True)
    pen.eyes(0.085, 0.28, 0.03)
    pen.shape([(0.42, 0.34), (0.58, 0.34), (0.5, 0.43)], pen.one_of(ORANGE, YELLOW))


def owl(pen: Sketch) -> None:
    coat = pen.one_of(BROWN, (150, 104, 66), (104, 72, 52))
    pen.mirrored([(0.28, 0.06), (0.32, 0.34), (0.06, 0.2)], coat)
    pen.oval(0.5, 0.54, 0.34, 0.41, coat)
    pen.pair(0.3, 0.62, 0.09, 0.24, shade(coat, 0.7))
    pen.oval(0.5, 0.7, 0.2, 0.21, pen.one_of(TAN, (236, 214, 176)))
    if pen.maybe():
        for x, y in ((0.42, 0.66), (0.58, 0.66), (0.5, 0.74), (0.42, 0.8), (0.58, 0.8)):
            pen.shape([(x - 0.03, y), (x + 0.03, y), (x, y + 0.04)], shade(coat, 0.9), bare=True)
    pen.pair(0.15, 0.36, 0.14, 0.14, pen.one_of(WHITE, YELLOW, (250, 230, 190)))
    pen.pair(0.14, 0.36, 0.065, 0.07, BLACK, bare=True)
    pen.shape([(0.45, 0.43), (0.55, 0.43), (0.5, 0.54)], ORANGE)
    if pen.maybe():
        pen.pair(0.1, 0.94, 0.06, 0.03, ORANGE)


def ladybug(pen: Sketch) -> None:
    shell = pen.one_of(RED, (230, 70, 40))
    if pen.maybe(0.6):
        for y in (0.44, 0.6, 0.76):
            pen.line([(0.08, y + 0.03), (0.92, y + 0.03)], BLACK, 0.035)
    if pen.maybe(0.7):
        for side in (-1, 1):
            pen.line([(0.5 + side * 0.07, 0.22), (0.5 + side * 0.17, 0.05)], BLACK, 0.025)
    pen.oval(0.5, 0.26, 0.2, 0.17, BLACK)
    if pen.maybe(0.4):
        pen.pair(0.1, 0.22, 0.05, 0.05, WHITE)
    pen.oval(0.5, 0.59, 0.36, 0.36, shell)
    pen.line([(0.5, 0.26), (0.5, 0.94)], BLACK, 0.028)
    for y, apart in ((0.45, 0.17), (0.64, 0.2), (0.82, 0.12))[: pen.rng.choice([2, 3])]:
        pen.pair(apart, y, 0.07, 0.07, BLACK, bare=True)


def robot(pen: Sketch, paint: Colour) -> None:
    dark = shade(paint, 0.65)
    if pen.maybe(0.8):
        pen.line([(0.5, 0.2), (0.5, 0.07)], GREY, 0.03)
        pen.oval(0.5, 0.07, 0.045, 0.045, pen.one_of(RED, GREY, YELLOW))
    limb = pen.rng.choice([dark, GREY])
    for side in (-1, 1):
        pen.line([(0.5 + side * 0.2, 0.58), (0.5 + side * 0.42, pen.rng.uniform(0.45, 0.75))], limb, 0.06)
        x = 0.5 + side * pen.about(0.11)
        pen.box(x - 0.055, 0.8, x + 0.055, 0.96, limb)
    wide, head = pen.about(0.22), pen.about(0.21)
    corner = pen.rng.choice([0.0, 0.04, 0.1])
    pen.box(0.5 - wide, 0.5, 0.5 + wide, 0.84, paint, round_by=corner)
    pen.box(0.5 - head, 0.18, 0.5 + head, 0.48, paint, round_by=corner)
    pen.eyes(0.1, 0.31, 0.05)
    pen.line([(0.4, 0.41), (0.6, 0.41)], (40, 40, 48), 0.02)
    if pen.maybe(0.7):
        pen.box(0.4, 0.58, 0.6, 0.72, (226, 228, 232))


def monster(pen: Sketch, paint: Colour) -> None:
    dark = shade(paint, 0.65)
    growth = pen.rng.randrange(3)
    if growth == 0:
        pen.mirrored([(0.1, 0.24), (0.26, 0.3), (0.28, 0.03)], pen.one_of(TAN, (246, 232, 200)))
    elif growth == 1:
        for side in (-1, 1):
            pen.line([(0.5 + side * 0.12, 0.26), (0.5 + side * 0.2, 0.08)], dark, 0.035)
            pen.oval(0.5 + side * 0.2, 0.08, 0.05, 0.05, dark)
    for side in (-1, 1):
        pen.line([(0.5 + side * 0.28, 0.58), (0.5 + side * 0.46, pen.rng.uniform(0.4, 0.75))], paint, 0.08)
    pen.pair(0.16, 0.92, 0.11, 0.055, dark)
    if pen.maybe(0.75):
        pen.oval(0.5, 0.56, 0.34, 0.37, paint)
    else:
        pen.box(0.2, 0.2, 0.8, 0.92, paint, round_by=0.24)
    if pen.maybe():
        pen.oval(0.5, 0.42, 0.14, 0.14, WHITE)
        pen.oval(0.5, 0.43, 0.06, 0.06, BLACK, bare=True)
    else:
        pen.eyes(0.14, 0.42, 0.065)
    pen.oval(0.5, 0.69, 0.17, 0.08, (60, 26, 36), bare=True)
    for x in (0.42, 0.5, 0.58):
        pen.shape([(x - 0.035, 0.63), (x + 0.035, 0.63), (x, 0.7)], WHITE, bare=True)
