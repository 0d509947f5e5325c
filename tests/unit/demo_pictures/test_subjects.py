"""The demo's subjects: the same everywhere, five different views of one thing, captions that say where it is."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from PIL import Image

from gateway.demo_pictures import KINDS, TRIGGER_WORD, draw_subject
from gateway.demo_pictures.backgrounds import COLOURS, draw_background
from gateway.demo_pictures.canvas import Canvas, reduce_to, shade, star_points
from gateway.demo_pictures.subjects import AMBER, LIME, NAVY, ROUGE, TEAL, VIOLET


@pytest.mark.parametrize("kind", list(KINDS))
def test_views_are_repeatable_and_differ(kind: str) -> None:
    views = draw_subject(kind, 5, seed=3, size=48)
    again = draw_subject(kind, 5, seed=3, size=48)
    digests = {hashlib.sha256(picture.tobytes()).hexdigest() for picture, _ in views}
    assert [p.tobytes() for p, _ in views] == [p.tobytes() for p, _ in again]
    assert len(digests) == 5
    for picture, caption in views:
        assert picture.size == (48, 48)
        assert picture.mode == "RGB"
        assert caption.startswith(f"a photo of {TRIGGER_WORD} {KINDS[kind][0]} ")


def test_another_hue_is_another_subject_in_the_same_places() -> None:
    (own, caption), (turned, same) = (draw_subject("mascot", 1, seed=1, size=64, hue=hue)[0] for hue in (0, 120))
    assert caption == same
    changed = np.abs(np.asarray(own).astype(int) - np.asarray(turned)).max(axis=2) > 40
    assert 0.1 < changed.mean() < 0.6, "the subject is recoloured, its background is not"
    assert not changed[0].any()
    assert draw_subject("mascot", 1, seed=1, size=64, hue=360)[0][0].tobytes() == own.tobytes()


def test_more_views_begin_with_the_same_ones() -> None:
    few, many = draw_subject("toy", 5, seed=1, size=32), draw_subject("toy", 8, seed=1, size=32)
    assert [caption for _, caption in few] == [caption for _, caption in many[:5]]
    assert [picture.tobytes() for picture, _ in few] == [picture.tobytes() for picture, _ in many[:5]]


@pytest.mark.parametrize(
    ("kind", "colours"), [("mascot", (TEAL, AMBER)), ("animal", (LIME, VIOLET)), ("vehicle", (ROUGE, NAVY))]
)
def test_a_subject_keeps_its_colours_in_every_view(kind: str, colours: tuple[tuple[int, int, int], ...]) -> None:
    for picture, _ in draw_subject(kind, 5, seed=2, size=96):
        pixels = np.asarray(picture).astype(int)
        for colour in colours:
            share = (np.abs(pixels - colour).max(-1) < 12).mean()
            assert share > 0.01, f"{colour} covers {share:.2%}"


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="known: mascot, animal, vehicle, toy"):
        draw_subject("unicorn", 5, seed=1)
    with pytest.raises(ValueError, match="at least 1"):
        draw_subject("toy", 0, seed=1)


@pytest.mark.parametrize("kind", ["plain", "gradient", "stripes", "dots", "meadow", "night", "beach", "snow", "teal"])
def test_backgrounds_name_the_colours_they_show(kind: str) -> None:
    background = draw_background(kind, random.Random(4), 64)
    assert background.image.size == (64, 64)
    for name in background.colours:
        assert name in background.caption
        distance = np.abs(np.asarray(background.image).astype(int) - COLOURS[name]).max(-1)
        assert (distance <= 20).mean() > 0.02, f"no {name} in {background.caption}"


def test_canvas_draws_in_unit_coordinates() -> None:
    small, large = Canvas(32), Canvas(128)
    for canvas in (small, large):
        canvas.ellipse((0.5, 0.5), (0.4, 0.2), (255, 0, 0))
        canvas.polygon(star_points((0.5, 0.5), 0.2), (0, 255, 0))
        canvas.erase_ellipse((0.5, 0.5), (0.05, 0.05))
    shrunk = np.asarray(reduce_to(large.image, 32)).astype(int)
    assert np.abs(np.asarray(small.image).astype(int) - shrunk).mean() < 12
    assert isinstance(large.image, Image.Image)
    assert large.image.getpixel((64, 64)) == (0, 0, 0, 0)


def test_shades_go_to_black_and_to_white() -> None:
    assert shade((200, 100, 50), 0.5) == (100, 50, 25)
    assert shade((200, 100, 50), 2.0) == (255, 255, 255)
    assert shade((200, 100, 50), 1.0) == (200, 100, 50)
