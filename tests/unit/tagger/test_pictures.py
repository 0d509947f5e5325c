"""A part of a picture keeps its transparency and says how large it is in the original."""

from __future__ import annotations

import numpy as np

from services.tagger.models.pictures import Picture


def test_a_part_has_its_own_pixels_transparency_and_size() -> None:
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    picture = Picture(rgb, rgb[..., 0], 600, 400)
    part = picture.part((0.5, 0.25, 1.0, 0.75))
    assert (part.width, part.height) == (300, 200)
    assert part.alpha is not None
    assert (part.rgb == rgb[1:3, 3:]).all()
    assert (part.alpha == rgb[1:3, 3:, 0]).all()
    assert picture.part(None) is picture


def test_the_smallest_part_is_a_pixel() -> None:
    picture = Picture(np.zeros((4, 6, 3), np.uint8), None, 6, 4)
    part = picture.part((0.999, 0.999, 1.0, 1.0))
    assert (part.rgb.shape, part.width, part.height) == ((1, 1, 3), 1, 1)
