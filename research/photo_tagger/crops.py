"""How well bars are cut and subjects kept whole, through the service's own code: the tables of docs/crops.md."""

from __future__ import annotations

import io
import random
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from gateway.demo_pictures.subjects import draw_animal, draw_mascot, draw_toy, draw_vehicle
from services.dataset.use_cases.bars import without_bars
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import ImageRecord
from services.tagger.use_cases.crops import CropSuggestion, suggestion
from services.trainer.recipe.buckets import bucket_shapes

SUBJECTS = Path(__file__).with_name("subjects.toml")
_SIDE = 800
_WHOLE = 0.98
_SPRITES = (draw_mascot, draw_animal, draw_vehicle, draw_toy)

Box = tuple[float, float, float, float]


def report(subjects: Path, packages: Path) -> str:
    """The tables, as text. packages: a folder of photographs without bars, read with all below it."""
    photos = list(photographs(packages))
    boxed = list(_subjects(subjects))
    free = [image for image in (*photos, *(image for image, _ in boxed)) if _cut(image) == (0, 0, *image.size)]
    lines = [f"{len(free)} of {len(photos) + len(boxed)} photographs without bars are left alone", *_bars(free)]
    lines += _false_cuts(free)
    shapes = bucket_shapes(1024, 64)
    for name, examples in (("six subjects", boxed), ("drawn subjects in photographs", list(_placed(photos)))):
        lines += _kept(name, examples, shapes)
    return "\n".join(lines)


def _cut(image: Image.Image) -> tuple[int, int, int, int]:
    return without_bars(np.asarray(image, np.uint8))


def _bars(photos: list[Image.Image]) -> Iterator[str]:
    yield "| bars | cut to a pixel | overlooked | wrong |"
    yield "| --- | --- | --- | --- |"
    for name, draw in _kinds():
        exact = none = 0
        for image in photos:
            barred, inside = draw(image)
            found = _cut(as_jpeg(barred))
            exact += max(abs(a - b) for a, b in zip(found, inside, strict=True)) <= 1
            none += found == (0, 0, *barred.size)
        yield f"| {name} | {exact} of {len(photos)} | {none} | {len(photos) - exact - none} |"


def _kinds() -> Iterator[tuple[str, Callable[[Image.Image], tuple[Image.Image, tuple[int, int, int, int]]]]]:
    for colour, fill in (("black", (0, 0, 0)), ("white", (255, 255, 255)), ("red", (200, 30, 60))):
        for kind, (across, down) in {"letterbox": (0, 0.12), "pillars": (0.2, 0), "frame": (0.03, 0.03)}.items():
            yield f"{colour} {kind}", partial(_framed, edges=(across, down, across, down), fill=fill)
        yield f"{colour}, above alone", partial(_framed, edges=(0, 0.1, 0, 0), fill=fill)
    yield "screenshot, light", partial(_screenshot, ground="white", ink="black")
    yield "screenshot, dark", partial(_screenshot, ground="black", ink="white")


