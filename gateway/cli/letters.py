"""Text on sheets: letters of every script, lines as wide as their place.

Pillow's own font holds ASCII and little more: file names and prompts of most languages would be boxes. Each letter is
drawn with the first font that has it: Pillow's own, DejaVu Sans, which matplotlib brings, then this machine's fonts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

Letters = ImageFont.FreeTypeFont | ImageFont.ImageFont
_SPACING = 4
_MORE = "…"
# What no font has is told apart from a letter by this.
_UNKNOWN = "?"
# A code point that is no letter of any font, and the size at which letters are compared with it.
_NOWHERE, _PROBE = "\uffff", 20
# Plain letters first: a bold, slanted or narrow face serves only where no other has the letter.
_ODD_FACES = ("bold", "italic", "oblique", "condensed", "light", "black", "thin", "mono", "serif", "math")


def write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, *, size: int, fill: str, spacing: int = _SPACING
) -> None:
    """Draws lines from their upper left corner on. size, spacing: in pixels; spacing lies between two lines."""
    own = font(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        draw.multiline_text(place, text, fill=fill, font=own, spacing=spacing)
        return
    rise, _ = own.getmetrics()
    for number, line in enumerate(plain(text).split("\n")):
        x, baseline = place[0], place[1] + rise + number * (rise + spacing)
        for letters, run in _runs(line, size):
            draw.text((x, baseline), run, fill=fill, font=letters, anchor="ls")
            x += letters.getlength(run)


def wrapped(text: str, *, size: int, width: float, most: int) -> list[str]:
    """The text as at most `most` lines of at most `width` pixels; an ellipsis ends what had to be cut.

    Lines break between words, and within a word that is wider than a line, as texts without spaces are.
    """
    lines: list[str] = []
    for word in plain(text).split():
        first, *rest = _pieces(word, size, width)
        if lines and length(f"{lines[-1]} {first}", size) <= width:
            lines[-1] += f" {first}"
        else:
            lines.append(first)
        lines += rest
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and length(last + _MORE, size) > width:
        last = last[:-1]
    return [*lines[: most - 1], last.rstrip() + _MORE]


def length(text: str, size: int) -> float:
    """How wide a line is, in pixels."""
    return sum(letters.getlength(run) for letters, run in _runs(text, size))


def plain(text: str) -> str:
    """The text in composed letters, as fonts have them, without signs that only change their neighbours."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(letter for letter in composed if letter == "\n" or not _silent(letter))


def scripts_without_letters() -> list[str]:
    """Which of the most used scripts no font here has: their names."""
    examples = {"Latin": "ä", "Greek": "α", "Cyrillic": "ж", "Chinese": "猫", "Japanese": "ね", "Korean": "양"}
    return [script for script, letter in examples.items() if _face_here(letter) is None]


@cache
def face_of(letter: str, faces: tuple[str, ...]) -> str | None:
    """The first file of a font that has the letter; "" for Pillow's own, None where none has.

    A file that is no font is passed over.
    """
    if _is_own(letter):
        return ""
    return next((face for face in faces if ord(letter) in _charmap(face)), None)


@cache
def font(size: int) -> Letters:
    """Pillow's own letters. size: in pixels."""
    return ImageFont.load_default(size)


def _silent(letter: str) -> bool:
    """Control and format characters, and the selectors between a letter's plain and its coloured form."""
    return unicodedata.category(letter) in ("Cc", "Cf") or letter in "\ufe0e\ufe0f"


def _pieces(word: str, size: int, width: float) -> Iterator[str]:
    """The word, or where it is wider than a line, as much of it as fits again and again."""
    while len(word) > 1 and length(word, size) > width:
        fits = next(count for count in range(len(word) - 1, 0, -1) if count == 1 or length(word[:count], size) <= width)
        yield word[:fits]
        word = word[fits:]
    yield word


def _runs(line: str, size: int) -> Iterator[tuple[Letters, str]]:
    """Neighbouring letters of one font, with it."""
    for face, letters in groupby(line, key=_face_here):
        run = "".join(letters)
        if face is None:
            yield font(size), _UNKNOWN * len(run)
        else:
            yield (ImageFont.truetype(face, size) if face else font(size)), run


def _face_here(letter: str) -> str | None:
    return face_of(letter, () if _is_own(letter) else _faces())


@cache
def _is_own(letter: str) -> bool:
    """Whether Pillow's own font has it: what a font lacks, it draws as one and the same box."""
    if " " <= letter <= "~":
        return True
    own = font(_PROBE)
    return bytes(own.getmask(letter)) != bytes(own.getmask(_NOWHERE))


@cache
def _faces() -> tuple[str, ...]:
    # Only for a text that needs it: loading matplotlib takes as long as all the rest of the command line.
    import matplotlib
    from matplotlib import font_manager

    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    found = sorted(font_manager.findSystemFonts(), key=lambda path: (_oddness(Path(path).name), Path(path).name))
    return (str(own), *found)


def _oddness(name: str) -> int:
    return sum(word in name.lower() for word in _ODD_FACES)


@cache
def _charmap(face: str) -> frozenset[int]:
    """The code points of a font; none where it cannot be drawn at any size, as colour bitmaps cannot."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(face, _PROBE)
        return frozenset(FT2Font(face).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
