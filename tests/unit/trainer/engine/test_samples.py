"""From pictures to batches: crops, variants, captions, the order of an epoch, cached latents and embeddings."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from services.trainer.engine.batches import draw_pass, epoch_steps
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import BaseModelFiles, TrainItem
from services.trainer.engine.latents import BucketLatents, LatentEncoder
from services.trainer.engine.pictures import View, moved, open_picture, region_in_view, render, views_of
from services.trainer.engine.regularization import load_regularization
from services.trainer.recipe.buckets import Bucket
from services.trainer.recipe.captions import sample_caption
from services.trainer.recipe.catalogue import REGULARIZATION_FILE
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import count_steps, regularization_pictures
from services.trainer.worker.pictures import decode_original

Make = Callable[..., TrainingParameters]


@pytest.fixture(scope="module")
def family(base_model: BaseModelFiles) -> Family:
    return load_family(base_model, torch.device("cpu"), torch.float32)


def test_shuffled_captions_keep_their_first_parts_and_all_words(parameters: Make) -> None:
    chosen = parameters(shuffle_caption=True, keep_tokens=1, caption_dropout=0.0)
    texts = {sample_caption("sks, a, b, c", chosen, random.Random(seed)) for seed in range(40)}
    assert len(texts) == 6
    assert all(text.startswith("sks, ") and sorted(text.split(", ")) == ["a", "b", "c", "sks"] for text in texts)
    dropped = [sample_caption("x", parameters(caption_dropout=0.5), random.Random(seed)) for seed in range(200)]
    assert 70 < dropped.count("") < 130


def test_an_epoch_shows_every_picture_as_often_as_planned(parameters: Make) -> None:
    buckets = [Bucket(16, 16, (0, 2), (3, 4)), Bucket(32, 16, (1,), (5,))]
    chosen = parameters(batch_size=2, gradient_accumulation_steps=2)
    steps = epoch_steps(buckets, chosen, 0)
    seen = Counter(item for step in steps for forward in step for item in forward.items)
    assert seen == {0: 3, 1: 5, 2: 4}
    assert len(steps) == count_steps([7, 5], 2, 2, 1).steps_per_epoch
    assert all(set(forward.items) <= {0, 2} for step in steps for forward in step if forward.bucket == 0)
    assert steps == epoch_steps(buckets, chosen, 0)
    assert steps != epoch_steps(buckets, chosen, 1)


def test_regularisation_pictures_come_on_top_with_their_weight(parameters: Make) -> None:
    rows = torch.zeros(6, 4, 8, 8)
    latents = BucketLatents(16, 16, rows, rows, None, {0: (0, 1), 1: (2, 3)}, (4, 5))
    chosen = parameters(regularization_fraction=0.5, prior_weight=0.25, caption_dropout=0.0)
    forward = epoch_steps([Bucket(16, 16, (0, 1), (2, 2))], parameters(batch_size=4), 0)[0][0]
    drawn = draw_pass(forward, latents, ["s0", "s1"], ["r0", "r1"], chosen, step=3, position=0)
    assert len(drawn.rows) == 6
    assert drawn.weights == (1.0,) * 4 + (0.25,) * 2
    assert all(
        row in (4, 5) and text == f"r{row - 4}" for row, text in zip(drawn.rows[4:], drawn.captions[4:], strict=True)
    )
    assert drawn == draw_pass(forward, latents, ["s0", "s1"], ["r0", "r1"], chosen, step=3, position=0)


@pytest.mark.parametrize(("fraction", "batch_size"), [(0.25, 1), (0.1, 4), (0.1, 1), (0.3, 4), (1.5, 1), (0.5, 4)])
def test_the_share_of_regularisation_pictures_holds_over_a_few_steps(
    parameters: Make, fraction: float, batch_size: int
) -> None:
    rows = torch.zeros(6, 4, 8, 8)
    latents = BucketLatents(16, 16, rows, rows, None, {0: (0, 1), 1: (2, 3)}, (4, 5))
    chosen = parameters(regularization_fraction=fraction, batch_size=batch_size, num_repeats=60)
    forwards = [step[0] for step in epoch_steps([Bucket(16, 16, (0, 1), (60, 60))], chosen, 0)]

    def extra(step: int) -> int:
        drawn = draw_pass(forwards[step], latents, ["s0", "s1"], ["r0", "r1"], chosen, step=step, position=0)
        return len(drawn.rows) - batch_size

    found = [extra(step) for step in range(len(forwards))]
    for first in range(0, len(found) - 10):
        share = sum(found[first : first + 10]) / (10 * batch_size)
        assert share == pytest.approx(fraction, abs=1 / (10 * batch_size))
    assert set(found) <= {int(fraction * batch_size), int(fraction * batch_size) + 1}
    assert [extra(step) for step in range(len(forwards))] == found, "a resumed run draws the same"


def test_a_share_that_fits_a_batch_is_the_same_in_every_pass() -> None:
    for fraction, samples in ((1.0, 8), (0.5, 4), (0.1, 30), (0.7, 10), (0.25, 4), (0.0, 3)):
        counts = {regularization_pictures(fraction, before, samples) for before in range(5_000)}
        assert counts == {round(fraction * samples)}


@pytest.mark.parametrize(
    ("repeats", "batch_size", "accumulation", "fraction"),
    [((5,), 5, 4, 0.05), ((5,), 5, 2, 0.1), ((1, 2, 2), 1, 4, 0.25), ((9, 1), 4, 64, 0.1), ((3,), 2, 3, 0.5)],
)
def test_the_share_holds_whatever_is_left_over_of_an_epoch(
    parameters: Make, repeats: tuple[int, ...], batch_size: int, accumulation: int, fraction: float
) -> None:
    """Neither a last step of fewer passes nor a last pass of fewer samples takes from it or adds to it."""
    buckets = [Bucket(16, 16, (number,), (count,)) for number, count in enumerate(repeats)]
    chosen = parameters(
        regularization_fraction=fraction, batch_size=batch_size, gradient_accumulation_steps=accumulation
    )
    passes = [forward for epoch in range(12) for step in epoch_steps(buckets, chosen, epoch) for forward in step]
    drawn, seen = 0, 0
    for forward in passes:
        assert forward.before == seen
        drawn += regularization_pictures(fraction, forward.before, len(forward.items))
        seen += len(forward.items)
        assert drawn == pytest.approx(fraction * seen, abs=0.5)
    assert drawn > 0


def picture(folder: Path, size: tuple[int, int], parameters: TrainingParameters, **options: Any) -> Any:
    image = Image.fromarray(numpy.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=numpy.uint8))
    path = folder / "p.png"
    image.save(path)
    return open_picture(TrainItem(path, "a ball", **options), parameters, decode_original)


def test_views_stay_inside_the_crop_and_have_its_shape(parameters: Make, tmp_path: Path) -> None:
    chosen = parameters(crop_variants=5, crop_jitter=0.2, flip=True)
    loaded = picture(tmp_path, (80, 40), chosen, crop=(0.25, 0.0, 1.0, 1.0))
    views = views_of(loaded, (16, 16), chosen)
    assert len(views) == 10
    for view in views:
        left, top, right, bottom = view.box
        assert left >= 20.0
        assert right <= 80.0 + 1e-6
        assert top >= 0.0
        assert bottom <= 40.0 + 1e-6
        assert (right - left) / (bottom - top) == pytest.approx(1.0)
        assert render(loaded.image, view, (16, 16)).shape == (16, 16, 3)
    assert len({view.box for view in views}) == 5
    assert views == views_of(loaded, (16, 16), chosen)
    plain, mirrored = (render(loaded.image, view, (16, 16)) for view in views[:2])
    assert numpy.array_equal(plain[:, ::-1], mirrored)


def test_a_tall_picture_is_cut_below_its_head(parameters: Make, tmp_path: Path) -> None:
    loaded = picture(tmp_path, (40, 120), parameters())
    left, top, right, bottom = views_of(loaded, (16, 16), parameters())[0].box
    assert (left, right) == (0.0, 40.0)
    assert (top + bottom) / 2 == pytest.approx(40.0)


def test_a_masked_loss_keeps_the_picture_whole(parameters: Make, tmp_path: Path) -> None:
    chosen = parameters(masked_loss=True, flip=True)
    loaded = picture(tmp_path, (40, 40), chosen, crop=(0.5, 0.0, 1.0, 0.5))
    plain, mirrored = views_of(loaded, (16, 16), chosen)
    assert plain.box == (0.0, 0.0, 40.0, 40.0)
    assert region_in_view(loaded, plain) == (0.5, 0.0, 1.0, 0.5)
    assert region_in_view(loaded, mirrored) == (0.0, 0.0, 0.5, 0.5)


def test_moved_views_are_mirrored_and_of_another_size(parameters: Make, tmp_path: Path) -> None:
    pixels = numpy.full((64, 96, 3), 255, numpy.uint8)
    pixels[16:48, 8:24] = 0  # a bar to the left of the middle
    path = tmp_path / "bar.png"
    Image.fromarray(pixels).save(path)
    picture = open_picture(TrainItem(path, "a bar"), parameters(), decode_original)
    nearer, farther = moved(picture, (48, 32))
    assert nearer.shape == farther.shape == (32, 48, 3)
    plain_area = (render(picture.image, View((0.0, 0.0, 96.0, 64.0), False), (48, 32)) < 128).sum()
    assert 0 < (farther < 128).sum() < plain_area
    assert numpy.argwhere(farther[..., 0] < 128)[:, 1].mean() > 24, "mirrored: the bar is on the right"
    assert numpy.array_equal(moved(picture, (48, 32)), [nearer, farther])


def test_latents_come_from_the_cache_the_second_time(family: Family, parameters: Make, tmp_path: Path) -> None:
    loaded = picture(tmp_path, (40, 40), parameters())

    def encode(digest: str, **changes: Any) -> tuple[Any, int]:
        encoder = LatentEncoder(family, digest, tmp_path / "cache", lambda: None)
        posterior, _, _ = encoder.encode_pictures({0: loaded}, (16, 16), parameters(**changes))
        return posterior, len(list((tmp_path / "cache").rglob("*.safetensors")))

    first, files = encode("model")
    assert files == 1
    again, files = encode("model")
    assert files == 1
    assert torch.equal(first.mean, again.mean)
    assert torch.equal(first.std, again.std)
    assert encode("other model")[1] == 2
    assert encode("model", flip=True)[1] == 3
    damaged = next((tmp_path / "cache").rglob("*.safetensors"))
    damaged.write_bytes(b"half")
    assert torch.equal(encode("model")[0].mean, first.mean)
    assert first.mean.shape == (1, 4, 8, 8)


def test_regularisation_pictures_are_read_and_checked(base_model: BaseModelFiles, tmp_path: Path) -> None:
    files = dataclasses.replace(base_model, source=str(tmp_path))
    pictures = numpy.zeros((2, 16, 16, 3), dtype=numpy.uint8)
    save_file({"pictures": pictures}, tmp_path / REGULARIZATION_FILE, {"captions": json.dumps(["a", "b"])})
    loaded = load_regularization(files)
    assert loaded.captions == ("a", "b")
    assert loaded.resized(32, 16).shape == (2, 16, 32, 3)
    single = dataclasses.replace(files, source=str(tmp_path / "one.safetensors"), config_source=str(tmp_path))
    assert load_regularization(single).digest == loaded.digest
    save_file({"pictures": pictures}, tmp_path / REGULARIZATION_FILE, {"captions": json.dumps(["a"])})
    with pytest.raises(EngineError) as caught:
        load_regularization(files)
    assert caught.value.reason == "BASE_MODEL_CORRUPT"


class CountingFamily:
    """Counts the captions that are encoded."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self.device = family.device
        self.facts = family.facts
        self.encoded: list[str] = []
        self.batches: list[int] = []

    def token_ids(self, captions: Sequence[str]) -> dict[str, torch.Tensor]:
        self.encoded += captions
        return self._family.token_ids(captions)

    def encode_tokens(self, tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.batches.append(len(tokens["text_encoder"]))
        return self._family.encode_tokens(tokens)

    def encode_text(self, captions: Sequence[str]) -> dict[str, torch.Tensor]:
        return self.encode_tokens(self.token_ids(captions))


def test_captions_are_encoded_once_while_the_text_encoder_is_frozen(family: Family) -> None:
    counting: Any = CountingFamily(family)
    conditioner = TextConditioner(counting, trained=False, limit=2)
    rows = conditioner.encode(conditioner.inputs(["a", "b", "a"]))["encoder_hidden_states"]
    assert counting.encoded == ["a", "b"]
    assert torch.equal(rows[0], rows[2])
    torch.testing.assert_close(rows[1], family.encode_text(["b"])["encoder_hidden_states"][0])
    conditioner.inputs(["b", "a"])
    assert counting.encoded == ["a", "b"]
    conditioner.inputs(["c"])
    conditioner.inputs(["b"])
    assert counting.encoded == ["a", "b", "c", "b"]
    assert set(counting.batches) == {1}


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_a_trained_text_encoder_is_asked_at_every_step_inside_the_step(family: Family, fixed_shapes: bool) -> None:
    counting: Any = CountingFamily(family)
    trained = TextConditioner(counting, trained=True, fixed_shapes=fixed_shapes)
    inputs = trained.inputs(["a", "b", "a"])
    assert counting.batches == []
    rows = trained.encode(inputs)["encoder_hidden_states"]
    trained.encode(inputs)
    assert counting.batches == ([3, 3] if fixed_shapes else [2, 2])
    expected = family.encode_text(["a", "b"])["encoder_hidden_states"]
    torch.testing.assert_close(rows, expected[[0, 1, 0]])
