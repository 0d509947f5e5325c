"""Every noun of the drawn world sketched, and forms that have no name in it, so that it is a thing's form that counts.

The emoji show each thing in one drawing. Here its parts vary with each one. Nothing is shared with the second
renderer, which measures what was learnt.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image

from gateway.demo_pictures.backgrounds import COLOURS, jitter
from gateway.demo_pictures.canvas import Colour
from tools.pretrain_tagger import sketched_creatures as creatures
from tools.pretrain_tagger import sketched_things as things
from tools.pretrain_tagger.sketch import Sketch
from tools.pretrain_tagger.sketched_creatures import BLACK, BROWN, GREEN, WHITE

OBJECTS: dict[str, Callable[[Sketch], None]] = {
    function.__name__: function
    for function in (
        creatures.dog, creatures.cat, creatures.panda, creatures.fox, creatures.frog, creatures.pig, creatures.penguin,
        creatures.owl, creatures.ladybug, things.apple, things.strawberry, things.pizza, things.cake, things.mushroom,
        things.car, things.rocket, things.house, things.tree, things.sunflower, things.pumpkin, things.snowman,
        things.ghost, things.crown, things.balloon,
    )
}  # fmt: skip
COLOURED: dict[str, Callable[[Sketch, Colour], None]] = {
    function.__name__: function
    for function in (
        things.circle, things.square, things.triangle, things.star, things.heart, things.ring, creatures.robot,
        creatures.monster, things.van,
    )
}  # fmt: skip


def sketch(noun: str, colour: str, rng: random.Random, pixels: int) -> Image.Image:
    """A cut-out of a thing, square RGBA; `colour` is one of COLOURS where the thing may have any."""
    pen = Sketch(rng, pixels)
    if noun in OBJECTS:
        OBJECTS[noun](pen)
    else:
        COLOURED[noun](pen, jitter(COLOURS[colour], rng))
    return pen.image


def nameless(rng: random.Random, pixels: int) -> Image.Image:
    """A cut-out of something that has a form but no name in the drawn world."""
    pen = Sketch(rng, pixels)
    paint = jitter(COLOURS[rng.choice(list(COLOURS))], rng)
    rng.choice(_NAMELESS)(pen, paint)
    return pen.image


def _fish(pen: Sketch, paint: Colour) -> None:
    pen.shape([(0.7, 0.5), (0.95, 0.28), (0.95, 0.72)], paint)
    pen.oval(0.44, 0.5, 0.36, 0.24, paint)
    pen.oval(0.26, 0.45, 0.04, 0.04, BLACK)


def _cup(pen: Sketch, paint: Colour) -> None:
    pen.oval(0.76, 0.5, 0.16, 0.16, paint)
    pen.oval(0.76, 0.5, 0.08, 0.08, WHITE)
    pen.shape([(0.2, 0.25), (0.74, 0.25), (0.66, 0.82), (0.28, 0.82)], paint)


def _bottle(pen: Sketch, paint: Colour) -> None:
    pen.box(0.43, 0.06, 0.57, 0.34, paint)
    pen.box(0.3, 0.3, 0.7, 0.94, paint, round_by=0.08)
    pen.box(0.3, 0.52, 0.7, 0.72, WHITE)


def _arrow(pen: Sketch, paint: Colour) -> None:
    pen.shape([(0.06, 0.4), (0.55, 0.4), (0.55, 0.2), (0.95, 0.5), (0.55, 0.8), (0.55, 0.6), (0.06, 0.6)], paint)


def _cross(pen: Sketch, paint: Colour) -> None:
    thick = pen.rng.uniform(0.08, 0.18)
    pen.box(0.5 - thick, 0.1, 0.5 + thick, 0.9, paint)
    pen.box(0.1, 0.5 - thick, 0.9, 0.5 + thick, paint)


def _many_sides(pen: Sketch, paint: Colour) -> None:
    pen.shape(things.around((0.5, 0.5), (0.44, 0.44), 15, 375, pen.rng.choice([5, 6])), paint)


def _diamond(pen: Sketch, paint: Colour) -> None:
    wide = pen.rng.uniform(0.2, 0.34)
    pen.shape([(0.5, 0.05), (0.5 + wide, 0.5), (0.5, 0.95), (0.5 - wide, 0.5)], paint)


def _umbrella(pen: Sketch, paint: Colour) -> None:
    pen.line([(0.5, 0.5), (0.5, 0.88), (0.6, 0.92)], BROWN, 0.04)
    pen.shape(things.around((0.5, 0.52), (0.44, 0.4), 180, 360), paint)


def _cactus(pen: Sketch, paint: Colour) -> None:
    for side in (-1, 1):
        pen.line([(0.5, 0.6), (0.5 + side * 0.24, 0.6), (0.5 + side * 0.24, 0.4)], GREEN, 0.09)
    pen.box(0.42, 0.14, 0.58, 0.84, GREEN, round_by=0.08)
    pen.shape([(0.3, 0.76), (0.7, 0.76), (0.64, 0.96), (0.36, 0.96)], paint)


def _boat(pen: Sketch, paint: Colour) -> None:
    pen.line([(0.5, 0.1), (0.5, 0.66)], BROWN, 0.03)
    pen.shape([(0.54, 0.12), (0.86, 0.58), (0.54, 0.58)], WHITE)
    pen.shape([(0.08, 0.66), (0.92, 0.66), (0.76, 0.88), (0.24, 0.88)], paint)


def _face(pen: Sketch, paint: Colour) -> None:
    """A face on a round or square head without anything that says whose it is."""
    if pen.maybe():
        pen.oval(0.5, 0.5, 0.4, 0.4, paint)
    else:
        pen.box(0.12, 0.14, 0.88, 0.86, paint, round_by=0.15)
    pen.eyes(0.15, 0.42, 0.05)
    pen.smile(0.54, 0.2, BLACK)


def _bird(pen: Sketch, paint: Colour) -> None:
    pen.oval(0.46, 0.6, 0.32, 0.26, paint)
    pen.oval(0.7, 0.34, 0.17, 0.17, paint)
    pen.shape([(0.85, 0.3), (0.98, 0.36), (0.85, 0.42)], (240, 160, 40))
    pen.oval(0.74, 0.31, 0.03, 0.03, BLACK)
    pen.line([(0.4, 0.84), (0.4, 0.96)], BROWN, 0.03)


def _lorry(pen: Sketch, paint: Colour) -> None:
    pen.box(0.04, 0.3, 0.62, 0.72, paint)
    pen.box(0.64, 0.44, 0.94, 0.72, WHITE)
    for x in (0.18, 0.46, 0.8):
        pen.oval(x, 0.76, 0.09, 0.09, BLACK)


_NAMELESS: tuple[Callable[[Sketch, Colour], None], ...] = (
    _fish, _cup, _bottle, _arrow, _cross, _many_sides, _diamond, _umbrella, _cactus, _boat, _face, _bird, _lorry,
)  # fmt: skip
