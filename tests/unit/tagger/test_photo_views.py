from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from services.tagger.adapters.photo_views import SIDE, as_input, close_up, overview, without_bars
from tests.unit.tagger.drawings import photograph


def test_bars_are_cut_off_on_all_sides() -> None:
    framed = np.zeros((800, 1000, 3), np.uint8)
    framed[80:720, 180:820] = photograph().rgb
    assert without_bars(framed).size == pytest.approx((640, 640), abs=16)


def test_the_empty_ground_about_a_small_thing_is_cut_off() -> None:
    scene = np.full((900, 900, 3), 230, np.uint8)
    scene[500:740, 100:340] = photograph().rgb[:240, :240]
    cut = without_bars(scene)
    assert max(cut.size) < 280


@pytest.mark.parametrize("shape", [(640, 640), (1, 1), (1, 3000), (3000, 1), (16, 16_000), (2, 2)])
def test_pictures_of_any_shape_have_views(shape: tuple[int, int]) -> None:
    image = without_bars(np.full((*shape, 3), 90, np.uint8))
    views = [*overview(image), close_up(image, np.zeros((5, 9, 9), np.float32))]
    assert as_input(views).shape == (4, 3, SIDE, SIDE)


def test_a_picture_without_bars_stays_whole() -> None:
    assert without_bars(photograph().rgb).size == (640, 640)


def test_the_close_up_shows_the_place_that_speaks_for_a_class() -> None:
    rgb = np.zeros((640, 640, 3), np.uint8)
    rgb[427:498, 71:142] = (255, 0, 0)
    evidence = np.zeros((4, 9, 9), np.float32)
    evidence[2, 6, 1] = 8.0
    view = np.asarray(close_up(Image.fromarray(rgb), evidence))
    assert (view[..., 0] > 128).mean() > 3 * (rgb[..., 0] > 128).mean()


def test_the_networks_input_is_centred_and_scaled() -> None:
    """(x - 127) / 128, planes first, as EfficientNet-Lite was trained."""
    view = Image.new("RGB", (SIDE, SIDE), (255, 127, 0))
    planes = as_input([view])[0, :, 0, 0]
    assert planes.tolist() == [1.0, 0.0, -127 / 128]
