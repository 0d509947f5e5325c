from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

from services.dataset.use_cases.likeness import perceptual_hash


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((400, 300), Image.Resampling.BICUBIC)


def distance(one: Image.Image, other: Image.Image) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count()


def test_a_smaller_or_lighter_copy_looks_the_same() -> None:
    assert distance(picture(1), picture(1).resize((160, 120))) <= 2
    assert distance(picture(1), ImageEnhance.Brightness(picture(1)).enhance(1.05)) <= 6


def test_other_pictures_look_different() -> None:
    assert min(distance(picture(1), picture(seed)) for seed in range(2, 12)) > 12


def test_a_picture_without_form_looks_like_none() -> None:
    assert perceptual_hash(Image.new("RGB", (64, 64), "red")) == ""
