"""Where something is written: the lines out of what the network says, and the shipped network on a real picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from services.tagger.adapters.written_text import WEIGHTS, PpOcrTextFinder, boxes_of
from services.tagger.models.pictures import Picture
from tests.fakes.photographs import photo_of_a_clock


def cores(*boxes: tuple[int, int, int, int], sure: float = 0.9) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An answer of 160 by 160 pixels with such cores: left, top, right, bottom."""
    answer = np.zeros((160, 160), np.float32)
    for left, top, right, bottom in boxes:
        answer[top:bottom, left:right] = sure
    return answer


def test_a_line_grows_beyond_its_core_and_words_side_by_side_are_one() -> None:
    (line,) = boxes_of(cores((40, 80, 76, 88), (80, 80, 120, 88)))
    assert line == pytest.approx((0.25 - 0.045, 0.5 - 0.045, 0.75 + 0.045, 0.55 + 0.045))
    upper, lower = boxes_of(cores((40, 20, 140, 28), (40, 80, 120, 88)))
    assert (upper[3] < lower[1], upper[2] > lower[2]) == (True, True)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(cores(), id="nothing"),
        pytest.param(cores((40, 80, 120, 88), sure=0.5), id="unsure"),
        pytest.param(cores((40, 80, 52, 92)), id="as high as long"),
        pytest.param(cores((10, 40, 150, 90)), id="a third of the picture"),
        pytest.param(cores((40, 80, 44, 84)), id="a speck"),
        pytest.param(cores((10, 10, 100, 14), (96, 14, 100, 50)), id="a corner"),
    ],
)
def test_what_is_no_line_is_left_out(answer: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    assert boxes_of(answer) == []


def test_the_shipped_network_finds_a_date_and_takes_no_clock_for_one() -> None:
    with Image.open(BytesIO(photo_of_a_clock())) as photo:
        plain = photo.convert("RGB").resize((640, 640))
    dated = plain.copy()
    font = ImageFont.load_default(36)
    ImageDraw.Draw(dated).text((330, 590), "2026-11-26 09:30", fill=(255, 150, 30), font=font)
    finder = PpOcrTextFinder()
    before, after = (finder.find_text(Picture(np.asarray(each), None, 640, 640)) for each in (plain, dated))
    found = [box for box in after if box not in before and box[1] > 0.85]
    assert (len(found), found[0][0] == pytest.approx(0.51, abs=0.05)) == (1, True)
    assert not [box for box in before if box[1] > 0.85]


def test_the_shipped_files_carry_their_licence() -> None:
    assert {"LICENSE", "NOTICE", "README.md", "model.onnx"} <= {path.name for path in WEIGHTS.iterdir()}
    assert (WEIGHTS / "model.onnx").stat().st_size < 5_000_000
