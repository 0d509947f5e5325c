"""How much of what is written into photographs an audit finds, and what it takes for text: docs/audit.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from research.photo_tagger.crops import as_jpeg, photographs
from services.tagger.adapters.written_text import Box, PpOcrTextFinder
from services.tagger.models.pictures import Picture
from services.trainer.use_cases.written_in_pictures import without_text

_WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Writing:
    """height: of the letters, of the shorter side. place: rows t, m, b and columns l, c, r. alpha: 0 to 1."""

    name: str
    text: str
    height: float
    place: str
    colour: tuple[int, int, int]
    alpha: float = 1.0


WRITINGS = (
    Writing("a date, orange, below", "2026-11-25 14:03", 0.035, "br", (255, 150, 30)),
    Writing("a name, white, three fifths opaque, below", "© studio north", 0.05, "bc", (255, 255, 255), 0.6),
    Writing("an address, small, white, below", "www.photos.example", 0.025, "bl", (255, 255, 255), 0.8),
    Writing("a title, white, above", "Summer with the family", 0.08, "tl", (255, 255, 255)),
    Writing("a word across the middle, white, a third opaque", "SAMPLE", 0.16, "mc", (255, 255, 255), 0.35),
)


def report(subjects: Path, packages: Path) -> str:
    """The tables, as text."""
    return "\n".join(_table([*photographs(subjects), *photographs(packages)]))


def _table(photos: list[Image.Image]) -> Iterator[str]:
    finder = PpOcrTextFinder()
    plain = [finder.find_text(_picture(each)) for each in photos]
    cuts = [without_text(_WHOLE, boxes) for boxes in plain]
    yield "| written | found | a crop removes all of it | takes away at most |"
    yield "| --- | --- | --- | --- |"
    for writing in WRITINGS:
        found = removed = 0
        most = 0.0
        for photo in photos:
            marked, box = _marked(photo, writing)
            boxes = finder.find_text(_picture(as_jpeg(marked, 88)))
            found += sum(_share(box, each) for each in boxes) >= 0.5
            cut = without_text(_WHOLE, boxes)
            if cut is not None and _share(box, cut) == 0:
                removed += 1
                most = max(most, 1 - (cut[2] - cut[0]) * (cut[3] - cut[1]))
        counts = f"{found} of {len(photos)} | {removed} of {len(photos)}"
        yield f"| {writing.name} | {counts} | {f'{most:.0%}' if removed else ''} |"
    yield f"{sum(map(bool, plain))} of {len(photos)} as they are show a line; {sum(map(bool, cuts))} would be cropped"


def _marked(photo: Image.Image, writing: Writing) -> tuple[Image.Image, Box]:
    """The photo with the writing, and where it stands."""
    layer = Image.new("RGBA", photo.size)
    draw = ImageDraw.Draw(layer)
    font = ImageFont.load_default(max(8, round(writing.height * min(photo.size))))
    left, top, right, bottom = draw.textbbox((0, 0), writing.text, font=font)
    wide, high, margin = right - left, bottom - top, round(0.02 * min(photo.size))
    x = {"l": margin, "c": (photo.width - wide) / 2, "r": photo.width - wide - margin}[writing.place[1]]
    y = {"t": margin, "m": (photo.height - high) / 2, "b": photo.height - high - margin}[writing.place[0]]
    draw.text((x - left, y - top), writing.text, font=font, fill=(*writing.colour, round(255 * writing.alpha)))
    box = x / photo.width, y / photo.height, (x + wide) / photo.width, (y + high) / photo.height
    return Image.alpha_composite(photo.convert("RGBA"), layer).convert("RGB"), box


def _share(box: Box, other: Box) -> float:
    """The share of the first that lies in the other."""
    across, down = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
    return max(across, 0) * max(down, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _picture(image: Image.Image) -> Picture:
    return Picture(np.asarray(image.convert("RGB"), np.uint8), None, image.width, image.height)
