"""Scenes with the look of photographs: furry animals and lit things on grounds that are textured and out of focus.

No photograph is used. A base that has only seen clean drawings spends the few steps of a fine-tuning on learning what
fur, shade and blur are; one that has seen them spends these steps on the subject. Most captions say "photograph" or
name the fur, words that the drawn world never uses, so that its own prompts keep their pictures. Half of the scenes
have grounds of the drawn world: with grounds of their own alone, the base kept two worlds apart, and a dog learnt from
photos was lost in every prompt that named a drawn place.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from gateway.demo_pictures.backgrounds import draw_background
from research.fiveshot_tiny.scenes.blocks import Block, Pixels, draw_in_blocks
from research.fiveshot_tiny.scenes.furry import COATS, Animal, FurPainter, any_animal, paint_animal
from research.fiveshot_tiny.scenes.lit_things import THINGS, TONES, paint_thing
from research.fiveshot_tiny.scenes.textures import Field, correlated_noise

OVERSAMPLE = 2
ANIMAL_SHARE = 0.8
DRAWN_GROUND_SHARE = 0.5
UNMARKED_SHARE = 0.33
_DRAWN_GROUNDS = {"plain": 0.56, "gradient": 0.08, "meadow": 0.09, "night": 0.09, "beach": 0.09, "snow": 0.09}
_POSE_WORDS = {"sitting": "sitting", "sideways": "sitting", "lying": "sleeping", "standing": "standing", "portrait": ""}
_NOUNS = {
    "pointed": ("dog", "dog", "puppy", "cat", "kitten", "pet"), "hanging": ("dog", "dog", "puppy", "pet"),
    "round": ("bear", "pet"), "long": ("rabbit", "pet"),
}  # fmt: skip
_FRAME = {"a", "an", "and", "of", "photo", "photograph", "furry", "fluffy"}


def draw_photographic(rng: random.Random, size: int) -> tuple[Pixels, str]:
    """One picture, uint8 (size, size, 3), and its caption; equal random states give equal scenes."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    picture, place = _ground(rng, numbers, size * OVERSAMPLE)
    if rng.random() < ANIMAL_SHARE:
        animal = any_animal(rng)
        painter = FurPainter(picture, rng, numbers)
        painter.mirror = rng.random() < 0.5
        near = animal.pose == "portrait"
        painter.scale = rng.uniform(0.85, 1.15) if near else rng.uniform(0.72, 1.08)
        painter.origin = (rng.uniform(-0.15, 0.15), rng.uniform(-0.05, 0.1))
        paint_animal(painter, animal, rng)
        words = _animal_words(rng, animal)
    else:
        tone = rng.choice(list(TONES))
        thing = rng.choice(list(THINGS))
        paint_thing(picture, thing, TONES[tone], rng, numbers)
        words = f"photograph of {_article(f'{tone} {thing}')}"
    caption = f"a {words} {place}" if rng.random() < 0.85 else f"a {words}"
    return developed(picture, size, rng, numbers), caption


def _ground(rng: random.Random, numbers: np.random.Generator, pixels: int) -> tuple[Field, str]:
    """What stands behind, and its words: every other one is of the drawn world, so that a subject learnt from photos
    can be put before anything that this world has a name for.
    """
    if rng.random() < DRAWN_GROUND_SHARE:
        drawn = draw_background(rng.choices(list(_DRAWN_GROUNDS), list(_DRAWN_GROUNDS.values()))[0], rng, pixels)
        return np.asarray(drawn.image, np.float64).copy(), drawn.caption
    place = rng.choice(list(GROUNDS))
    return GROUNDS[place](rng, numbers, pixels), place


def _animal_words(rng: random.Random, animal: Animal) -> str:
    """A third says no more than "photo", as users' captions do: a photo of a dog may show a real one."""
    noun = rng.choice(_NOUNS[animal.ears])
    coat = _coat_word(animal.main)
    if animal.light != animal.main and coat != "white" and rng.random() < 0.7:
        coat = f"{coat} and white"
    real = rng.choice(["photograph", "photo"])
    fur = "" if real == "photograph" and rng.random() < 0.5 else rng.choice(["furry", "furry", "fluffy"])
    if rng.random() < UNMARKED_SHARE:
        real, fur = "photo", ""
    known = " ".join(word for word in (fur, coat if rng.random() < 0.6 else "", noun) if word)
    pose = _POSE_WORDS[animal.pose] if rng.random() < 0.5 else ""
    return f"{real} of {_article(known)} {pose}".strip()


def photographic_words() -> set[str]:
    """Every word that a caption of these scenes may hold: words with a meaning, unfit to disturb captions with."""
    texts = [
        *GROUNDS,
        *THINGS,
        *TONES,
        *map(_coat_word, COATS),
        *_POSE_WORDS.values(),
        *(noun for nouns in _NOUNS.values() for noun in nouns),
    ]
    return {word for text in texts for word in text.split()} | _FRAME


def _coat_word(coat: str) -> str:
    """The tokenizer has no word for cream."""
    return "white" if coat == "cream" else coat


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def developed(picture: Field, size: int, rng: random.Random, numbers: np.random.Generator) -> Pixels:
    """Uneven light, a tint, exposure, reduction to `size` and fine grain."""
    n = len(picture)
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    light = 1 + rng.uniform(-0.18, 0.18) * x + rng.uniform(-0.18, 0.18) * y - rng.uniform(0, 0.14) * (x * x + y * y)
    values = picture * light[..., None] * numbers.uniform(0.93, 1.07, 3) * rng.uniform(0.85, 1.15)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    small = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS), np.float64)
    return np.clip(small + numbers.normal(0, rng.uniform(0, 3), small.shape), 0, 255).astype(np.uint8)


