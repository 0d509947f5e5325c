"""Backgrounds with names: plain colours, gradients, stripes, dots and four landscapes.

The demo's pictures and the scenes that the small base model was pretrained on share this module, so that a caption
such as "on a red background" means the same picture in both.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from gateway.demo_pictures.canvas import Colour

COLOURS: dict[str, Colour] = {
    "red": (214, 48, 49),
    "orange": (240, 140, 40),
    "yellow": (248, 212, 72),
    "green": (60, 170, 80),
    "blue": (52, 110, 220),
    "purple": (130, 70, 180),
    "pink": (245, 150, 185),
    "brown": (130, 85, 50),
    "white": (245, 245, 245),
    "gray": (140, 140, 145),
    "black": (28, 28, 32),
    "teal": (30, 160, 160),
}


@dataclass(frozen=True)
class Background:
    """A square RGB picture, the words that a caption ends with, and the colours that these words name."""

    image: Image.Image
    caption: str
    colours: tuple[str, ...] = ()


def jitter(colour: Colour, rng: random.Random, amount: float = 14) -> Colour:
    """`colour` with up to `amount` of 255 levels added or taken away per channel."""
    return tuple(int(min(255, max(0, v + rng.uniform(-amount, amount)))) for v in colour)  # type: ignore[return-value]


def draw_background(kind: str, rng: random.Random, size: int) -> Background:
    """Draws a background of `size` x `size` pixels, not antialiased.

    `kind` is a key of `COLOURS` for that plain colour, or one of `KINDS`. Raises KeyError for any other kind.
    """
    if kind in COLOURS:
        return _plain(kind, rng, size)
    return KINDS[kind](rng, size)


def _plain(name: str, rng: random.Random, size: int) -> Background:
    image = Image.new("RGB", (size, size), jitter(COLOURS[name], rng))
    return Background(image, f"on {_article(name)} {name} background", (name,))


def _any_plain(rng: random.Random, size: int) -> Background:
    return _plain(rng.choice(list(COLOURS)), rng, size)


def _gradient(rng: random.Random, size: int) -> Background:
    top, bottom = rng.sample(list(COLOURS), 2)
    image = _vertical(COLOURS[top], COLOURS[bottom], size)
    return Background(image, f"on {_article(top)} {top} and {bottom} gradient background", (top, bottom))


def _stripes(rng: random.Random, size: int) -> Background:
    first, second = rng.sample(list(COLOURS), 2)
    image = Image.new("RGB", (size, size), COLOURS[first])
    draw = ImageDraw.Draw(image)
    period = size * rng.choice([12, 16]) / 64
    x = rng.uniform(-period, 0)
    while x < size:
        draw.rectangle([x, 0, x + period / 2, size], fill=COLOURS[second])
        x += period
    return Background(image, f"on {_article(first)} {first} and {second} striped background", (first, second))


def _dots(rng: random.Random, size: int) -> Background:
    ground, dot = rng.sample(list(COLOURS), 2)
    image = Image.new("RGB", (size, size), COLOURS[ground])
    draw = ImageDraw.Draw(image)
    cells = rng.choice([4, 5])
    radius = size * 3 / 64
    for i in range(cells):
        for j in range(cells):
            x, y = (i + 0.5) * size / cells, (j + 0.5) * size / cells
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=COLOURS[dot])
    return Background(image, f"on {_article(ground)} {ground} background with {dot} dots", (ground, dot))


def _meadow(rng: random.Random, size: int) -> Background:
    image = _vertical((110, 180, 245), (215, 238, 252), size)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 2)):
        x, y = rng.uniform(0, 1), rng.uniform(0.06, 0.28)
        for dx, r in ((-0.09, 0.045), (0.0, 0.065), (0.09, 0.05)):
            draw.ellipse(_scaled(size, x + dx - 1.5 * r, y - r, x + dx + 1.5 * r, y + r), fill=(250, 250, 252))
    horizon = rng.uniform(0.53, 0.72)
    draw.rectangle(_scaled(size, 0, horizon, 1, 1), fill=jitter((96, 176, 72), rng))
    return Background(image, "in a meadow")


def _night(rng: random.Random, size: int) -> Background:
    image = _vertical((12, 16, 52), (44, 40, 96), size)
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, r = rng.random(), rng.random(), rng.uniform(0.012, 0.018)
        draw.ellipse(_scaled(size, x - r, y - r, x + r, y + r), fill=(240, 240, 205))
    return Background(image, "at night")


def _beach(rng: random.Random, size: int) -> Background:
    image = _vertical((120, 200, 250), (225, 243, 252), size)
    draw = ImageDraw.Draw(image)
    shore = rng.uniform(0.53, 0.72)
    draw.rectangle(_scaled(size, 0, shore - 0.14, 1, shore), fill=(40, 130, 200))
    draw.rectangle(_scaled(size, 0, shore, 1, 1), fill=jitter((238, 214, 160), rng))
    return Background(image, "on the beach")


def _snow(rng: random.Random, size: int) -> Background:
    image = _vertical((170, 205, 235), (225, 235, 245), size)
    draw = ImageDraw.Draw(image)
    draw.rectangle(_scaled(size, 0, rng.uniform(0.53, 0.72), 1, 1), fill=(248, 250, 253))
    for _ in range(14):
        x, y, r = rng.random(), rng.random(), rng.uniform(0.012, 0.02)
        draw.ellipse(_scaled(size, x - r, y - r, x + r, y + r), fill=(255, 255, 255))
    return Background(image, "in the snow")


def _vertical(top: Colour, bottom: Colour, size: int) -> Image.Image:
    # Every command imports this module, and only the demo draws.
    import numpy as np

    t = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    column = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)
    return Image.fromarray(column[:, None, :].repeat(size, axis=1))


def _scaled(size: int, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    return left * size, top * size, right * size, bottom * size


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


KINDS: dict[str, Callable[[random.Random, int], Background]] = {
    "plain": _any_plain,
    "gradient": _gradient,
    "stripes": _stripes,
    "dots": _dots,
    "meadow": _meadow,
    "night": _night,
    "beach": _beach,
    "snow": _snow,
}
