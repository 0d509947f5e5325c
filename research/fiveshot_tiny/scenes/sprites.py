"""Pictures of things, cut out: colour emoji and plain shapes.

The glyphs come from Debian's package fonts-noto-color-emoji (font: SIL OFL 1.1), installed or unpacked by
`make research-font`. Only the weights that were trained on the drawn scenes are shipped with Fiveshot, never the font
or a glyph.
"""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from gateway.demo_pictures.canvas import Canvas, Colour, star_points

_INSTALLED_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_UNPACKED_FONT = Path(__file__).parents[2] / ".fonts" / "NotoColorEmoji.ttf"
EMOJI_FONT = _INSTALLED_FONT if _INSTALLED_FONT.is_file() else _UNPACKED_FONT
EMOJI_STRIKE = 109  # the only bitmap size in the font, in pixels

OBJECTS: dict[str, str] = {
    "dog": "🐶",
    "cat": "🐱",
    "panda": "🐼",
    "fox": "🦊",
    "frog": "🐸",
    "pig": "🐷",
    "penguin": "🐧",
    "owl": "🦉",
    "ladybug": "🐞",
    "apple": "🍎",
    "strawberry": "🍓",
    "pizza": "🍕",
    "cake": "🎂",
    "mushroom": "🍄",
    "car": "🚗",
    "rocket": "🚀",
    "house": "🏠",
    "tree": "🌳",
    "sunflower": "🌻",
    "pumpkin": "🎃",
    "snowman": "⛄",
    "ghost": "👻",
    "crown": "👑",
    "balloon": "🎈",
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "heart", "ring")


class MissingFontError(RuntimeError):
    """The emoji font is not installed."""


@functools.cache
def object_sprite(name: str) -> Image.Image:
    """A square RGBA picture of an object of `OBJECTS`, its glyph centred and filling the longer side.

    Raises KeyError for an unknown name and MissingFontError where the font is not installed.
    """
    glyph = OBJECTS[name]
    if not EMOJI_FONT.is_file():
        raise MissingFontError(
            f"{EMOJI_FONT} is missing: make research-font, or apt-get install fonts-noto-color-emoji"
        )
    font = ImageFont.truetype(str(EMOJI_FONT), EMOJI_STRIKE)
    image = Image.new("RGBA", (160, 160), (255, 255, 255, 0))
    ImageDraw.Draw(image).text((10, 10), glyph, font=font, embedded_color=True)
    image = image.crop(image.getbbox())
    side = max(image.size)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def shape_sprite(shape: str, colour: Colour, pixels: int) -> Image.Image:
    """A square RGBA picture of a shape of `SHAPES` in one colour. Raises ValueError for an unknown shape."""
    canvas = Canvas(pixels)
    if shape == "circle":
        canvas.ellipse((0.5, 0.5), (0.45, 0.45), colour)
    elif shape == "square":
        canvas.rectangle(0.11, 0.11, 0.89, 0.89, colour)
    elif shape == "triangle":
        canvas.polygon([(0.5, 0.06), (0.94, 0.89), (0.06, 0.89)], colour)
    elif shape == "star":
        canvas.polygon(star_points((0.5, 0.53), 0.48), colour)
    elif shape == "ring":
        canvas.ellipse((0.5, 0.5), (0.45, 0.45), colour)
        canvas.erase_ellipse((0.5, 0.5), (0.22, 0.22))
    elif shape == "heart":
        canvas.ellipse((0.297, 0.328), (0.235, 0.235), colour)
        canvas.ellipse((0.703, 0.328), (0.235, 0.235), colour)
        canvas.polygon([(0.1, 0.453), (0.9, 0.453), (0.5, 0.94)], colour)
    else:
        raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    return canvas.image
