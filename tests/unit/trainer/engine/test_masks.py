"""Masks follow their pictures through crop, bucket and mirror, and weigh the loss without changing its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import TrainItem
from services.trainer.engine.losses import per_sample_loss
from services.trainer.engine.masks import covered, loss_weights
from services.trainer.engine.pictures import mask_in_view, moved, moved_masks, open_picture, render, views_of
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.worker.pictures import decode_original

Make = Callable[..., TrainingParameters]
SIZE = (96, 64)


def item(folder: Path, *, mask_scale: float = 1.0, crop: tuple[float, float, float, float] | None = None) -> TrainItem:
    """A picture that is white where its mask is, soft at the edges."""
    generator = numpy.random.default_rng(7)
    coarse = Image.fromarray(generator.integers(0, 256, (6, 9), numpy.uint8))
    mask = coarse.resize(SIZE, Image.Resampling.BICUBIC)
    mask.convert("RGB").save(folder / "picture.png")
    scaled = round(SIZE[0] * mask_scale), round(SIZE[1] * mask_scale)
    mask.resize(scaled, Image.Resampling.BOX).save(folder / "mask.png")
    return TrainItem(folder / "picture.png", "a", crop=crop, name="dog.png", mask_path=folder / "mask.png")


@pytest.mark.parametrize("crop", [None, (0.25, 0.1, 0.9, 0.8)])
@pytest.mark.parametrize("mask_scale", [0.5, 1.0, 2.0])
def test_the_mask_is_cut_scaled_and_mirrored_as_the_picture(
    parameters: Make, tmp_path: Path, crop: tuple[float, float, float, float] | None, mask_scale: float
) -> None:
    chosen = parameters(masked_loss=True, flip=True, crop_variants=3, crop_jitter=0.3)
    picture = open_picture(item(tmp_path, mask_scale=mask_scale, crop=crop), chosen, decode_original)
    assert picture.use_crop
    views = views_of(picture, (24, 16), chosen)
    assert len(views) == 6
    for view in views:
        pixels = render(picture.image, view, (24, 16))[..., 0] / 255.0
        expected = pixels.reshape(8, 2, 12, 2).mean((1, 3))
        shares = mask_in_view(picture, view, (24, 16), 2)
        assert shares is not None
        # The picture is resampled with Lanczos, the mask by area.
        assert numpy.abs(shares - expected).mean() < 0.04
        assert numpy.corrcoef(shares.ravel(), expected.ravel())[0, 1] > 0.97


def test_the_moved_views_have_their_masks(parameters: Make, tmp_path: Path) -> None:
    picture = open_picture(item(tmp_path), parameters(masked_loss=True), decode_original)
    pixels, masks = moved(picture, (48, 32)), moved_masks(picture, (48, 32), 2)
    assert masks is not None
    for seen, shares in zip(pixels, masks, strict=True):
        expected = seen[..., 0].reshape(16, 2, 24, 2).mean((1, 3)) / 255.0
        inside = shares > 0
        assert numpy.corrcoef(shares[inside], expected[inside])[0, 1] > 0.9
    assert not masks[1].all(), "the border of the farther one is repeated, and not of the subject"


def test_without_a_masked_loss_the_mask_is_not_even_read(parameters: Make, tmp_path: Path) -> None:
    unread = item(tmp_path, crop=(0, 0, 0.5, 1))
    (tmp_path / "mask.png").unlink()
    picture = open_picture(unread, parameters(), decode_original)
    assert (picture.mask, picture.use_crop) == (None, True)
    with pytest.raises(EngineError, match=r"mask of dog\.png is gone") as gone:
        open_picture(unread, parameters(masked_loss=True), decode_original)
    assert gone.value.reason == "MASK_MISSING"
    (tmp_path / "mask.png").write_bytes((tmp_path / "picture.png").read_bytes()[:60])
    with pytest.raises(EngineError, match=r"mask of dog\.png cannot be read") as damaged:
        open_picture(unread, parameters(masked_loss=True), decode_original)
    assert damaged.value.reason == "MASK_UNREADABLE"


@pytest.mark.parametrize("outside", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("side", [1, 4, 16])
def test_a_small_mask_does_not_shrink_the_gradient(outside: float, side: int) -> None:
    shares = numpy.zeros((16, 16), numpy.float32)
    shares[:side, :side] = 1.0
    weights = loss_weights(shares, outside)
    assert float(weights.mean()) == pytest.approx(1.0)
    if side < 16:
        assert float(weights[0, -1, -1] / weights[0, 0, 0]) == pytest.approx(outside)
    prediction, target = torch.full((1, 4, 16, 16), 2.0), torch.zeros(1, 4, 16, 16)
    assert float(per_sample_loss(prediction, target, weights.unsqueeze(0))) == pytest.approx(4.0)


def test_a_view_that_shows_nothing_of_the_mask_trains_nothing() -> None:
    assert not loss_weights(numpy.zeros((8, 8), numpy.float32), 0.1).any()


def test_areas_are_means_and_a_coarse_mask_has_soft_edges() -> None:
    half = Image.fromarray(numpy.repeat([[0, 255]], 4, 0).astype(numpy.uint8).repeat(3, 1))
    assert half.size == (6, 4)
    fine = covered(half, (60, 40), (10.0, 0.0, 50.0, 40.0), (2, 2), mirrored=False)
    assert fine.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    odd = covered(half, (60, 40), (0.0, 0.0, 60.0, 40.0), (4, 4), mirrored=True)
    assert odd[0].tolist() == [1.0, 1.0, 0.0, 0.0]
    coarse = covered(half, (60, 40), (0.0, 0.0, 60.0, 40.0), (24, 16), mirrored=False)
    assert 0.0 < coarse[0, 11] < coarse[0, 12] < 1.0
