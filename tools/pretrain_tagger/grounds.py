"""Patterned backgrounds at any angle, width and pitch, beside the few that the base model's world draws."""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt
from PIL import Image

from gateway.demo_pictures.backgrounds import COLOURS, Background, draw_background, jitter

_VARIED_SHARE = 0.6
_PATTERNS = ("gradient", "stripes", "dots")

Floats = npt.NDArray[np.float64]


def draw_ground(kind: str, rng: random.Random, size: int) -> Background:
    """`draw_background`, with patterns varied more often than not."""
    if kind not in _PATTERNS or rng.random() >= _VARIED_SHARE:
        return draw_background(kind, rng, size)
    names = tuple(rng.sample(list(COLOURS), 2))
    first, second = (np.array(jitter(COLOURS[name], rng), np.float64) for name in names)
    share = _share(kind, rng, size)[..., None]
    picture = np.clip(first * (1 - share) + second * share, 0, 255).astype(np.uint8)
    return Background(Image.fromarray(picture), "", names)


def _share(kind: str, rng: random.Random, size: int) -> Floats:
    """How much of the second colour each pixel has: float (size, size) from 0 to 1."""
    along, across = _turned(rng, size)
    if kind == "gradient":
        if rng.random() < 0.2:
            return np.clip(np.hypot(along, across) / 0.75, 0, 1)
        return np.clip(along / rng.uniform(0.9, 1.4) + 0.5, 0, 1)
    pitch = 1 / rng.uniform(3, 8)
    if kind == "stripes":
        return ((along / pitch + rng.random()) % 1 < rng.uniform(0.35, 0.65)).astype(np.float64)
    row = np.floor(across / pitch)
    stagger = rng.choice([0.0, 0.5]) * (row % 2)
    x, y = (along / pitch + stagger + rng.random()) % 1 - 0.5, across / pitch - row - 0.5
    return (np.hypot(x, y) < rng.uniform(0.17, 0.38)).astype(np.float64)


def _turned(rng: random.Random, size: int) -> tuple[Floats, Floats]:
    """Coordinates around the middle, one side long, at a random angle; upright and level ones are the most usual."""
    angle = rng.choice([0.0, math.pi / 2, rng.uniform(0, math.pi)])
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, size), np.linspace(-0.5, 0.5, size))
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
