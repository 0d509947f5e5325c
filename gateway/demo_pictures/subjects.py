"""Four subjects that no model has seen: a mascot, an animal, a vehicle and a toy, each in any number of views.

A subject keeps its colours, parts and outline from view to view; its pose, size, tilt, mirroring and background vary,
as they would in five photos of a real thing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image

from gateway.demo_pictures.backgrounds import draw_background
from gateway.demo_pictures.canvas import Canvas, Colour, Point, reduce_to, shade, star_points

TRIGGER_WORD = "sks"
OVERSAMPLE = 2

INK: Colour = (24, 24, 34)
PAPER: Colour = (252, 252, 252)
TEAL: Colour = (20, 160, 158)
AMBER: Colour = (255, 150, 24)
GOLD: Colour = (255, 214, 64)
VIOLET: Colour = (126, 74, 190)
LILAC: Colour = (214, 178, 244)
LIME: Colour = (176, 206, 78)
ROUGE: Colour = (206, 40, 52)
NAVY: Colour = (34, 60, 140)
STEEL: Colour = (86, 92, 104)


def draw_mascot(rng: random.Random, pixels: int) -> Image.Image:
    """A teal pear-shaped creature with one amber ball on a bent stalk, white cheeks and a golden star on its belly."""
    canvas = Canvas(pixels)
    dark = shade(TEAL, 0.62)
    bend = rng.uniform(-0.1, 0.1)
    canvas.line([(0.5, 0.27), (0.5 + bend * 0.4, 0.18), (0.5 + bend, 0.1)], dark, 0.028)
    canvas.ellipse((0.5 + bend, 0.085), (0.068, 0.068), AMBER)
    for side in (-1, 1):
        canvas.ellipse((0.5 + side * 0.13, 0.93), (0.105, 0.048), AMBER)
        hand = (0.5 + side * 0.4, 0.62 + rng.choice([-0.19, 0.0, 0.14]))
        canvas.line([(0.5 + side * 0.22, 0.62), hand], dark, 0.075)
        canvas.ellipse(hand, (0.058, 0.058), TEAL)
    canvas.ellipse((0.5, 0.69), (0.3, 0.245), TEAL)
    canvas.ellipse((0.5, 0.42), (0.225, 0.21), TEAL)
    canvas.ellipse((0.5, 0.73), (0.19, 0.165), shade(TEAL, 1.55))
    canvas.polygon(star_points((0.5, 0.735), 0.14), GOLD)
    look = rng.uniform(-0.018, 0.018)
    for side in (-1, 1):
        _eye(canvas, (0.5 + side * 0.09, 0.38), 0.07, look)
        canvas.ellipse((0.5 + side * 0.16, 0.49), (0.04, 0.028), (255, 190, 190))
    canvas.arc((0.5, 0.47), (0.06, 0.055), 20, 160, INK, 0.018)
    return canvas.image


def draw_animal(rng: random.Random, pixels: int) -> Image.Image:
    """A lime snail with a violet shell that carries a lilac spiral."""
    canvas = Canvas(pixels)
    stretch = rng.uniform(-0.04, 0.04)
    head: Point = (0.84 + stretch * 0.5, 0.5 + rng.uniform(-0.05, 0.04))
    canvas.line([(0.12, 0.86), (0.5, 0.86), (0.72, 0.84), (0.81 + stretch * 0.5, 0.72), head], LIME, 0.14)
    canvas.polygon([(0.02, 0.93), (0.2, 0.8), (0.2, 0.93)], LIME)
    for offset in (-0.05, 0.06):
        tip = (head[0] + offset + rng.uniform(-0.02, 0.02), head[1] - 0.2)
        canvas.line([(head[0] + offset * 0.6, head[1]), tip], shade(LIME, 0.8), 0.028)
        canvas.ellipse(tip, (0.04, 0.04), PAPER)
        canvas.ellipse((tip[0] + 0.008, tip[1]), (0.02, 0.02), INK)
    canvas.ellipse(head, (0.095, 0.09), LIME)
    canvas.arc((head[0] + 0.03, head[1] + 0.015), (0.045, 0.035), 20, 150, INK, 0.016)
    centre: Point = (0.42, 0.52)
    canvas.ellipse(centre, (0.33, 0.33), VIOLET, shade(VIOLET, 0.6), 0.022)
    turn = rng.uniform(0, 0.8)
    spiral = [
        (centre[0] + 0.26 * t * math.cos(turn + t * 13.5), centre[1] + 0.26 * t * math.sin(turn + t * 13.5))
        for t in (i / 60 for i in range(61))
    ]
    canvas.line(spiral, LILAC, 0.052)
    return canvas.image


def draw_vehicle(rng: random.Random, pixels: int) -> Image.Image:
    """A steam locomotive: red boiler with golden bands, navy cab, black chimney with a puff of smoke, four wheels."""
    canvas = Canvas(pixels)
    puff = rng.uniform(-0.05, 0.03)
    for i, radius in enumerate((0.045, 0.06, 0.075)):
        canvas.ellipse((0.79 + puff * (i + 1) - i * 0.06, 0.2 - i * 0.055), (radius, radius * 0.85), (232, 234, 240))
    canvas.polygon([(0.73, 0.25), (0.86, 0.25), (0.83, 0.42), (0.76, 0.42)], INK)
    canvas.ellipse((0.585, 0.42), (0.06, 0.06), GOLD)
    canvas.rectangle(0.4, 0.42, 0.92, 0.7, ROUGE, radius=0.07, outline=shade(ROUGE, 0.6))
    for x in (0.52, 0.66, 0.8):
        canvas.rectangle(x, 0.425, x + 0.028, 0.695, GOLD)
    canvas.rectangle(0.1, 0.24, 0.44, 0.72, NAVY, radius=0.02)
    canvas.rectangle(0.06, 0.19, 0.48, 0.27, GOLD, radius=0.03)
    canvas.rectangle(0.17, 0.33, 0.37, 0.5, (196, 230, 248), radius=0.02)
    canvas.rectangle(0.07, 0.69, 0.94, 0.76, STEEL, radius=0.02)
    canvas.polygon([(0.91, 0.7), (0.995, 0.87), (0.88, 0.87)], STEEL)
    turn = rng.uniform(0, math.pi)
    for x, radius in ((0.24, 0.135), (0.53, 0.1), (0.75, 0.1)):
        y = 0.935 - radius
        canvas.ellipse((x, y), (radius, radius), INK)
        canvas.ellipse((x, y), (radius * 0.68, radius * 0.68), ROUGE)
        for spoke in range(2):
            angle = turn + spoke * math.pi / 2
            dx, dy = radius * 0.6 * math.cos(angle), radius * 0.6 * math.sin(angle)
            canvas.line([(x - dx, y - dy), (x + dx, y + dy)], INK, 0.016)
        canvas.ellipse((x, y), (0.028, 0.028), GOLD)
    return canvas.image


def draw_toy(rng: random.Random, pixels: int) -> Image.Image:
    """A stacking toy: rings of blue, green, yellow and pink, ever smaller, on a wooden foot, with a red ball on top."""
    canvas = Canvas(pixels)
    wood: Colour = (206, 156, 96)
    canvas.rectangle(0.16, 0.86, 0.84, 0.95, wood, radius=0.04, outline=shade(wood, 0.7))
    canvas.rectangle(0.47, 0.2, 0.53, 0.88, wood)
    rings: list[tuple[Colour, float]] = [
        ((40, 110, 226), 0.36),
        ((62, 178, 84), 0.3),
        ((252, 208, 48), 0.245),
        ((240, 120, 180), 0.19),
    ]
    for i, (colour, half) in enumerate(rings):
        x = 0.5 + rng.uniform(-0.03, 0.03)
        y = 0.785 - i * 0.15
        canvas.rectangle(x - half, y - 0.077, x + half, y + 0.077, colour, radius=0.077, outline=shade(colour, 0.72))
        canvas.line([(x - half * 0.65, y - 0.035), (x - half * 0.1, y - 0.035)], shade(colour, 1.5), 0.022)
    canvas.ellipse((0.5, 0.155), (0.105, 0.105), (226, 48, 48), shade((226, 48, 48), 0.7))
    canvas.ellipse((0.465, 0.12), (0.028, 0.028), (255, 190, 190))
    return canvas.image


def _turn_hue(sprite: Image.Image, degrees: int) -> Image.Image:
    """The RGBA sprite in other colours; what is black, white or grey stays."""
    hue, saturation, value = sprite.convert("RGB").convert("HSV").split()
    turned = hue.point(lambda level: round(level + degrees * 256 / 360) % 256)
    recoloured = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    recoloured.putalpha(sprite.getchannel("A"))
    return recoloured


def _eye(canvas: Canvas, centre: Point, radius: float, look: float) -> None:
    canvas.ellipse(centre, (radius, radius), PAPER)
    canvas.ellipse((centre[0] + look, centre[1] + 0.005), (radius * 0.5, radius * 0.5), INK)
    canvas.ellipse((centre[0] + look + radius * 0.2, centre[1] - radius * 0.2), (radius * 0.16, radius * 0.16), PAPER)


KINDS: dict[str, tuple[str, Callable[[random.Random, int], Image.Image]]] = {
    "mascot": ("mascot", draw_mascot),
    "animal": ("snail", draw_animal),
    "vehicle": ("train", draw_vehicle),
    "toy": ("toy", draw_toy),
}
"""The noun in the captions, and the drawing, of every kind of subject."""

VIEW_BACKGROUNDS: tuple[str, ...] = ("blue", "meadow", "yellow", "night", "pink", "beach", "white", "snow", "green")


def draw_subject(kind: str, count: int, seed: int, size: int = 512, *, hue: int = 0) -> list[tuple[Image.Image, str]]:
    """`count` RGB pictures of `size` x `size` pixels of one subject, each with its caption.

    hue: degrees by which the subject's colours are turned; another hue is another subject of the same kind.

    Equal arguments give equal pictures on every machine. The trigger word stands before the noun, for instance
    "a photo of sks snail in a meadow". Raises ValueError for a kind that is not in `KINDS` or a count below one.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown subject {kind!r}; known: {', '.join(KINDS)}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    noun, draw = KINDS[kind]
    rng = random.Random(f"subject/{kind}/{seed}")
    pictures = []
    for view in range(count):
        background = draw_background(VIEW_BACKGROUNDS[view % len(VIEW_BACKGROUNDS)], rng, size * OVERSAMPLE)
        _paste_view(rng, background.image, draw, hue)
        caption = f"a photo of {TRIGGER_WORD} {noun} {background.caption}"
        pictures.append((reduce_to(background.image, size), caption))
    return pictures


def _paste_view(
    rng: random.Random, canvas: Image.Image, draw: Callable[[random.Random, int], Image.Image], hue: int
) -> None:
    pixels = round(canvas.width * rng.uniform(0.68, 0.86))
    subject = draw(rng, pixels)
    if hue % 360:
        subject = _turn_hue(subject, hue)
    if rng.random() < 0.5:
        subject = subject.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    subject = subject.rotate(rng.uniform(-9, 9), Image.Resampling.BICUBIC)
    margin = (canvas.width - pixels) / 2
    x = margin + rng.uniform(-0.05, 0.05) * canvas.width
    y = margin + rng.uniform(-0.04, 0.06) * canvas.width
    canvas.paste(subject, (round(x), round(y)), subject)
