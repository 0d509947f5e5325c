"""A third renderer of the drawn world, for a blind test: drawn from the vocabulary alone, no other drawing seen.

Every scene is either flat stickers with a white edge or softly lit things with a shadow, drawn four times as large.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tools.pretrain_tagger.blind_drawings import DRAWINGS
from tools.pretrain_tagger.blind_pen import RGB, WHITE, Pen, dark, hue, light, mix
from tools.pretrain_tagger.facts import BACKGROUND_LABELS, COLOURED, COUNT_LABELS, NOTHING, NOUNS, QUESTIONS, Facts

_COLOURS = QUESTIONS["colour"][1:]
_OVERSAMPLING = 4

_ALIKE = {
    frozenset(pair.split("/"))
    for pair in (
        *("red/orange", "red/pink", "red/brown", "orange/yellow", "orange/brown", "green/teal", "blue/teal"),
        *("blue/purple", "purple/pink", "brown/black", "white/gray", "gray/black"),
    )
}
"""Colours that do not stand clearly against each other."""

_OWN_COLOURS: dict[str, tuple[str, ...]] = {
    "dog": ("brown", "gray"), "cat": ("orange", "gray", "black"), "panda": ("white", "black"), "fox": ("orange",),
    "frog": ("green",), "pig": ("pink",), "penguin": ("black",), "owl": ("brown",), "ladybug": ("red", "black"),
    "apple": ("red", "green", "yellow"), "strawberry": ("red",), "pizza": ("yellow", "orange"),
    "mushroom": ("red", "brown"), "rocket": ("white",), "tree": ("green",), "sunflower": ("yellow",),
    "pumpkin": ("orange",), "snowman": ("white",), "ghost": ("white",), "crown": ("yellow",),
}  # fmt: skip
"""Backgrounds on which a thing of one's own colours would vanish."""


def draw_scene(rng: random.Random, side: int = 192) -> tuple[Image.Image, Facts]:
    """An RGB picture, side pixels square, and its facts. Equal random states give equal scenes."""
    noun, colour = rng.choice(NOUNS), rng.choice(_COLOURS)
    while True:
        kind = rng.choice(list(BACKGROUND_LABELS))
        canvas, used = background(kind, rng, side * _OVERSAMPLING)
        if not _clash(noun, colour, used):
            break
    count = rng.choice(COUNT_LABELS + ("one",) * 3)
    size = place = NOTHING
    if count == "one":
        size = rng.choice(("small", "large"))
    if size == "small":
        place = rng.choice(QUESTIONS["place"][1:])
    soft = rng.random() < 0.5
    tint, look = hue(colour, rng), rng.random()
    for x, y, longer in spots(rng, count, size, place):
        # Several things are the same thing: each is drawn from the same random state.
        _put(canvas, thing(noun, tint, random.Random(look), round(longer * canvas.width), soft=soft), x, y, soft=soft)
    facts = Facts(noun, count, colour if noun in COLOURED else NOTHING, BACKGROUND_LABELS[kind], size, place)
    return canvas.resize((side, side), Image.Resampling.LANCZOS), facts


def thing(noun: str, tint: RGB, rng: random.Random, longer: int, *, soft: bool) -> Image.Image:
    """A cut-out (RGBA) whose longer side has that many pixels."""
    pen = Pen(rng, max(160, round(longer * 1.2)), soft=soft)
    DRAWINGS[noun](pen, tint)
    image = pen.image
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, expand=True)
    image = image if soft else _sticker(image, round(longer * rng.uniform(0.016, 0.028)))
    image = image.crop(image.getchannel("A").point(lambda value: 255 if value > 127 else 0).getbbox())
    ratio = longer / max(image.size)
    return image.resize(
        (max(1, round(image.width * ratio)), max(1, round(image.height * ratio))), Image.Resampling.LANCZOS
    )


def background(kind: str, rng: random.Random, side: int) -> tuple[Image.Image, frozenset[str]]:
    """A picture of that kind (a key of BACKGROUND_LABELS) and the names of the colours that occur in it."""
    if kind in _COLOURS:
        return Image.new("RGB", (side, side), hue(kind, rng)), frozenset((kind,))
    if kind in _SCENES:
        image = Image.new("RGB", (side, side))
        return image, _SCENES[kind](image, ImageDraw.Draw(image), rng)
    first, second = rng.choice([pair for pair in _PAIRS if frozenset(pair) not in _ALIKE])
    rows, columns = np.mgrid[0:side, 0:side] / side
    blend = {"gradient": _gradient, "stripes": _stripes, "dots": _dots}[kind](rng, columns, rows)
    one, other = np.asarray(hue(first, rng), float), np.asarray(hue(second, rng), float)
    pixels = one + (other - one) * blend[..., None]
    return Image.fromarray(pixels.round().astype(np.uint8)), frozenset((first, second))


_PAIRS = [(one, other) for one in _COLOURS for other in _COLOURS if one != other]


def _clash(noun: str, colour: str, used: frozenset[str]) -> bool:
    mine = {colour, *_OWN_COLOURS.get(noun, ())}
    return bool(mine & used) or (noun in COLOURED and any(frozenset((colour, other)) in _ALIKE for other in used))


