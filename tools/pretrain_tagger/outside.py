"""Pictures that do not belong to the drawn world, for the gate, and things that it must not name.

No photograph is used: photographs stay a test. What stands in for them are pictures with their statistics
(`research.fiveshot_tiny.scenes.textures`), lit and blurred compositions of such surfaces, and strangers of the emoji
font.
"""

from __future__ import annotations

import functools
import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from gateway.demo_pictures.backgrounds import COLOURS, KINDS, draw_background, jitter
from gateway.demo_pictures.canvas import Canvas, Colour
from research.fiveshot_tiny.scenes.sprites import EMOJI_FONT, EMOJI_STRIKE, OBJECTS
from research.fiveshot_tiny.scenes.textures import correlated_noise, draw_texture
from tools.pretrain_tagger.facts import BACKGROUND_LABELS, NOTHING, NOUNS, SIDE, Facts
from tools.pretrain_tagger.finish import finished
from tools.pretrain_tagger.layout import arrange
from tools.pretrain_tagger.scenes import paste, sprite_of, styled
from tools.pretrain_tagger.sketches import nameless

_CANVAS = 2 * SIDE
# Faces, objects, music, tools, sport: far from every noun of the drawn world.
_STRANGERS = (*range(0x1F380, 0x1F3C0), *range(0x1F4A1, 0x1F4FE), *range(0x1F525, 0x1F52E), *range(0x1F600, 0x1F645),
              *range(0x1F950, 0x1F96C), *range(0x1F9E0, 0x1FA00))  # fmt: skip
_ALIKE = {0x1F382, 0x1F383, 0x1F384, 0x1F388, 0x1F389, 0x1F38A, 0x1F534, 0x1F535}


def draw_stranger(rng: random.Random) -> tuple[Image.Image, Facts]:
    """A drawn scene with a thing that has no name here: its background may be named, the thing may not."""
    kind = rng.choice(list(COLOURS)) if rng.random() < 0.5 else rng.choice([k for k in KINDS if k != "plain"])
    picture = draw_background(kind, rng, _CANVAS).image
    strangers = (lambda: rng.choice(_stranger_sprites()), lambda: nameless(rng, _CANVAS), lambda: _blob(rng))
    sprite = rng.choices(strangers, (0.45, 0.35, 0.2))[0]()
    layout = arrange(rng)
    for spot in layout.spots:
        paste(picture, styled(sprite, rng), spot, rng)
    known = Facts(count=layout.count, background=BACKGROUND_LABELS[kind], size=layout.size, place=layout.place)
    return finished(picture, rng), known


