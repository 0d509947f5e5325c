"""Scenes in another hand than the base model's world: cartoons, other colours, other landscapes."""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tools.pretrain_tagger import cartoons
from tools.pretrain_tagger.crayon import PIXELS, Colour, Crayon
from tools.pretrain_tagger.facts import BACKGROUND_LABELS, COLOURED, NOTHING, NOUNS, Facts
from tools.pretrain_tagger.finish import finished
from tools.pretrain_tagger.layout import arrange

PALETTE: dict[str, tuple[Colour, ...]] = {
    "red": ((196, 30, 38), (226, 70, 60)),
    "orange": ((250, 150, 30), (232, 120, 24)),
    "yellow": ((255, 225, 60), (240, 200, 50)),
    "green": ((40, 140, 60), (90, 180, 90)),
    "blue": ((40, 90, 190), (80, 140, 235)),
    "purple": ((110, 50, 150), (150, 90, 200)),
    "pink": ((250, 170, 200), (240, 130, 175)),
    "brown": ((110, 70, 40), (145, 98, 62)),
    "white": ((252, 250, 244), (240, 240, 246)),
    "gray": ((128, 128, 128), (158, 156, 152)),
    "black": ((20, 20, 20), (36, 32, 36)),
    "teal": ((20, 140, 140), (50, 175, 165)),
}


def draw_cartoon(rng: random.Random) -> tuple[Image.Image, Facts]:
    """One scene of SIDE x SIDE pixels with its facts; equal random states give equal scenes."""
    kind = rng.choice(list(BACKGROUND_LABELS))
    canvas, used = _background(kind, rng)
    noun = rng.choice(NOUNS)
    colour = rng.choice([name for name in PALETTE if name not in used]) if noun in COLOURED else NOTHING
    layout = arrange(rng)
    for spot in layout.spots:
        cutout = draw_thing(noun, colour, rng)
        size = max(1, round(spot.side * PIXELS))
        small = cutout.resize((size, size), Image.Resampling.LANCZOS)
        if rng.random() < 0.5:
            small = small.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC)
        canvas.paste(small, (round(spot.x * PIXELS - size / 2), round(spot.y * PIXELS - size / 2)), small)
    facts = Facts(noun, layout.count, colour, BACKGROUND_LABELS[kind], layout.size, layout.place)
    return finished(canvas, rng), facts


def draw_thing(noun: str, colour: str, rng: random.Random) -> Image.Image:
    """A cut-out of a thing, square RGBA; colour: a key of PALETTE where the thing may have any."""
    pen = Crayon(rng, ink=rng.choice([0.0, 0.012, 0.02, 0.028]))
    if noun in cartoons.OBJECTS:
        cartoons.OBJECTS[noun](pen)
        return pen.image
    paint = rng.choice(PALETTE[colour])
    if noun == "ring":
        return _ring(paint)
    cartoons.COLOURED[noun](pen, paint)
    return pen.image


def _ring(paint: Colour) -> Image.Image:
    image = Image.new("RGBA", (PIXELS, PIXELS), (0, 0, 0, 0))
    edge = PIXELS * 0.06
    ImageDraw.Draw(image).ellipse([edge, edge, PIXELS - edge, PIXELS - edge], outline=(*paint, 255), width=PIXELS // 6)
    return image


def _background(kind: str, rng: random.Random) -> tuple[Image.Image, tuple[str, ...]]:
    """A background and the colours that it is named after."""
    if kind in PALETTE:
        return Image.new("RGB", (PIXELS, PIXELS), rng.choice(PALETTE[kind])), (kind,)
    first, second = rng.sample(list(PALETTE), 2)
    tones = rng.choice(PALETTE[first]), rng.choice(PALETTE[second])
    if kind == "gradient":
        return _ramp(*tones, tilt=rng.uniform(-0.5, 0.5)), (first, second)
    if kind == "stripes":
        return _stripes(*tones, rng), (first, second)
    if kind == "dots":
        return _dots(*tones, rng), (first, second)
    return {"meadow": _meadow, "night": _night, "beach": _beach, "snow": _snow}[kind](rng), ()


def _ramp(top: Colour, bottom: Colour, *, tilt: float = 0.0) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 1, PIXELS), np.linspace(0, 1, PIXELS))
    t = np.clip(y + tilt * (x - 0.5), 0, 1)[..., None]
    return Image.fromarray((np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8))


def _stripes(first: Colour, second: Colour, rng: random.Random) -> Image.Image:
    """Upright or slanted bands."""
    x, y = np.meshgrid(np.arange(PIXELS), np.arange(PIXELS))
    period, slant = PIXELS / rng.uniform(3.5, 6.5), rng.choice([0.0, 0.0, 0.25, -0.25])
    band = ((x + slant * y) / period % 1 < 0.5)[..., None]
    return Image.fromarray(np.where(band, np.array(first), np.array(second)).astype(np.uint8))


def _dots(ground: Colour, dot: Colour, rng: random.Random) -> Image.Image:
    """A staggered grid of discs."""
    image = Image.new("RGB", (PIXELS, PIXELS), ground)
    draw = ImageDraw.Draw(image)
    pitch = PIXELS / rng.uniform(4, 5.5)
    radius = pitch * rng.uniform(0.2, 0.27)
    for row in range(-1, 8):
        for column in range(-1, 8):
            x, y = (column + 0.5 * (row % 2)) * pitch, (row + 0.3) * pitch
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=dot)
    return image


def _meadow(rng: random.Random) -> Image.Image:
    image = _ramp((140, 200, 240), (220, 240, 250))
    _hills(image, (110, 180, 80), rng.uniform(0.5, 0.6), rng)
    _hills(image, (84, 150, 62), rng.uniform(0.62, 0.75), rng)
    return image


def _night(rng: random.Random) -> Image.Image:
    image = _ramp((10, 14, 40), (40, 40, 88))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(10, 22)):
        x, y, radius = rng.uniform(0, PIXELS), rng.uniform(0, PIXELS * 0.8), rng.uniform(1.2, 3.2)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(245, 240, 200))
    return image


def _beach(rng: random.Random) -> Image.Image:
    image = _ramp((130, 205, 245), (210, 238, 250))
    _hills(image, (60, 150, 200), 0.45, rng, height=0.01)
    _hills(image, (236, 210, 150), rng.uniform(0.6, 0.7), rng, height=0.03)
    return image


def _snow(rng: random.Random) -> Image.Image:
    image = _ramp((180, 200, 225), (225, 235, 245))
    _hills(image, (244, 247, 252), rng.uniform(0.5, 0.65), rng)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(12, 26)):
        x, y, radius = rng.uniform(0, PIXELS), rng.uniform(0, PIXELS), rng.uniform(1.5, 3.5)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(255, 255, 255))
    return image.filter(ImageFilter.GaussianBlur(0.5))


def _hills(image: Image.Image, colour: Colour, level: float, rng: random.Random, *, height: float = 0.05) -> None:
    phase, waves = rng.uniform(0, 6), rng.uniform(0.8, 2.0)
    steps = range(0, PIXELS + 8, 8)
    line = [(x, PIXELS * (level + height * math.sin(phase + waves * 2 * math.pi * x / PIXELS))) for x in steps]
    ImageDraw.Draw(image).polygon([*line, (PIXELS + 8, PIXELS), (0, PIXELS)], fill=colour)
