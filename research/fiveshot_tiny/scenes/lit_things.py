"""Solid things under light: balls, boxes, bottles, cups, lamps and toys, with a shade, a gleam and a surface."""

from __future__ import annotations

import random

import numpy as np

from research.fiveshot_tiny.scenes.textures import Field, correlated_noise

Tone = tuple[float, float, float]

TONES: dict[str, Tone] = {
    "red": (190, 48, 44), "orange": (222, 128, 44), "yellow": (226, 190, 62), "green": (70, 134, 72),
    "blue": (54, 96, 170), "purple": (112, 70, 144), "pink": (222, 142, 164), "brown": (120, 82, 54),
    "white": (228, 226, 220), "gray": (136, 136, 136), "black": (44, 42, 44), "teal": (44, 140, 138),
}  # fmt: skip

# A thing is a stack of parts: form, centre x, centre y, half width, half height, lightness.
_Part = tuple[str, float, float, float, float, float]
THINGS: dict[str, tuple[_Part, ...]] = {
    "ball": (("round", 0, 0.2, 0.5, 0.5, 1.0),),
    "box": (("block", -0.12, 0.25, 0.42, 0.4, 1.0), ("block", 0.42, 0.2, 0.14, 0.38, 0.6)),
    "bottle": (
        ("pipe", 0, 0.3, 0.22, 0.5, 1.0), ("pipe", 0, -0.32, 0.09, 0.22, 1.0), ("pipe", 0, -0.56, 0.1, 0.06, 0.6),
    ),
    "cup": (
        ("round", 0.4, 0.3, 0.2, 0.2, 0.9), ("pipe", 0, 0.3, 0.36, 0.4, 1.0), ("round", 0, -0.08, 0.36, 0.1, 0.55),
    ),
    "vase": (
        ("round", 0, 0.36, 0.4, 0.44, 1.0), ("pipe", 0, -0.16, 0.13, 0.26, 1.0), ("round", 0, -0.42, 0.22, 0.07, 0.7),
    ),
    "lamp": (
        ("pipe", 0, 0.5, 0.05, 0.36, 0.6), ("round", 0, 0.82, 0.28, 0.08, 0.6), ("pipe", 0, -0.1, 0.42, 0.3, 1.15),
    ),
    "truck": (
        ("block", -0.2, 0.1, 0.5, 0.3, 1.0), ("block", 0.48, 0.22, 0.22, 0.2, 0.85),
        ("round", -0.4, 0.48, 0.15, 0.15, 0.2), ("round", 0.44, 0.48, 0.15, 0.15, 0.2),
    ),
    "shoe": (
        ("round", 0.1, 0.4, 0.6, 0.2, 1.0), ("pipe", -0.3, 0.18, 0.24, 0.3, 1.0), ("block", 0.06, 0.6, 0.62, 0.05, 1.6),
    ),
    "statue": (
        ("block", 0, 0.74, 0.42, 0.14, 0.8), ("round", 0, 0.26, 0.3, 0.42, 1.0),
        ("round", 0, -0.36, 0.22, 0.25, 1.05),
    ),
    "teapot": (
        ("round", 0.58, 0.14, 0.24, 0.1, 0.95), ("round", 0, 0.3, 0.46, 0.38, 1.0),
        ("round", 0, -0.12, 0.1, 0.08, 0.8),
    ),
}  # fmt: skip


def paint_thing(picture: Field, name: str, tone: Tone, rng: random.Random, numbers: np.random.Generator) -> None:
    """Paints one of THINGS over a float picture (n, n, 3), in place, somewhere near the middle."""
    n = len(picture)
    axis = (np.arange(n) + 0.5) / n * 2 - 1
    x, y = np.meshgrid(axis, axis)
    scale = rng.uniform(0.6, 1.0)
    mirror = rng.choice([-1.0, 1.0])
    x, y = mirror * (x - rng.uniform(-0.15, 0.15)) / scale, (y - rng.uniform(-0.1, 0.05)) / scale
    surface = correlated_noise(numbers, n, rng.uniform(0.6, 1.4)) * rng.uniform(1, 12)
    colour = np.array(tone) * rng.uniform(0.85, 1.12)
    light, gleam = rng.uniform(-0.9, 0.9), rng.uniform(0, 90)
    picture *= 1 - 0.5 * np.clip(1 - np.hypot(x / 0.85, (y - 0.72) / 0.22), 0, 1)[..., None]
    for form, cx, cy, rx, ry, value in THINGS[name]:
        u, v = (x - cx) / rx, (y - cy) / ry
        if form == "round":
            distance = np.hypot(u, v)
            shade = 0.92 + 0.3 * (light * u - 0.7 * v) - 0.25 * np.clip(distance, 0, 1) ** 3
        else:
            distance = np.maximum(np.abs(u), np.abs(v))
            bend = 0.35 if form == "pipe" else 0.06
            shade = 0.95 + 0.28 * light * u - bend * np.clip(np.abs(u), 0, 1) ** 2 - 0.06 * v
        mask = np.clip((1 - distance) / (0.03 / (min(rx, ry) * scale)) + 0.5, 0, 1)[..., None]
        spot = gleam * np.exp(-8 * ((u - 0.4 * light) ** 2 + (v + 0.4) ** 2)) * (value > 0.3)
        painted = colour * value * np.clip(shade, 0.3, 1.3)[..., None] + surface + spot[..., None]
        picture += (painted - picture) * mask
