"""Photos of one burst are found by what a network saw in them, and only where the same model saw them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from services.dataset.use_cases.likeness import perceptual_hash
from services.trainer.models.audit import Severity
from services.trainer.models.base import PictureFeatures, TrainingImage
from services.trainer.use_cases.near_duplicates import (
    ALIKE,
    AS_IT_IS,
    MIRRORED,
    TURNED,
    bits,
    bits_each_way,
    likenesses,
)
from tests.unit.trainer.test_auditing import audited, good, image

MODEL, OTHER = "a" * 64, "b" * 64
Places = npt.NDArray[np.int8]


def scene(seed: int) -> Places:
    """What a network might see, (5, 5, 32)."""
    return np.random.default_rng(seed).integers(-127, 128, (5, 5, 32)).astype(np.int8)


def seen(places: Places, model: str = MODEL) -> PictureFeatures:
    return PictureFeatures(model, places.tobytes())


def moved(places: Places, down: int, across: int) -> Places:
    """The same scene a step further; what comes into view is new."""
    far = np.concatenate([scene(98), scene(99)]).reshape(10, 5, 32)
    around = np.concatenate([np.concatenate([places, far[:5]]), np.concatenate([far[5:], far[:5]])], axis=1)
    return np.roll(around, (down, across), (0, 1))[:5, :5].copy()


def with_features(features: PictureFeatures | None) -> TrainingImage:
    return image(0, features=features)


def test_a_scene_is_like_itself_and_a_moved_one_and_unlike_others() -> None:
    one = scene(1)
    views = [one, moved(one, 1, 0), moved(one, -1, 1), scene(2)]
    found = likenesses([with_features(seen(view)) for view in views])
    assert np.allclose(found, found.T, atol=1e-5)
    assert np.allclose(found[0, :3], 1, atol=1e-5)
    assert found[0, 3] < 0.3


def test_only_features_of_one_model_and_of_the_right_size_are_compared() -> None:
    same = seen(scene(1))
    images = [same, replace(same, model_sha256=OTHER), None, PictureFeatures(MODEL, b"short"), same]
    found = likenesses([with_features(each) for each in images])
    assert found[0, 4] > 0.99
    assert not found[0, 1:4].any()
    assert not likenesses([with_features(seen(np.zeros((5, 5, 32), np.int8)))] * 2).any()
    assert likenesses([]).shape == (0, 0)
    assert bits([]).shape == (0, 0)


async def test_of_a_burst_all_but_one_are_named_and_it_never_blocks() -> None:
    burst = [image(number, features=seen(moved(scene(1), 0, number))) for number in (0, 1)]
    noisy = np.clip(scene(1).astype(int) + np.random.default_rng(3).integers(-40, 41, (5, 5, 32)), -127, 127)
    burst.append(image(2, features=seen(noisy.astype(np.int8))))
    (finding,) = (await audited([*burst, *good()[3:]])).findings
    assert (finding.kind, finding.images) == ("near-duplicates", (burst[1].name, burst[2].name))
    assert finding.severity is Severity.ATTENTION
    assert finding.message == "2 pictures look the same as another: 1.jpg as 0.jpg, 2.jpg as 0.jpg"
    apart = [replace(each, features=seen(scene(number))) for number, each in enumerate(burst)]
    assert (await audited([*apart, *good()[3:]])).findings == ()


TURNS = [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270]
MIRRORS = [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
           Image.Transpose.TRANSVERSE]  # fmt: skip


def photo(seed: int) -> Image.Image:
    """Large forms and small ones, without symmetry."""
    rng = np.random.default_rng(seed)
    forms = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((420, 300), Image.Resampling.BICUBIC)
    grain = Image.fromarray(rng.integers(0, 256, (300, 420, 3), np.uint8))
    return Image.blend(forms, grain, 0.1)


@pytest.mark.parametrize("turn", [*TURNS, *MIRRORS])
async def test_a_copy_that_was_turned_or_mirrored_is_named_and_said_to_be_so(turn: Image.Transpose) -> None:
    found = [image(number, perceptual_hash=perceptual_hash(photo(number))) for number in range(4)]
    copy = image(4, perceptual_hash=perceptual_hash(photo(2).transpose(turn).resize((200, 200))))
    (finding,) = (await audited([*found, copy])).findings
    way = "turned" if turn in TURNS else "mirrored"
    assert finding.message == f"1 picture looks the same as another: 4.jpg as 2.jpg ({way})"
    assert finding.severity is Severity.ATTENTION


async def test_three_pictures_and_a_mirrored_one_are_not_blocked_as_copies_would_be() -> None:
    found = [image(number, perceptual_hash=perceptual_hash(photo(number))) for number in range(2)]
    mirrored = image(2, perceptual_hash=perceptual_hash(photo(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    kinds = {each.kind: each.severity for each in (await audited([*found, mirrored])).findings}
    assert kinds == {"near-duplicates": Severity.ATTENTION, "too-few": Severity.ATTENTION}


def test_other_pictures_stay_apart_whichever_way_they_are_turned() -> None:
    images = [image(number, perceptual_hash=perceptual_hash(photo(number))) for number in range(30)]
    apart = bits_each_way(images)
    assert (apart == apart.transpose(0, 2, 1)).all()
    assert apart[:, ~np.eye(30, dtype=bool)].min() > ALIKE
    assert apart[[TURNED, MIRRORED]].min() > ALIKE, "nor is one like itself when it is turned"
    assert not apart[AS_IT_IS].diagonal().any()


async def test_what_a_network_saw_of_a_mirrored_photo_is_known_too() -> None:
    pair = [image(0, features=seen(scene(1))), image(1, features=seen(moved(scene(1)[:, ::-1].copy(), 0, 1)))]
    (finding,) = (await audited([*pair, *good()[2:]])).findings
    assert finding.message == "1 picture looks the same as another: 1.jpg as 0.jpg (mirrored)"