def spots(rng: random.Random, count: str, size: str, place: str) -> list[tuple[float, float, float]]:
    """Centres and longer sides as parts of the picture."""
    if count != "one":
        number = COUNT_LABELS.index(count) + 1
        longer, y = rng.uniform(0.30, 0.42) if number == 2 else rng.uniform(0.22, 0.29), rng.uniform(0.36, 0.64)
        step = rng.uniform(longer * 1.12, 0.48 if number == 2 else 0.325)
        middle = 0.5 + rng.uniform(-0.02, 0.02)
        return [
            (middle + (index - (number - 1) / 2) * step, y + rng.uniform(-0.03, 0.03), longer * rng.uniform(0.93, 1.0))
            for index in range(number)
        ]
    if size == "large":
        longer = rng.uniform(0.60, 0.88)
        room = (0.96 - longer) / 2
        return [(0.5 + rng.uniform(-room, room), 0.5 + rng.uniform(-room, room), longer)]
    longer = rng.uniform(0.22, 0.35)
    low, high = {
        "on the left": (longer / 2 + 0.02, 0.33),
        "centered": (0.465, 0.535),
        "on the right": (0.67, 0.98 - longer / 2),
    }[place]
    return [(rng.uniform(low, high), rng.uniform(0.3, 0.7), longer)]


def _sticker(image: Image.Image, edge: int) -> Image.Image:
    around = Image.new("RGBA", (image.width + 4 * edge, image.height + 4 * edge))
    around.paste(image, (2 * edge, 2 * edge))
    # A blurred mask is above a low threshold as far as the blur reaches.
    grown = (
        around.getchannel("A")
        .filter(ImageFilter.GaussianBlur(edge * 0.7))
        .point(lambda value: 255 if value > 18 else 0)
    )
    sheet = Image.new("RGBA", around.size, (*WHITE, 255))
    sheet.putalpha(grown)
    return Image.alpha_composite(sheet, around)


def _put(canvas: Image.Image, cutout: Image.Image, x: float, y: float, *, soft: bool) -> None:
    left, top = round(x * canvas.width - cutout.width / 2), round(y * canvas.height - cutout.height / 2)
    reach = max(cutout.size) / 100
    shadow = Image.new("L", canvas.size)
    drop = round(reach * (3 if soft else 1.2))
    shadow.paste(cutout.getchannel("A"), (left + drop, top + drop))
    shadow = shadow.filter(ImageFilter.GaussianBlur(reach * (2.5 if soft else 0.8))).point(lambda value: value * 0.36)
    canvas.paste((16, 12, 28), (0, 0), shadow)
    canvas.paste(cutout, (left, top), cutout)


