"""Bars are cut to the pixel, and a photograph without bars is left alone."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps

from services.dataset.use_cases.bars import picture_inside, without_bars
from services.dataset.use_cases.picture_facts import picture_facts
from tests.fakes.photographs import photo_of_a_clock

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (200, 30, 60)


def photo() -> Image.Image:
    """Something with structure up to its sides."""
    rng = np.random.default_rng(3)
    cells = Image.fromarray(rng.integers(60, 200, (12, 16, 3), np.uint8))
    return cells.resize((320, 240), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return Image.open(buffer).convert("RGB")


def found(image: Image.Image) -> tuple[int, int, int, int]:
    return without_bars(np.asarray(image, np.uint8))


@pytest.mark.parametrize("colour", [BLACK, WHITE, RED])
@pytest.mark.parametrize(
    "bars", [(0, 40, 0, 40), (60, 0, 60, 0), (12, 12, 12, 12), (50, 30, 50, 30), (0, 31, 0, 0), (0, 45, 0, 20)]
)
def test_bars_of_one_colour_are_cut_to_a_pixel(colour: tuple[int, int, int], bars: tuple[int, int, int, int]) -> None:
    left, top, _, _ = bars
    box = found(as_jpeg(ImageOps.expand(photo(), bars, fill=colour)))
    assert np.abs(np.subtract(box, (left, top, left + 320, top + 240))).max() <= 1


def test_a_letterbox_within_a_frame_is_cut_too() -> None:
    letterboxed = ImageOps.expand(photo(), (0, 40, 0, 40), fill=BLACK)
    box = found(as_jpeg(ImageOps.expand(letterboxed, 20, fill=WHITE)))
    assert np.abs(np.subtract(box, (20, 60, 340, 300))).max() <= 1


@pytest.mark.parametrize(("ground", "ink"), [("white", "black"), ("black", "white")])
def test_the_head_and_foot_of_a_screenshot_are_cut(ground: str, ink: str) -> None:
    shown = photo().resize((1080, 810))
    screen = Image.new("RGB", (1080, 1300), ground)
    screen.paste(shown, (0, 230))
    draw = ImageDraw.Draw(screen)
    draw.text((60, 30), "9:41", fill=ink, font=ImageFont.load_default(40))
    draw.text((400, 130), "My photos", fill=ink, font=ImageFont.load_default(40))
    draw.ellipse((120, 1100, 180, 1160), outline=ink, width=6)
    draw.rectangle((390, 1270, 690, 1280), fill=ink)
    box = found(as_jpeg(screen))
    assert np.abs(np.subtract(box, (0, 230, 1080, 1040))).max() <= 1


def test_photographs_without_bars_are_left_alone() -> None:
    clock = Image.open(BytesIO(photo_of_a_clock())).convert("RGB")
    night = Image.fromarray(np.clip(np.asarray(photo(), np.int16) // 8 - 12, 0, 255).astype(np.uint8))
    for image in (photo(), clock, night):
        assert found(as_jpeg(image)) == (0, 0, *image.size)


def test_a_thing_on_the_white_of_a_studio_is_no_picture_with_bars() -> None:
    studio = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(studio).ellipse((120, 90, 300, 360), fill=RED)
    assert found(as_jpeg(studio)) == (0, 0, 400, 400)


@pytest.mark.parametrize(("ground", "ink"), [(255, 238), (2, 14)])
def test_white_before_white_and_black_before_black_are_no_bars(ground: int, ink: int) -> None:
    studio = Image.new("RGB", (400, 400), (ground,) * 3)
    ImageDraw.Draw(studio).rounded_rectangle((120, 90, 300, 399), 20, fill=(ink,) * 3)
    assert found(as_jpeg(studio)) == (0, 0, 400, 400)


@pytest.mark.parametrize("paper", [(250, 249, 245), (32, 30, 31)])
def test_the_wide_foot_of_an_instant_photo_is_cut_and_what_is_written_on_it(paper: tuple[int, int, int]) -> None:
    instant = ImageOps.expand(photo().resize((300, 300)), (20, 20, 20, 80), fill=paper)
    ImageDraw.Draw(instant).text((60, 340), "Rex, July", fill=(90, 90, 120), font=ImageFont.load_default(30))
    assert np.abs(np.subtract(found(as_jpeg(instant)), (20, 20, 320, 320))).max() <= 1


def test_a_square_photo_in_the_middle_of_a_white_screen_is_cut_out() -> None:
    screen = Image.new("RGB", (540, 1170), "white")
    screen.paste(photo().resize((540, 540)), (0, 250))
    assert np.abs(np.subtract(found(as_jpeg(screen)), (0, 250, 540, 790))).max() <= 1


def test_a_picture_of_one_colour_and_a_tiny_one_are_whole() -> None:
    for size in ((300, 200), (1, 1), (2, 40), (5, 5)):
        assert found(Image.new("RGB", size, RED)) == (0, 0, *size)


def test_the_area_is_given_in_shares_and_the_fact_is_named() -> None:
    barred = ImageOps.expand(photo(), (0, 60, 0, 60), fill=BLACK)
    area = picture_inside(barred)
    assert area is not None
    assert (area.left, area.top, area.right, area.bottom) == (0.0, 60 / 360, 1.0, 300 / 360)
    facts = picture_facts(barred, inside=area)
    assert "bars" in facts
    assert picture_inside(photo()) is None
    assert "underexposed" not in facts
