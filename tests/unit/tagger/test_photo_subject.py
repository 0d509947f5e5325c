from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.photo_subject import box_of
from services.tagger.models.pictures import Picture
from tests.fakes.photographs import photo_of_a_clock
from tests.unit.tagger.drawings import drawing

WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_the_box_holds_all_that_is_excited_with_a_margin() -> None:
    places = np.zeros((20, 20), np.float32)
    places[6:10, 4:8] = 1.0
    places[12, 15] = 0.3
    places[0, 0] = 0.1
    assert box_of(places) == pytest.approx((0.12, 0.22, 0.88, 0.73))


def test_a_plain_ground_has_no_subject() -> None:
    assert box_of(np.zeros((20, 20), np.float32)) is None


def test_a_clock_on_an_empty_wall_is_found() -> None:
    with Image.open(BytesIO(photo_of_a_clock())) as file:
        clock = file.convert("RGB").resize((300, 300))
    rng = np.random.default_rng(0)
    shades = (np.array([150, 120, 96]) + rng.normal(0, 6, (12, 16, 1))).clip(0, 255).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(shades).resize((800, 600), Image.Resampling.BICUBIC), np.float64)
    wall = Image.fromarray((smooth + rng.normal(0, 1.5, (600, 800, 1))).clip(0, 255).astype(np.uint8))
    round_ = Image.new("L", clock.size)
    ImageDraw.Draw(round_).ellipse((30, 30, 270, 270), fill=255)
    wall.paste(clock, (60, 40), round_)
    tagger, picture = PhotoOnnxTagger(), Picture(np.asarray(wall, np.uint8), None, 800, 600)
    whole, part = tagger.find_subject(picture, WHOLE), tagger.find_subject(picture, (0.0, 0.0, 0.5, 1.0))
    assert whole is not None
    assert part is not None
    # The clock's own box is (0.11, 0.12) to (0.41, 0.52) of the wall.
    assert (whole[0] <= 0.11, whole[1] <= 0.12, 0.41 <= whole[2] < 0.85, 0.52 <= whole[3] < 0.92) == (True,) * 4
    assert part[2] > whole[2] + 0.05, "shares are of the part that was looked at"


def test_a_drawing_is_not_looked_at() -> None:
    assert PhotoOnnxTagger().find_subject(drawing((255, 255, 255), (200, 30, 40)), WHOLE) is None
