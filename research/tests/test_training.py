"""Training on a miniature: resume, averaging, validation, warm start, autoencoder loss, the card."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from research.fiveshot_tiny.config import CPU64, SIZES, Size
from research.fiveshot_tiny.distributed import Group
from research.fiveshot_tiny.evaluation import GRID_PROMPTS, contact_sheet, sample_pictures, validation_loss
from research.fiveshot_tiny.latents import LatentSet, encode_pictures
from research.fiveshot_tiny.models import Denoiser, assemble_pipeline, build_denoiser, build_vae, warm_start_denoiser
from research.fiveshot_tiny.optimizer import MuonWithAdamW
from research.fiveshot_tiny.state import Average, Progress, load_state, save_state
from research.fiveshot_tiny.train_denoiser import Batches, Run, learning_rate_factor, train_denoiser
from research.fiveshot_tiny.train_vae import reconstruction_loss, reconstruction_psnr

TINY: Size = replace(
    CPU64,
    name="tiny",
    resolution=16,
    vae_channels=(8, 8, 8),
    latent_channels=4,
    unet_channels=(32, 32, 32),
    text_width=32,
    text_layers=1,
    batch_size=4,
)


@pytest.fixture(scope="module")
def scenes() -> LatentSet:
    generator = torch.Generator().manual_seed(0)
    return LatentSet(torch.randn(6, 4, 4, 4, generator=generator).half(), [f"a dog {i}" for i in range(6)])


def _denoiser(seed: int = 0) -> Denoiser:
    torch.manual_seed(seed)
    return build_denoiser(TINY)


class _Training:
    def __init__(self, scenes: LatentSet, seed: int = 0) -> None:
        self.denoiser = _denoiser(seed)
        self.parameters = self.denoiser.named_parameters()
        self.average = Average(self.parameters, 0.9)
        self.optimizer = MuonWithAdamW(self.parameters, weight_decay=0.01, group=Group())
        self.batches = Batches(scenes, scenes, self.denoiser, TINY, Group(), "cpu")
        self.progress = Progress()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            torch.autograd.backward(self.batches.loss(self.progress.steps))
            Group().average_gradients(list(self.parameters.values()))
            self.optimizer.step(1e-3)
            self.average.update(self.progress.steps)
            for parameter in self.parameters.values():
                parameter.grad = None
            self.progress.steps += 1


@pytest.mark.smoke
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(scenes: LatentSet, tmp_path: Path) -> None:
    whole = _Training(scenes)
    whole.run(6)
    first = _Training(scenes)
    first.run(3)
    save_state(tmp_path, first.denoiser, first.average, first.optimizer, first.progress)
    second = _Training(scenes, seed=7)
    progress = load_state(tmp_path, second.denoiser, second.average, second.optimizer)
    assert progress is not None
    second.progress = progress
    second.run(3)
    assert second.progress.steps == 6
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, second.parameters[name]), name
    for name, value in whole.average.state().items():
        assert torch.equal(value, second.average.state()[name]), name


@pytest.mark.smoke
def test_without_state_nothing_changes(tmp_path: Path, scenes: LatentSet) -> None:
    training = _Training(scenes)
    before = [p.clone() for p in training.parameters.values()]
    assert load_state(tmp_path, training.denoiser, training.average, training.optimizer) is None
    assert all(torch.equal(a, b) for a, b in zip(before, training.parameters.values(), strict=True))


def test_batches_depend_on_step_and_rank_only(scenes: LatentSet) -> None:
    denoiser = _denoiser()
    denoiser.train(False)
    one, two = (Batches(scenes, scenes, denoiser, TINY, Group(rank, 2), "cpu") for rank in (0, 1))
    assert torch.equal(one.loss(5), one.loss(5))
    assert not torch.equal(one.loss(5), one.loss(6))
    assert not torch.equal(one.loss(5), two.loss(5))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_batch_takes_its_share_from_each_kind_of_scene(scenes: LatentSet, share: float) -> None:
    denoiser = _denoiser()
    denoiser.train(False)
    other = LatentSet(scenes.latents + 1, scenes.captions)
    size = replace(TINY, photographic_share=share)
    kinds = {"both": (scenes, scenes), "drawn": (other, scenes), "photographic": (scenes, other)}
    losses = {name: Batches(*sets, denoiser, size, Group(), "cpu").loss(3) for name, sets in kinds.items()}
    taken, left = ("photographic", "drawn") if share else ("drawn", "photographic")
    assert not torch.equal(losses[taken], losses["both"])
    assert torch.equal(losses[left], losses["both"])


def test_swapping_the_average_twice_gives_the_parameters_back(scenes: LatentSet) -> None:
    training = _Training(scenes)
    training.run(2)
    before = [p.clone() for p in training.parameters.values()]
    training.average.swap()
    assert any(not torch.equal(a, b) for a, b in zip(before, training.parameters.values(), strict=True))
    training.average.swap()
    assert all(torch.equal(a, b) for a, b in zip(before, training.parameters.values(), strict=True))


@pytest.mark.smoke
def test_validation_loss_is_repeatable_and_near_the_variance_before_training(scenes: LatentSet) -> None:
    denoiser = _denoiser()
    denoiser.train(False)
    loss = validation_loss(denoiser, scenes, batch_size=4)
    assert loss == validation_loss(denoiser, scenes, batch_size=4)
    assert 0.5 < loss < 3


@pytest.mark.parametrize(
    ("step", "share", "expected"),
    [(0, 0.0, 0.01), (99, 0.0, 1.0), (5000, 0.7, 1.0), (5000, 0.85, 0.5), (5000, 1.0, 0.0)],
)
def test_learning_rate_rises_stays_and_falls(step: int, share: float, expected: float) -> None:
    assert math.isclose(learning_rate_factor(step, share, warmup=100, cooldown=0.3), expected, abs_tol=1e-9)


def test_warm_start_keeps_networks_and_the_embeddings_of_shared_words(tmp_path: Path) -> None:
    old = _denoiser(3)
    vocabulary = old.tokenizer.get_vocab()
    assemble_pipeline(build_vae(TINY), old).save_pretrained(tmp_path)
    new = _denoiser(4)
    kept = warm_start_denoiser(new, tmp_path)
    assert kept == len(vocabulary)
    for name, parameter in old.named_parameters().items():
        assert torch.equal(parameter, new.named_parameters()[name]), name


@pytest.mark.smoke
def test_sampling_depends_on_each_pictures_own_seed() -> None:
    torch.manual_seed(1)
    denoiser = _denoiser()
    denoiser.train(False)
    pipeline = assemble_pipeline(build_vae(TINY).eval(), denoiser)
    pair = sample_pictures(pipeline, ["a dog", "a cat"], seed=5, steps=2)
    single = sample_pictures(pipeline, ["a cat"], seed=6, steps=2)
    assert pair[0].size == (16, 16)
    assert np.abs(np.asarray(pair[1]).astype(int) - np.asarray(single[0])).max() <= 1
    sheet = contact_sheet(pair, 2, scale=2)
    assert sheet.size == (2 + 2 * 34, 2 + 34)


def test_encoded_pictures_are_scaled_means() -> None:
    torch.manual_seed(0)
    vae = build_vae(TINY).eval()
    pictures = np.zeros((3, 16, 16, 3), np.uint8)
    plain = encode_pictures(vae, pictures, batch_size=2)
    vae.register_to_config(scaling_factor=2.0)
    assert plain.shape == (3, 4, 4, 4)
    assert torch.allclose(encode_pictures(vae, pictures), 2 * plain, atol=1e-6)


def test_reconstruction_measures() -> None:
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    assert reconstruction_loss(pixels, pixels) == 0
    assert reconstruction_loss(pixels, pixels + 0.1) > reconstruction_loss(pixels, pixels + 0.05)
    torch.manual_seed(0)
    psnr = reconstruction_psnr(build_vae(TINY).eval(), np.full((2, 16, 16, 3), 127, np.uint8))
    assert 0 < psnr < 60


def test_training_without_an_autoencoder_says_which_step_comes_first(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'vae' first"):
        train_denoiser(Run(TINY, tmp_path, minutes=1))


def test_sizes_have_equal_latents_and_downsampling_that_fits() -> None:
    for size in SIZES.values():
        assert size.latent_size * 2 ** (len(size.vae_channels) - 1) == size.resolution
    assert SIZES["gpu128"].latent_size == SIZES["cpu64"].latent_size
    assert len(GRID_PROMPTS) == 24