def _framed(
    image: Image.Image, edges: tuple[float, float, float, float], fill: tuple[int, int, int]
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """edges: left, top, right, bottom as shares of the picture's sides."""
    wide, high = image.size
    left, top, right, bottom = (round(edge * side) for edge, side in zip(edges, (wide, high, wide, high), strict=True))
    return ImageOps.expand(image, (left, top, right, bottom), fill=fill), (left, top, left + wide, top + high)


def _screenshot(image: Image.Image, ground: str, ink: str) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A picture in a telephone's viewer: clock and title above, four symbols and a handle below."""
    width, above, below = 1080, 230, 260
    shown = image.resize((width, round(image.height * width / image.width)))
    screen = Image.new("RGB", (width, shown.height + above + below), ground)
    screen.paste(shown, (0, above))
    draw, font = ImageDraw.Draw(screen), ImageFont.load_default(40)
    draw.text((60, 30), "9:41", fill=ink, font=font)
    draw.rectangle((950, 36, 1020, 66), fill=ink)
    draw.text((400, 130), "My photos", fill=ink, font=font)
    foot = above + shown.height
    for place in range(4):
        draw.ellipse((120 + place * 240, foot + 60, 180 + place * 240, foot + 120), outline=ink, width=6)
    draw.rounded_rectangle((390, foot + 225, 690, foot + 235), 5, fill=ink)
    return screen, (0, above, width, foot)


def _false_cuts(photos: list[Image.Image]) -> Iterator[str]:
    yield "| photographs without bars | cut by mistake |"
    yield "| --- | --- |"
    for name, change in (
        ("at night (an eighth of the light, black clipped)", lambda pixels: pixels * 0.12 - 6),
        ("burnt out (2.2 times the light, white clipped)", lambda pixels: pixels * 2.2),
        ("with black corners", _vignette),
    ):
        changed = [as_jpeg(Image.fromarray(np.clip(change(np.asarray(each, np.float32)), 0, 255).astype(np.uint8)))
                   for each in photos]  # fmt: skip
        yield f"| {name} | {sum(_cut(each) != (0, 0, *each.size) for each in changed)} of {len(photos)} |"
    studio = [as_jpeg(_studio(number)) for number in range(40)]
    yield f"| a drawn thing on a studio's white | {sum(_cut(each) != (0, 0, *each.size) for each in studio)} of 40 |"


def _vignette(pixels: np.ndarray) -> np.ndarray:
    down, across = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    radius = np.hypot(across / pixels.shape[1] - 0.5, down / pixels.shape[0] - 0.5)
    return np.asarray(pixels * np.clip(1.5 - 2.2 * radius, 0, 1)[..., None])


def _studio(number: int) -> Image.Image:
    rng = random.Random(number)
    ground = Image.new("RGB", (_SIDE, _SIDE), "white")
    sprite = _SPRITES[number % 4](rng, rng.randrange(200, 600)).convert("RGBA")
    ground.paste(sprite, ((_SIDE - sprite.width) // 2, _SIDE - sprite.height - rng.randrange(120)), sprite)
    return ground


def _kept(name: str, examples: list[tuple[Image.Image, Box]], shapes: list[tuple[int, int]]) -> Iterator[str]:
    """How much of each subject its crop keeps, and of the picture."""
    tagger = PhotoOnnxTagger(threads=1)
    shares, sizes = [], []
    for image, box in examples:
        found = _suggested(tagger, image, shapes)
        kept = found.crop or (0.0, 0.0, 1.0, 1.0)
        across, down = (max(0.0, min(kept[i + 2], box[i + 2]) - max(kept[i], box[i])) for i in (0, 1))
        shares.append(across * down / ((box[2] - box[0]) * (box[3] - box[1])))
        sizes.append((kept[2] - kept[0]) * (kept[3] - kept[1]))
    whole = sum(share >= _WHOLE for share in shares)
    yield (
        f"{name}: {whole} of {len(shares)} whole; of a subject {np.mean(shares):.3f} kept (least {min(shares):.2f}), "
        f"of a picture {np.mean(sizes):.2f}"
    )


def _suggested(tagger: PhotoOnnxTagger, image: Image.Image, shapes: list[tuple[int, int]]) -> CropSuggestion:
    wide, high = image.size
    left, top, right, bottom = _cut(image)
    inside = (left / wide, top / high, right / wide, bottom / high)
    found = tagger.find_subject(Picture(np.asarray(image, np.uint8), None, wide, high), inside)
    area = None if (left, top, right, bottom) == (0, 0, wide, high) else inside
    across, down = inside[2] - inside[0], inside[3] - inside[1]
    subject = found and (
        inside[0] + found[0] * across, inside[1] + found[1] * down,
        inside[0] + found[2] * across, inside[1] + found[3] * down,
    )  # fmt: skip
    return suggestion(ImageRecord("", (), "", wide, high, area), subject, shapes)


def _placed(photos: list[Image.Image]) -> Iterator[tuple[Image.Image, Box]]:
    """A drawn thing somewhere in each photograph, a quarter to a half of its shorter side."""
    for number, photo in enumerate(photos):
        rng = random.Random(number)
        side = round(rng.uniform(0.25, 0.5) * min(photo.size))
        sprite = _SPRITES[number % 4](rng, side).convert("RGBA")
        seen = sprite.getbbox(alpha_only=True) or (0, 0, *sprite.size)
        left, top = rng.randrange(photo.width - sprite.width + 1), rng.randrange(photo.height - sprite.height + 1)
        image = photo.copy()
        image.paste(sprite, (left, top), sprite)
        yield image, (
            (left + seen[0]) / photo.width, (top + seen[1]) / photo.height,
            (left + seen[2]) / photo.width, (top + seen[3]) / photo.height,
        )  # fmt: skip


def _subjects(folder: Path) -> Iterator[tuple[Image.Image, Box]]:
    for name, boxes in tomllib.loads(SUBJECTS.read_text(encoding="utf-8")).items():
        for path, box in zip(sorted((folder / name).iterdir()), boxes, strict=True):
            with Image.open(path) as image:
                yield ImageOps.exif_transpose(image).convert("RGB"), tuple(edge / 100 for edge in box)


def photographs(folder: Path) -> Iterator[Image.Image]:
    """Every JPEG in a folder and below, upright, at most 800 pixels a side."""
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            reduced = ImageOps.exif_transpose(image).convert("RGB")
        reduced.thumbnail((_SIDE, _SIDE))
        yield reduced


def as_jpeg(image: Image.Image, quality: int = 85) -> Image.Image:
    """The picture after it has been a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
