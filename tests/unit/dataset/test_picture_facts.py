from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from services.dataset.use_cases.picture_facts import FACTS, picture_facts, sharpness
from tests.unit.tagger.drawings import drawing, photograph

FAULTS = {"blurry", "underexposed", "overexposed", "low contrast", "high contrast"}


def photo(seed: int = 0, **how: float) -> Image.Image:
    return Image.fromarray(photograph(seed, **how).rgb)


def drawn(ground: tuple[int, int, int], subject: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(drawing(ground, subject).rgb)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 640), {"square"}), ((660, 640), {"square"}), ((800, 640), {"landscape"}), ((640, 800), {"portrait"}),
        ((300, 400), {"portrait", "low resolution"}), ((4000, 2048), {"landscape", "high resolution"}),
    ],
)  # fmt: skip
def test_shape_and_resolution(size: tuple[int, int], expected: set[str]) -> None:
    found = set(picture_facts(Image.new("RGB", size, (200, 40, 40))))
    assert found & {"square", "landscape", "portrait", "low resolution", "high resolution"} == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_good_photograph_has_no_fault(seed: int) -> None:
    assert picture_facts(photo(seed)) == ("square",)


@pytest.mark.parametrize("seed", range(4))
def test_faults_of_photographs(seed: int) -> None:
    assert "underexposed" in picture_facts(photo(seed, brightness=0.08))
    assert "overexposed" in picture_facts(photo(seed, brightness=4.0))
    assert "blurry" in picture_facts(photo(seed, blur=3.0))
    assert "low contrast" in picture_facts(photo(seed, contrast=0.2))


def test_a_faint_but_sharp_photograph_is_not_blurry() -> None:
    assert "blurry" not in picture_facts(photo(contrast=0.2))


def test_sharpness_falls_with_every_pixel_of_blur() -> None:
    measured = [sharpness(photo(blur=blur)) for blur in (0.0, 1.0, 2.0, 4.0)]
    details = [pair[0] for pair in measured if pair is not None]
    assert len(details) == 4
    assert details == sorted(details, reverse=True)


def test_nothing_is_said_about_the_sharpness_of_smooth_or_tiny_pictures() -> None:
    assert sharpness(Image.new("RGB", (600, 600), (128, 128, 128))) is None
    assert sharpness(photo().crop((0, 0, 60, 60))) is None


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0)])
def test_exposure_and_blur_are_not_said_of_drawings(ground: tuple[int, int, int]) -> None:
    assert not set(picture_facts(drawn(ground, (200, 30, 30)))) & FAULTS


@pytest.mark.parametrize("level", [0, 120, 255])
def test_a_picture_of_one_colour_is_blank_and_one_with_a_small_thing_is_not(level: int) -> None:
    cap = Image.new("RGB", (900, 700), (level, level, max(0, level - 3)))
    assert "blank" in picture_facts(cap)
    grain = np.random.default_rng(0).normal(level, 6, (700, 900, 3)).clip(0, 255)
    assert "blank" in picture_facts(Image.fromarray(grain.astype(np.uint8)))
    cap.paste((level ^ 64,) * 3, (400, 300, 500, 400))
    assert "blank" not in picture_facts(cap)
    assert "blank" not in picture_facts(photo(brightness=0.08))


@pytest.mark.parametrize(("ground", "brightness"), [(255, 0.5), (0, 1.0)])
def test_before_a_studios_white_or_black_only_what_stands_there_is_judged(ground: int, brightness: float) -> None:
    def before_it(how: float) -> set[str]:
        studio = Image.new("RGB", (700, 700), (ground,) * 3)
        studio.paste(photo(brightness=how).resize((400, 400)), (150, 300))
        return set(picture_facts(studio)) & {"underexposed", "overexposed"}

    assert before_it(brightness) == set()
    assert before_it(4.0 if ground else 0.05) == {"overexposed" if ground else "underexposed"}


def _ball(ground: int, darkest: float, lightest: float, shine: int) -> Image.Image:
    """A ball before a ground of its own colour, lit from above at the left, with grain and a highlight."""
    down, across = np.mgrid[-1:1:700j, -1:1:700j]
    inside = down**2 + across**2 < 0.36
    lit = np.clip(0.5 - 0.6 * (down + across), 0, 1)
    levels = np.where(inside, darkest + (lightest - darkest) * lit, ground)
    levels[(down + 0.25) ** 2 + (across + 0.25) ** 2 < 0.03] = shine
    levels += np.where(inside, np.random.default_rng(0).normal(0, 3, levels.shape), 0)
    return Image.fromarray(np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("ground", "darkest", "lightest", "shine"), [(255, 165, 246, 249), (253, 205, 248, 255), (0, 9, 40, 190)]
)
def test_white_before_white_and_black_before_black_are_well_lit_when_their_form_shows(
    ground: int, darkest: float, lightest: float, shine: int
) -> None:
    assert not FAULTS & set(picture_facts(_ball(ground, darkest, lightest, shine))) - {"low contrast"}


@pytest.mark.parametrize(
    ("ground", "darkest", "lightest", "shine", "fault"),
    [(255, 225, 330, 255, "overexposed"), (0, -10, 22, 22, "underexposed")],
)
def test_what_is_burnt_out_before_white_or_sunk_before_black_is_said(
    ground: int, darkest: float, lightest: float, shine: int, fault: str
) -> None:
    assert fault in picture_facts(_ball(ground, darkest, lightest, shine))


@pytest.mark.parametrize(("white", "burnt"), [(0.15, False), (0.4, True)])
def test_white_cloth_in_good_light_is_not_burnt_out(white: float, burnt: bool) -> None:
    rng = np.random.default_rng(1)
    cloth = np.asarray(Image.fromarray(rng.integers(196, 247, (9, 9), np.uint8)).resize((600, 600)), np.float64)
    cloth += rng.normal(0, 2, cloth.shape)
    cloth[:, : round(600 * white)] = 255
    bed = Image.fromarray(np.repeat(cloth.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))
    assert ("overexposed" in picture_facts(bed)) is burnt


def test_greys_only() -> None:
    assert "greyscale" in picture_facts(photo().convert("L").convert("RGB"))
    assert "greyscale" not in picture_facts(photo())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (40, 40), (16_000, 16)])
def test_pictures_of_any_size_are_measured(size: tuple[int, int]) -> None:
    for pixels in (np.full((size[1], size[0], 3), 90, np.uint8), _noise(size)):
        found = picture_facts(Image.fromarray(pixels))
        assert "low resolution" in found
        assert set(found) <= set(FACTS)


def _noise(size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