def _gradient(rng: random.Random, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    if rng.random() < 0.2:
        return np.clip(np.hypot(x - 0.5, y - 0.5) / 0.7, 0, 1)
    angle = rng.choice((0.0, 90.0, 45.0, 135.0))
    along = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
    return np.interp(along, (along.min(), along.max()), (0, 1))


def _stripes(rng: random.Random, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    angle, number = math.radians(rng.choice((0, 90, 45, 135))), rng.uniform(4, 9)
    return ((x * math.cos(angle) + y * math.sin(angle)) * number + rng.random()) % 1 < rng.uniform(0.4, 0.6)


def _dots(rng: random.Random, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    number, radius = rng.uniform(5, 9), rng.uniform(0.2, 0.32)
    across, down = x * number + rng.random(), y * number + rng.random()
    if rng.random() < 0.5:
        across = across + (np.floor(down) % 2) * 0.5
    return np.hypot(across % 1 - 0.5, down % 1 - 0.5) < radius


def _meadow(image: Image.Image, draw: ImageDraw.ImageDraw, rng: random.Random) -> frozenset[str]:
    side = image.width
    sky, grass = (
        rng.choice(((128, 200, 244), (160, 216, 248), (108, 184, 236))),
        rng.choice(((96, 182, 72), (122, 196, 78), (72, 160, 70))),
    )
    _sky(draw, side, sky, light(sky, 0.45) if rng.random() < 0.5 else sky)
    for _ in range(rng.randint(0, 3)):
        _cloud(draw, rng.uniform(0.1, 0.9) * side, rng.uniform(0.08, 0.26) * side, rng.uniform(0.05, 0.08) * side)
    horizon = rng.uniform(0.48, 0.62)
    _land(draw, side, horizon, rng.uniform(0.01, 0.05), rng, light(grass, 0.15))
    _land(draw, side, horizon + rng.uniform(0.08, 0.16), rng.uniform(0.01, 0.04), rng, grass)
    for _ in range(rng.randint(8, 24)):
        x, y, blade = rng.uniform(0, 1) * side, rng.uniform(0.74, 0.98) * side, rng.uniform(0.015, 0.03) * side
        for lean in (-0.6, 0, 0.6):
            draw.line((x, y, x + lean * blade, y - blade), fill=dark(grass, 0.25), width=max(1, side // 160))
    return frozenset(("blue", "green", "white"))


def _night(image: Image.Image, draw: ImageDraw.ImageDraw, rng: random.Random) -> frozenset[str]:
    side = image.width
    sky = rng.choice(((22, 26, 66), (16, 20, 48), (30, 30, 84)))
    _sky(draw, side, sky, light(sky, 0.14) if rng.random() < 0.5 else sky)
    for _ in range(rng.randint(18, 50)):
        x, y, r = rng.random() * side, rng.random() * side * 0.85, rng.uniform(0.003, 0.009) * side
        draw.ellipse((x - r, y - r, x + r, y + r), fill=rng.choice((WHITE, (255, 244, 190))))
    x, y, r = rng.choice((0.16, 0.84)) * side, rng.uniform(0.13, 0.2) * side, rng.uniform(0.07, 0.1) * side
    moon = Image.new("L", image.size)
    ImageDraw.Draw(moon).ellipse((x - r, y - r, x + r, y + r), fill=255)
    if rng.random() < 0.6:
        bite = Image.new("L", image.size)
        ImageDraw.Draw(bite).ellipse((x - r * 0.4, y - r * 1.2, x + r * 1.5, y + r * 0.7), fill=255)
        moon = ImageChops.subtract(moon, bite)
    image.paste((250, 238, 180), (0, 0), moon)
    if rng.random() < 0.5:
        _land(draw, side, rng.uniform(0.78, 0.88), 0.03, rng, dark(sky, 0.5))
    return frozenset(("black", "blue", "purple", "white", "yellow"))


def _beach(image: Image.Image, draw: ImageDraw.ImageDraw, rng: random.Random) -> frozenset[str]:
    side = image.width
    sky = rng.choice(((150, 214, 246), (178, 226, 250)))
    _sky(draw, side, sky, light(sky, 0.4) if rng.random() < 0.5 else sky)
    if rng.random() < 0.6:
        x, y, r = rng.choice((0.15, 0.85)) * side, 0.15 * side, rng.uniform(0.06, 0.09) * side
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 220, 90))
    horizon, shore = rng.uniform(0.36, 0.44), rng.uniform(0.58, 0.68)
    sea = rng.choice(((40, 130, 200), (36, 156, 196), (30, 110, 180)))
    draw.rectangle((0, horizon * side, side, side), fill=sea)
    for _ in range(rng.randint(3, 8)):
        x, y, w = rng.random() * side, rng.uniform(horizon + 0.03, shore - 0.05) * side, rng.uniform(0.04, 0.1) * side
        draw.line((x - w, y, x + w, y), fill=light(sea, 0.35), width=max(1, side // 128))
    phase = rng.random()
    sand = rng.choice(((240, 214, 156), (234, 204, 150)))
    for offset, colour in ((0.0, WHITE), (0.02, mix(sand, (170, 130, 80), 0.25)), (0.045, sand)):
        _land(draw, side, shore + offset, 0.012, random.Random(phase), colour)
    return frozenset(("blue", "teal", "white", "yellow", "orange"))


def _snow(image: Image.Image, draw: ImageDraw.ImageDraw, rng: random.Random) -> frozenset[str]:
    side = image.width
    sky = rng.choice(((190, 214, 234), (206, 222, 238), (176, 204, 228)))
    _sky(draw, side, sky, light(sky, 0.4) if rng.random() < 0.5 else sky)
    horizon = rng.uniform(0.5, 0.64)
    if rng.random() < 0.5:
        _land(draw, side, horizon - 0.08, 0.05, rng, light(sky, 0.5))
    _land(draw, side, horizon, rng.uniform(0.01, 0.04), rng, (248, 250, 254))
    for _ in range(rng.randint(0, 40)):
        x, y, r = rng.random() * side, rng.random() * horizon * side, rng.uniform(0.004, 0.012) * side
        draw.ellipse((x - r, y - r, x + r, y + r), fill=WHITE)
    return frozenset(("white", "gray", "blue"))


_SCENES = {"meadow": _meadow, "night": _night, "beach": _beach, "snow": _snow}


def _sky(draw: ImageDraw.ImageDraw, side: int, top: RGB, low: RGB) -> None:
    for y in range(side):
        draw.line((0, y, side, y), fill=mix(top, low, y / side))


def _land(draw: ImageDraw.ImageDraw, side: int, top: float, swell: float, rng: random.Random, colour: RGB) -> None:
    """Everything below a wavy line."""
    phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.8)
    crest: Sequence[tuple[float, float]] = [
        (x, (top + swell * math.sin(phase + 2 * math.pi * waves * x / side)) * side) for x in range(0, side + 8, 4)
    ]
    draw.polygon([*crest, (side + 8, side), (0, side)], fill=colour)


def _cloud(draw: ImageDraw.ImageDraw, x: float, y: float, r: float) -> None:
    for shift, rise, part in ((-1.2, 0.1, 0.7), (0, -0.3, 1.0), (1.2, 0.1, 0.75), (0, 0.25, 0.8)):
        draw.ellipse(
            (x + shift * r - part * r, y + rise * r - part * r, x + shift * r + part * r, y + rise * r + part * r),
            fill=WHITE,
        )