def _blurred(values: Field, radius: float) -> Field:
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, np.float64).copy()


def _toned(rng: random.Random, numbers: np.random.Generator, n: int, tone: tuple[float, float, float]) -> Field:
    base = np.array(tone) * rng.uniform(0.8, 1.15)
    return base + correlated_noise(numbers, n, rng.uniform(1.0, 1.8)) * rng.uniform(6, 26)


def _leaves(rng: random.Random, numbers: np.random.Generator, n: int) -> Field:
    """Out-of-focus foliage with discs of light, over a lawn more often than not."""
    values = _toned(rng, numbers, n, rng.choice([(96, 128, 74), (130, 150, 100), (70, 96, 60), (176, 186, 150)]))
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    for _ in range(rng.randint(0, 14)):
        radius = rng.uniform(0.05, 0.22)
        mask = np.hypot(x - rng.uniform(-1, 1), y - rng.uniform(-1, 0.6)) < radius
        values[mask] += np.array([rng.uniform(10, 80), rng.uniform(15, 80), rng.uniform(0, 70)])
    values = _blurred(values, n * rng.uniform(0.01, 0.05))
    return _over_floor(rng, numbers, values, (104, 140, 66)) if rng.random() < 0.6 else values


def _wall(rng: random.Random, numbers: np.random.Generator, n: int) -> Field:
    tone = rng.choice([(186, 178, 168), (150, 60, 40), (90, 104, 120), (206, 190, 160), (120, 112, 104), (170, 96, 60)])
    values = _toned(rng, numbers, n, tone)
    if rng.random() < 0.5:
        for row in range(int(n * rng.uniform(0.1, 0.4)), n, max(4, int(n * rng.uniform(0.2, 0.5)))):
            values[row : row + max(1, n // 64)] *= 0.75
    values = _blurred(values, n * rng.uniform(0.0, 0.012))
    return _over_floor(rng, numbers, values, (150, 146, 140)) if rng.random() < 0.7 else values


def _sky(rng: random.Random, numbers: np.random.Generator, n: int) -> Field:
    ramp = np.linspace(0, 1, n)[:, None, None]
    high, low = np.array([rng.uniform(90, 190), rng.uniform(150, 215), 235.0]), np.array([222.0, 232.0, 238.0])
    values = high * (1 - ramp) + low * ramp + correlated_noise(numbers, n, 1.7) * rng.uniform(2, 16)
    values = _blurred(values, n * 0.01)
    return _over_floor(rng, numbers, values, rng.choice([(110, 144, 74), (200, 180, 138), (150, 146, 140)]))


def _room(rng: random.Random, numbers: np.random.Generator, n: int) -> Field:
    values = _toned(rng, numbers, n, rng.choice([(200, 190, 176), (176, 170, 160), (140, 128, 116), (214, 208, 200)]))
    for _ in range(rng.randint(0, 3)):
        left, top = rng.randrange(n), rng.randrange(n // 2)
        values[top : top + rng.randint(n // 8, n // 2), left : left + rng.randint(n // 8, n // 2)] *= numbers.uniform(
            0.5, 1.2, 3
        )
    values = _blurred(values, n * rng.uniform(0.01, 0.03))
    return _over_floor(rng, numbers, values, rng.choice([(150, 106, 70), (176, 160, 140), (120, 60, 50)]))


def _bed(rng: random.Random, numbers: np.random.Generator, n: int) -> Field:
    tone = rng.choice([(216, 212, 206), (120, 130, 160), (190, 150, 140), (170, 168, 160)])
    return _blurred(np.array(tone) + correlated_noise(numbers, n, 1.9) * rng.uniform(10, 30), n * 0.008)


def _over_floor(
    rng: random.Random, numbers: np.random.Generator, values: Field, tone: tuple[float, float, float]
) -> Field:
    """Puts a floor with its own texture under the given background."""
    n = len(values)
    top = int(n * rng.uniform(0.55, 0.85))
    floor = np.array(tone) * rng.uniform(0.75, 1.2) + correlated_noise(numbers, n, 0.9) * rng.uniform(5, 20)
    ramp = np.clip((np.arange(n) - top) / (n * 0.03) + 0.5, 0, 1)[:, None, None]
    mixed: Field = values * (1 - ramp) + floor * ramp
    return mixed


GROUNDS: dict[str, Callable[[random.Random, np.random.Generator, int], Field]] = {
    "in a garden": _leaves,
    "in a park": _leaves,
    "in a forest": _leaves,
    "before a wall": _wall,
    "on the street": _wall,
    "under the sky": _sky,
    "in a kitchen": _room,
    "in a room": _room,
    "on a bed": _bed,
}


def _draw_block(block: Block) -> tuple[Pixels, list[str]]:
    seed, number, count, size = block
    rng = random.Random(f"photographic/{seed}/{number}")
    drawn = [draw_photographic(rng, size) for _ in range(count)]
    return np.stack([pixels for pixels, _ in drawn]), [caption for _, caption in drawn]


def draw_photographic_scenes(count: int, *, seed: int, size: int, processes: int = 1) -> tuple[Pixels, list[str]]:
    """`count` uint8 pictures (count, size, size, 3) with their captions, the same for any `processes`."""
    return draw_in_blocks(_draw_block, count, seed=seed, size=size, processes=processes)
