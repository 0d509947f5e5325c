"""Contact sheets of a dataset's pictures: before and after a crop, and as a model will see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path

from fiveshot.errors import AlreadyExists, InvalidArgument
from PIL import Image, ImageDraw, ImageOps

from gateway.cli.letters import length, wrapped, write
from gateway.cli.pictures import CELL, GAP, INK, MARGIN, PALE, PAPER, TITLE_HEIGHT, paste

_COLUMNS = 3
_TEXT_HEIGHT = 52
_VEIL = "#7a1fa2"
_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Entry:
    """pictures: encoded, side by side. words: a line below each, "" for none. box: drawn on the first, as shares."""

    pictures: Sequence[bytes]
    words: Sequence[str]
    box: tuple[float, float, float, float] | None = None


def draw_sheet(title: str, entries: Sequence[Entry]) -> Image.Image:
    """All entries in three columns, or fewer where there are fewer entries."""
    across = max((len(entry.pictures) for entry in entries), default=1)
    columns = min(_COLUMNS if across > 1 else 2 * _COLUMNS, max(1, len(entries)))
    wide, high = across * (CELL + GAP) + GAP, CELL + _TEXT_HEIGHT + GAP
    rows = -(-len(entries) // columns)
    width = 2 * MARGIN + max(columns * wide, ceil(length(title, 24)))
    sheet = Image.new("RGB", (width, 2 * MARGIN + TITLE_HEIGHT + rows * high), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (MARGIN, MARGIN), title, size=24, fill=INK)
    for number, entry in enumerate(entries):
        x = MARGIN + number % columns * wide
        y = MARGIN + TITLE_HEIGHT + number // columns * high
        for place, (data, words) in enumerate(zip(entry.pictures, entry.words, strict=True)):
            left = x + place * (CELL + GAP)
            area = paste(sheet, data, left, y)
            if place == 0 and entry.box:
                draw.rectangle(_inside(area, entry.box), outline="#e0245e", width=3)
            lines = "\n".join(wrapped(words.replace("×", "x"), size=13, width=CELL, most=3))
            write(draw, (left, y + CELL + 4), lines, size=13, fill=PALE, spacing=2)
    return sheet


def veiled(picture: bytes, mask: bytes) -> bytes:
    """A picture as a JPEG whose parts outside the mask lie under a veil. mask: grey, of any size."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    kept = Image.open(BytesIO(mask)).convert("L").resize(image.size, Image.Resampling.BILINEAR)
    under = Image.blend(ImageOps.grayscale(image).convert("RGB"), Image.new("RGB", image.size, _VEIL), 0.65)
    buffer = BytesIO()
    Image.composite(image, under, kept).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def check_sheet(path: Path, *, force: bool) -> None:
    """Before anything is done for it. Raises InvalidArgument for an ending, AlreadyExists without force."""
    if path.suffix.lower() not in _ENDINGS:
        raise InvalidArgument(
            f"'{path.name}' is not a name for a sheet", field="sheet", remedy="Let it end in .png or .jpg."
        )
    if path.exists() and not force:
        raise AlreadyExists(f"{path} already exists", field="sheet", remedy="Choose another name, or use --force.")


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Writes the sheet. Raises InvalidArgument where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as error:
        raise InvalidArgument(
            f"{path} cannot be written: {error.strerror or error}", field="sheet", remedy="Choose another place."
        ) from error


def _inside(area: tuple[int, int, int, int], box: tuple[float, float, float, float]) -> tuple[float, ...]:
    left, top, right, bottom = area
    wide, high = right - left, bottom - top
    return left + box[0] * wide, top + box[1] * high, left + box[2] * wide - 1, top + box[3] * high - 1