def draw_outside(rng: random.Random) -> tuple[Image.Image, Facts]:
    """A picture with the look of a photograph, about which nothing may be said."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    kind = rng.random()
    if kind < 0.3:
        picture = Image.fromarray(draw_texture(numbers, SIDE))
    elif kind < 0.75:
        picture = _lit_composition(rng, numbers)
    else:
        picture = _figure_of_fur(rng, numbers)
    return picture, Facts(inside=False)


def _lit_composition(rng: random.Random, numbers: np.random.Generator) -> Image.Image:
    """Out-of-focus ground, a few solid bodies with shading and surface texture, light from one side."""
    ground = _surface(numbers, _tone(rng), contrast=rng.uniform(10, 50), roughness=rng.uniform(1.0, 2.0))
    picture = Image.fromarray(ground).filter(ImageFilter.GaussianBlur(rng.uniform(0, 5)))
    for _ in range(rng.randint(1, 7)):
        body = Image.fromarray(
            _surface(numbers, _tone(rng), contrast=rng.uniform(10, 45), roughness=rng.uniform(0.6, 1.6))
        )
        mask = _body_mask(rng, numbers)
        picture.paste(body, (0, 0), mask)
    return _as_photograph(picture, rng, numbers)


def _figure_of_fur(rng: random.Random, numbers: np.random.Generator) -> Image.Image:
    """A thing of the drawn world as if it were real: textured and lit, before a photographic ground."""
    picture = Image.fromarray(
        _surface(numbers, _tone(rng), contrast=rng.uniform(15, 60), roughness=rng.uniform(0.8, 1.8))
    ).resize((_CANVAS, _CANVAS), Image.Resampling.BICUBIC)
    noun = rng.choice(NOUNS)
    colour = NOTHING if noun in OBJECTS else rng.choice(list(COLOURS))
    sprite = styled(sprite_of(noun, colour, rng), rng)
    texture = correlated_noise(numbers, _CANVAS, rng.uniform(0.3, 1.2)) * rng.uniform(18, 45)
    values = np.asarray(sprite.convert("RGB").resize((_CANVAS, _CANVAS)), np.float64) + texture
    textured = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    textured.putalpha(sprite.getchannel("A").resize((_CANVAS, _CANVAS)).filter(ImageFilter.GaussianBlur(1.5)))
    paste(picture, textured, arrange(rng).spots[0], rng)
    return _as_photograph(picture.resize((SIDE, SIDE), Image.Resampling.BOX), rng, numbers)


def _surface(numbers: np.random.Generator, tone: Colour, *, contrast: float, roughness: float) -> npt.NDArray[np.uint8]:
    values = np.array(tone) + correlated_noise(numbers, SIDE, roughness) * contrast
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def _body_mask(rng: random.Random, numbers: np.random.Generator) -> Image.Image:
    """An irregular outline: a level set of smooth noise inside an ellipse."""
    mask = Image.new("L", (SIDE, SIDE), 0)
    x, y, radius = rng.uniform(0, SIDE), rng.uniform(0, SIDE), SIDE * rng.uniform(0.1, 0.45)
    flat = rng.uniform(0.5, 1.0)
    ImageDraw.Draw(mask).ellipse([x - radius, y - radius * flat, x + radius, y + radius * flat], fill=255)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(radius / 4)), np.float64)
    wobble = correlated_noise(numbers, SIDE, 1.4)[..., 0] * rng.uniform(5, 40)
    level = Image.fromarray(np.where(soft + wobble > 120, 255, 0).astype(np.uint8))
    return level.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))


def _as_photograph(picture: Image.Image, rng: random.Random, numbers: np.random.Generator) -> Image.Image:
    """Uneven light, a common tint and fine grain."""
    ramp_x, ramp_y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    light = 1 + rng.uniform(-0.3, 0.3) * ramp_x + rng.uniform(-0.3, 0.3) * ramp_y
    tint = numbers.uniform(0.85, 1.15, 3)
    values = np.asarray(picture, np.float64) * light[..., None] * tint + numbers.normal(
        0, rng.uniform(0, 6), (SIDE, SIDE, 1)
    )
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _tone(rng: random.Random) -> Colour:
    """Muted more often than not, as surfaces in photographs are."""
    grey = rng.uniform(25, 235)
    spread = rng.choice([8, 20, 45, 90])
    return tuple(int(min(250, max(5, grey + rng.uniform(-spread, spread)))) for _ in range(3))  # type: ignore[return-value]


def _blob(rng: random.Random) -> Image.Image:
    """A drawn nonsense: overlapping ellipses, boxes and strokes in a few colours."""
    canvas = Canvas(_CANVAS)
    colours = [jitter(COLOURS[name], rng) for name in rng.sample(list(COLOURS), 3)]
    for _ in range(rng.randint(3, 7)):
        x, y = rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75)
        a, b = rng.uniform(0.05, 0.25), rng.uniform(0.05, 0.25)
        form = rng.randrange(3)
        if form == 0:
            canvas.ellipse((x, y), (a, b), rng.choice(colours))
        elif form == 1:
            canvas.rectangle(x - a, y - b, x + a, y + b, rng.choice(colours), radius=rng.uniform(0, 0.05))
        else:
            canvas.line([(x - a, y - b), (x + b, y + a)], rng.choice(colours), rng.uniform(0.03, 0.1))
    return canvas.image


@functools.cache
def _stranger_sprites() -> list[Image.Image]:
    font = ImageFont.truetype(str(EMOJI_FONT), EMOJI_STRIKE)
    sprites: list[Image.Image] = []
    for code in _STRANGERS:
        image = Image.new("RGBA", (160, 160), (255, 255, 255, 0))
        ImageDraw.Draw(image).text((10, 10), chr(code), font=font, embedded_color=True)
        box = image.getbbox()
        if box and code not in _ALIKE:
            sprites.append(image.crop(box).resize((_CANVAS, _CANVAS), Image.Resampling.BILINEAR))
    return sprites
