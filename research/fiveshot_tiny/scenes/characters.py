"""Three families of drawn characters whose parts vary at random: robots, monsters and vans.

They teach the base that one word can have many parts, colours and poses, which is what a LoRA needs to start from.
The demo's subjects (gateway.demo_pictures.subjects) are never drawn here.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image

from gateway.demo_pictures.canvas import Canvas, Colour, Point, shade, star_points

INK: Colour = (22, 22, 30)
PAPER: Colour = (252, 252, 252)
METAL: Colour = (122, 122, 127)


def draw_robot(rng: random.Random, body: Colour, pixels: int) -> Image.Image:
    """A boxy head and body on two legs, with an antenna, movable arms, one of three faces and a chest plate."""
    canvas = Canvas(pixels)
    dark = shade(body, 0.6)
    radius = rng.choice([0.02, 0.07, 0.13])
    tip = 0.5 + rng.uniform(-0.06, 0.06)
    canvas.line([(0.5, 0.2), (tip, 0.09)], shade(METAL, 0.8), 0.03)
    canvas.ellipse((tip, 0.075), (0.06, 0.06), METAL)
    for side in (-1, 1):
        lift = rng.choice([-0.16, 0.0, 0.16])
        shoulder, hand = (0.5 + side * 0.17, 0.62), (0.5 + side * 0.36, 0.62 + lift)
        canvas.line([shoulder, hand], dark, 0.07)
        canvas.ellipse(hand, (0.055, 0.055), body)
        canvas.rectangle(0.5 + side * 0.09 - 0.045, 0.8, 0.5 + side * 0.09 + 0.045, 0.96, dark)
    canvas.rectangle(0.31, 0.51, 0.69, 0.85, body, radius=radius, outline=dark)
    canvas.rectangle(0.26, 0.18, 0.74, 0.5, body, radius=radius, outline=dark)
    _robot_face(canvas, rng)
    canvas.rectangle(0.41, 0.6, 0.59, 0.74, (225, 225, 230))
    canvas.rectangle(0.44, 0.63, 0.485, 0.66, (220, 60, 60))
    canvas.rectangle(0.515, 0.68, 0.56, 0.71, (60, 160, 80))
    return canvas.image


def _robot_face(canvas: Canvas, rng: random.Random) -> None:
    face = rng.choice(["round", "slit", "single"])
    if face == "round":
        for x in (0.4, 0.6):
            canvas.ellipse((x, 0.33), (0.066, 0.066), PAPER)
            canvas.ellipse((x, 0.33), (0.028, 0.028), INK)
    elif face == "slit":
        canvas.rectangle(0.33, 0.3, 0.67, 0.385, INK)
        for x in (0.4, 0.6):
            canvas.rectangle(x - 0.03, 0.32, x + 0.03, 0.36, (250, 80, 60))
    else:
        canvas.ellipse((0.5, 0.335), (0.094, 0.094), PAPER)
        canvas.ellipse((0.5, 0.335), (0.035, 0.035), (200, 30, 30))


def draw_monster(rng: random.Random, body: Colour, pixels: int) -> Image.Image:
    """A round furry creature with one to three eyes, horns or ears, a mouth with teeth, arms and feet."""
    canvas = Canvas(pixels)
    dark, light = shade(body, 0.65), shade(body, 1.5)
    wide, tall = rng.uniform(0.28, 0.36), rng.uniform(0.3, 0.37)
    centre: Point = (0.5, 0.55)
    top = centre[1] - tall
    for side in (-1, 1):
        x = 0.5 + side * wide * 0.6
        canvas.ellipse((0.5 + side * 0.14, 0.92), (0.1, 0.05), dark)
        canvas.line([(0.5 + side * wide * 0.9, 0.6), (0.5 + side * 0.45, rng.choice([0.45, 0.6, 0.75]))], dark, 0.075)
    growth = rng.choice(["horns", "ears", "none"])
    for side in (-1, 1):
        x = 0.5 + side * wide * 0.6
        if growth == "horns":
            canvas.polygon(
                [(x - 0.06, top + 0.14), (x + 0.06, top + 0.14), (x + side * 0.06, top - 0.1)], (246, 232, 200)
            )
        elif growth == "ears":
            canvas.ellipse((x + side * 0.03, top + 0.06), (0.09, 0.09), dark)
    canvas.ellipse(centre, (wide, tall), body)
    canvas.ellipse((0.5, 0.7), (wide * 0.6, tall * 0.5), light)
    eyes = rng.choice([1, 2, 3])
    radius = {1: 0.13, 2: 0.09, 3: 0.07}[eyes]
    look = rng.uniform(-0.03, 0.03)
    for i in range(eyes):
        x = 0.5 + (i - (eyes - 1) / 2) * radius * 2.15
        canvas.ellipse((x, 0.42), (radius, radius), PAPER)
        canvas.ellipse((x + look, 0.425), (radius * 0.45, radius * 0.45), INK)
    canvas.ellipse((0.5, 0.64), (0.13, rng.choice([0.03, 0.07])), (90, 20, 40))
    for x in (0.45, 0.55):
        canvas.polygon([(x - 0.025, 0.615), (x + 0.025, 0.615), (x, 0.66)], PAPER)
    return canvas.image


def draw_van(rng: random.Random, body: Colour, pixels: int) -> Image.Image:
    """A van seen from the side: cab to the right, windows, two wheels, and a stripe, a star or nothing on its side."""
    canvas = Canvas(pixels)
    dark, glass = shade(body, 0.65), (190, 226, 246)
    roof = rng.uniform(0.22, 0.34)
    nose = rng.uniform(0.84, 0.95)
    canvas.polygon([(0.05, roof), (0.68, roof), (0.8, 0.5), (nose, 0.54), (nose, 0.76), (0.05, 0.76)], body, dark)
    canvas.polygon([(0.57, roof + 0.06), (0.66, roof + 0.06), (0.74, 0.5), (0.57, 0.5)], glass)
    marking = rng.choice(["windows", "stripe", "star", "none"])
    if marking == "windows":
        for x in (0.12, 0.34):
            canvas.rectangle(x, roof + 0.06, x + 0.16, 0.5, glass, radius=0.02)
    elif marking == "stripe":
        canvas.rectangle(0.06, 0.56, nose - 0.01, 0.63, PAPER)
    elif marking == "star":
        canvas.polygon(star_points((0.3, 0.5), 0.15), (255, 222, 60))
    canvas.ellipse((nose - 0.035, 0.62), (0.03, 0.035), (255, 236, 150))
    for x in (0.24, 0.72):
        canvas.ellipse((x, 0.77), (0.115, 0.115), INK)
        canvas.ellipse((x, 0.77), (0.05, 0.05), (200, 200, 205))
    return canvas.image


CHARACTERS: dict[str, Callable[[random.Random, Colour, int], Image.Image]] = {
    "robot": draw_robot,
    "monster": draw_monster,
    "van": draw_van,
}
