"""Training scenes: the things and backgrounds of the base model's drawn world, with more layouts and more styles.

Every scene is disturbed (tilt, outline, tint, blur, grain, compression), because the network has to know a thing by
its form and not by the exact pixels of one renderer.
"""

from __future__ import annotations

import random

from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from gateway.demo_pictures.backgrounds import COLOURS, KINDS, draw_background, jitter
from research.fiveshot_tiny.scenes.characters import CHARACTERS
from research.fiveshot_tiny.scenes.sprites import OBJECTS, SHAPES, object_sprite, shape_sprite
from tools.pretrain_tagger import cartoon_scenes
from tools.pretrain_tagger.facts import BACKGROUND_LABELS, COLOURED, NOTHING, NOUNS, SIDE, Facts
from tools.pretrain_tagger.finish import finished
from tools.pretrain_tagger.layout import Spot, arrange
from tools.pretrain_tagger.sketches import sketch

_CANVAS = 2 * SIDE
_EMPTY_SHARE = 0.05
_SKETCHED_SHARE, _CARTOON_SHARE = 0.5, 0.25  # the rest: as the base model's world draws it


def draw_scene(rng: random.Random) -> tuple[Image.Image, Facts]:
    """One scene of SIDE x SIDE pixels with its facts; equal random states give equal scenes."""
    kind = rng.choice(list(COLOURS)) if rng.random() < 0.5 else rng.choice([k for k in KINDS if k != "plain"])
    background = draw_background(kind, rng, _CANVAS)
    picture = background.image
    facts = Facts(background=BACKGROUND_LABELS[kind])
    if rng.random() >= _EMPTY_SHARE:
        noun = rng.choice(NOUNS)
        colour = rng.choice([c for c in COLOURS if c not in background.colours]) if noun in COLOURED else NOTHING
        layout = arrange(rng)
        sprite = sprite_of(noun, colour, rng)
        for spot in layout.spots:
            paste(picture, styled(sprite, rng, tint=noun not in COLOURED), spot, rng)
        facts = Facts(noun, layout.count, colour, facts.background, layout.size, layout.place)
    return finished(picture, rng), facts


def sprite_of(noun: str, colour: str, rng: random.Random) -> Image.Image:
    """A cut-out of a thing, square RGBA: sketched, as a cartoon, or as the base model's world draws it."""
    hand = rng.random()
    if hand < _SKETCHED_SHARE:
        return sketch(noun, colour, rng, _CANVAS)
    if hand < _SKETCHED_SHARE + _CARTOON_SHARE:
        return cartoon_scenes.draw_thing(noun, colour, rng)
    if noun in OBJECTS:
        return object_sprite(noun)
    paint = jitter(COLOURS[colour], rng)
    return shape_sprite(noun, paint, _CANVAS) if noun in SHAPES else CHARACTERS[noun](rng, paint, _CANVAS)


def styled(sprite: Image.Image, rng: random.Random, *, tint: bool = True) -> Image.Image:
    """The cut-out tilted, mirrored, bent, outlined, flattened to fewer tones and, if its colour is no fact, tinted."""
    image = sprite.resize((_CANVAS, _CANVAS), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.7:
        wide, tall = rng.uniform(0.8, 1.0), rng.uniform(0.8, 1.0)
        image = image.resize((round(_CANVAS * wide), round(_CANVAS * tall)), Image.Resampling.BILINEAR)
        image = image.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR, expand=True)
    if rng.random() < 0.5:
        image = _warped(image, rng)
    alpha = image.getchannel("A")
    paint = image.convert("RGB")
    if rng.random() < 0.25:
        paint = paint.quantize(rng.randint(4, 8)).convert("RGB")
    if tint and rng.random() < 0.3:
        paint = _tinted(paint, rng.randint(-9, 9))
    if rng.random() < 0.3:
        paint = ImageEnhance.Color(paint).enhance(rng.uniform(0.6, 1.5))
    if rng.random() < 0.3:
        paint = ImageEnhance.Brightness(paint).enhance(rng.uniform(0.75, 1.2))
    if rng.random() < 0.25:
        paint = paint.filter(ImageFilter.ModeFilter(5))
    if rng.random() < 0.4:
        # An ink line around the thing and along its inner edges, as in a cartoon.
        thick = alpha.filter(ImageFilter.MaxFilter(5))
        inner = paint.convert("L").filter(ImageFilter.FIND_EDGES).point(lambda v: 255 if v > 60 else 0)
        ink = Image.new("RGB", paint.size, rng.choice([(20, 20, 26), (60, 40, 30), (30, 30, 80)]))
        if rng.random() < 0.5:
            paint.paste(ink, (0, 0), ImageChops.darker(inner, alpha))
        ink.paste(paint, (0, 0), alpha)
        paint, alpha = ink, thick
    paint.putalpha(alpha)
    return paint


def _warped(image: Image.Image, rng: random.Random) -> Image.Image:
    """Other proportions: a 3 x 3 grid of the picture whose inner corners move by up to a twelfth of its size."""
    width, height = image.size
    reach = 1 / 12

    def corner(column: int, row: int) -> tuple[float, float]:
        moves = moved[row][column]
        return (column / 3 + moves[0]) * width, (row / 3 + moves[1]) * height

    def move(index: int) -> float:
        return rng.uniform(-reach, reach) if 0 < index < 3 else 0.0

    moved = [[(move(column), move(row)) for column in range(4)] for row in range(4)]
    mesh = []
    for row in range(3):
        for column in range(3):
            box = (column * width // 3, row * height // 3, (column + 1) * width // 3, (row + 1) * height // 3)
            corners = [corner(column + right, row + low) for right, low in ((0, 0), (0, 1), (1, 1), (1, 0))]
            mesh.append((box, tuple(value for point in corners for value in point)))
    return image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _tinted(paint: Image.Image, turn: int) -> Image.Image:
    """All hues turned a little (of 256 steps), too little for another colour name."""
    hue, saturation, value = paint.convert("HSV").split()
    return Image.merge("HSV", (hue.point(lambda v: (v + turn) % 256), saturation, value)).convert("RGB")


def paste(canvas: Image.Image, sprite: Image.Image, spot: Spot, rng: random.Random) -> None:
    """Puts the cut-out at a spot, sometimes over a soft shadow."""
    scale = spot.side * canvas.width / max(sprite.size)
    size = (max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale)))
    small = sprite.resize(size, Image.Resampling.BILINEAR)
    left, top = round(spot.x * canvas.width - size[0] / 2), round(spot.y * canvas.width - size[1] / 2)
    if rng.random() < 0.15:
        shadow = small.getchannel("A").filter(ImageFilter.GaussianBlur(2)).point(lambda v: v // 3)
        canvas.paste((0, 0, 0), (left + 3, top + 4), shadow)
    canvas.paste(small, (left, top), small)
