"""Text on sheets: every script is drawn with a font that has it, and keeps to its place."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from PIL import Image, ImageDraw

from gateway.cli import letters
from gateway.cli.pictures import contact_sheet
from gateway.cli.sheets import draw_sheet

_LATIN, _CYRILLIC, _ABSENT = "äöüßéŁñ", "жщю", "\U0010fffd"


def _drawn(text: str) -> bytes:
    picture = Image.new("L", (300, 40), "white")
    letters.write(ImageDraw.Draw(picture), (2, 2), text, size=16, fill="black")
    return picture.tobytes()


@pytest.mark.parametrize("letter", [*_LATIN, *_CYRILLIC])
def test_a_letter_beyond_ascii_is_drawn_and_is_no_box(letter: str) -> None:
    assert _drawn(letter) not in (_drawn(_ABSENT), _drawn("?"), _drawn(""))


def test_letters_of_every_kind_differ() -> None:
    assert len({_drawn(letter) for letter in _LATIN + _CYRILLIC}) == len(_LATIN + _CYRILLIC)


def test_what_no_font_has_is_a_question_mark_and_signs_without_a_shape_are_nothing() -> None:
    assert _drawn(f"a{_ABSENT}b") == _drawn("a?b")
    assert _drawn("a\u200d\ufe0f\x07b") == _drawn("ab")


def test_a_name_of_a_mac_with_its_accents_apart_is_drawn_as_typed() -> None:
    assert _drawn("Hu\u0308ndchen") == _drawn("H\u00fcndchen")


def test_lines_keep_to_their_width_with_and_without_spaces_and_say_when_they_are_cut() -> None:
    for text in ("sks dog on a beach at night with a red ball", "x" * 200, "ж" * 100, "a " + "y" * 90):
        lines = letters.wrapped(text, size=14, width=192, most=3)
        assert len(lines) <= 3
        assert all(letters.length(line, 14) <= 192 for line in lines)
        if "".join(lines) != text.replace(" ", "") and " ".join(lines) != text:
            assert lines[-1].endswith("…")
    assert letters.wrapped("one two", size=14, width=192, most=3) == ["one two"]
    assert letters.wrapped("", size=14, width=192, most=3) == []
    assert letters.wrapped("x" * 200, size=14, width=192, most=3)[-1].endswith("…")


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    whole = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    assert letters.face_of("ж", (str(broken),)) is None
    assert letters.face_of("ж", (str(broken), whole)) == whole
    assert letters.face_of("a", ()) == ""


def test_a_sheet_is_as_wide_as_its_title() -> None:
    title = "projects/default/trainingJobs/" + "long" * 20
    for sheet in (contact_sheet(title, [], ["one"], []), draw_sheet(title, [])):
        assert sheet.width >= letters.length(title, 24)
