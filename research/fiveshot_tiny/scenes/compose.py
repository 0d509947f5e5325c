"""Captioned scenes: one thing on a named background, at a size and place that the caption may mention."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gateway.demo_pictures.backgrounds import COLOURS, Background, draw_background, jitter
from gateway.demo_pictures.canvas import reduce_to
from research.fiveshot_tiny.scenes.blocks import Block, Pixels, draw_in_blocks
from research.fiveshot_tiny.scenes.captions import compose_caption
from research.fiveshot_tiny.scenes.characters import CHARACTERS
from research.fiveshot_tiny.scenes.sprites import OBJECTS, SHAPES, object_sprite, shape_sprite

OVERSAMPLE = 3
SCENE_SHARES = {"object": 0.62, "shape": 0.10, "character": 0.26, "empty": 0.02}
BACKGROUND_SHARES = {
    "plain": 0.48, "gradient": 0.12, "stripes": 0.07, "dots": 0.05,
    "meadow": 0.08, "night": 0.07, "beach": 0.06, "snow": 0.07,
}  # fmt: skip
SMALL_SHARE = 0.08


@dataclass(frozen=True)
class Scene:
    """A square RGB picture, its caption and the facts that the caption was made from."""

    image: Image.Image
    caption: str
    noun: str
    background: str
    size: str = ""
    side: str = ""


def draw_scene(rng: random.Random, size: int) -> Scene:
    """Draws one scene of `size` x `size` pixels; equal random states give equal scenes."""
    large = size * OVERSAMPLE
    kind = _pick(rng, SCENE_SHARES)
    background = draw_background(_pick(rng, BACKGROUND_SHARES), rng, large)
    if kind == "empty":
        caption = f"a picture of nothing {background.caption}"
        return Scene(reduce_to(background.image, size), caption, "", background.caption)
    noun, sprite = _draw_thing(rng, kind, background, large)
    small = "small" if rng.random() < SMALL_SHARE else ""
    side = rng.choice(["left", "right"]) if small and rng.random() < 0.5 else ""
    _paste(rng, background.image, sprite, bool(small), side)
    caption = compose_caption(rng, noun, background.caption, small, side)
    return Scene(reduce_to(background.image, size), caption, noun, background.caption, small, side)


def _draw_thing(rng: random.Random, kind: str, background: Background, pixels: int) -> tuple[str, Image.Image]:
    """The noun with its colour, and the cut-out picture."""
    if kind == "object":
        name = rng.choice(list(OBJECTS))
        return name, object_sprite(name)
    if kind == "shape":
        colour = rng.choice([c for c in COLOURS if c not in background.colours])
        shape = rng.choice(SHAPES)
        return f"{colour} {shape}", shape_sprite(shape, jitter(COLOURS[colour], rng), pixels)
    colour = rng.choice([c for c in COLOURS if c not in ("black", "white", *background.colours)])
    family = rng.choice(list(CHARACTERS))
    noun = f"{colour} {family}" if rng.random() < 0.75 else family
    return noun, CHARACTERS[family](rng, jitter(COLOURS[colour], rng), pixels)


def _paste(rng: random.Random, canvas: Image.Image, sprite: Image.Image, small: bool, side: str) -> None:
    """Pastes the thing with a random size, tilt, mirroring and place."""
    pixels = round(canvas.width * (rng.uniform(0.36, 0.48) if small else rng.uniform(0.66, 0.86)))
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.resize((pixels, pixels), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        sprite = sprite.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC)
    margin = (canvas.width - pixels) / 2
    shift = {"left": -0.75 * margin, "right": 0.75 * margin}.get(side, 0.0)
    unit = canvas.width / 64
    x = margin + shift + rng.uniform(-3, 3) * unit
    y = margin + rng.uniform(-3, 4) * unit
    canvas.paste(sprite, (round(x), round(y)), sprite)


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def draw_scene_block(count: int, *, seed: int, size: int, block: int = 0) -> list[Scene]:
    """`count` scenes from the random stream of one block of a seed."""
    rng = random.Random(f"scenes/{seed}/{block}")
    return [draw_scene(rng, size) for _ in range(count)]


def _draw_block(block: Block) -> tuple[Pixels, list[str]]:
    seed, number, count, size = block
    scenes = draw_scene_block(count, seed=seed, size=size, block=number)
    return np.stack([np.asarray(s.image) for s in scenes]), [s.caption for s in scenes]


def draw_scenes(count: int, *, seed: int, size: int, processes: int = 1) -> tuple[Pixels, list[str]]:
    """`count` scenes as uint8 pictures (count, size, size, 3) with their captions, the same for any `processes`."""
    return draw_in_blocks(_draw_block, count, seed=seed, size=size, processes=processes)
