"""What is kept of a network's middle layer: means over 5 x 5 places, one byte a number."""

from __future__ import annotations

import numpy as np

from services.tagger.adapters.photo_features import kept


def test_a_place_is_the_mean_of_its_part_and_the_largest_number_is_127() -> None:
    planes = np.zeros((32, 9, 9), np.float32)
    planes[3, :, :] = 2.0
    planes[7, 0, 0] = -4.05
    places = np.frombuffer(kept(planes), np.int8).reshape(5, 5, 32)
    assert (places[:, :, 3] == 127).all()
    # A place is 1.8 rows high and wide, so the corner is 1 of its 3.24.
    assert places[0, 0, 7] == round(-4.05 / 3.24 / 2.0 * 127)
    assert not places[1:, :, 7].any()


def test_rows_across_a_border_count_for_both_places() -> None:
    planes = np.zeros((32, 9, 9), np.float32)
    planes[0, 1] = 1.0
    places = np.frombuffer(kept(planes), np.int8).reshape(5, 5, 32)
    assert (places[0, 0, 0], places[1, 0, 0], places[2, 0, 0]) == (127, round(127 * 0.2 / 0.8), 0)


def test_nothing_is_kept_of_a_picture_without_anything() -> None:
    assert kept(np.zeros((32, 9, 9), np.float32)) == b""
