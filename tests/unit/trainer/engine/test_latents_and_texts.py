"""Latents of every kind of autoencoder, and texts whose padding counts or does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLFlux2, AutoencoderKLQwenImage
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from services.trainer.engine.families import autoencoder
from services.trainer.engine.families.flux2 import STEPS, Flux2Schedule
from services.trainer.engine.families.text import RememberedTexts, TokenIds
from tests.fixtures.chat_tokenizers import mistral_tokenizer, qwen_tokenizer


@pytest.fixture
def of_patches() -> Any:
    torch.manual_seed(1)
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=2,
        norm_num_groups=2,
        layers_per_block=1,
        mid_block_add_attention=False,
    ).eval()
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae


@pytest.fixture
def of_films() -> Any:
    torch.manual_seed(1)
    options = {"base_dim": 4, "z_dim": 3, "dim_mult": [1, 2], "num_res_blocks": 1, "temperal_downsample": [False]}
    return AutoencoderKLQwenImage(
        **options, latents_mean=[0.1, -0.2, 0.3], latents_std=[0.5, 2.0, 3.0]
    ).eval()  # fmt: skip


PIXELS = torch.linspace(-1.0, 1.0, 2 * 3 * 8 * 12).view(2, 3, 8, 12)


@torch.no_grad()
def test_each_channel_and_place_of_a_patch_has_statistics_of_its_own(of_patches: Any) -> None:
    raw = of_patches.encode(PIXELS).latent_dist
    found = autoencoder.encode_pixels(of_patches, PIXELS)
    deviation = (of_patches.bn.running_var + of_patches.config.batch_norm_eps).sqrt().view(1, -1, 1, 1)
    mean = of_patches.bn.running_mean.view(1, -1, 1, 1)
    torch.testing.assert_close(pixel_unshuffle(found.mean, 2), (pixel_unshuffle(raw.mean, 2) - mean) / deviation)
    torch.testing.assert_close(pixel_unshuffle(found.std, 2), pixel_unshuffle(raw.std, 2) / deviation)
    torch.testing.assert_close(autoencoder.decode_pixels(of_patches, found.mean), of_patches.decode(raw.mean).sample)
    assert (autoencoder.latent_channels(of_patches), autoencoder.latent_factor(of_patches)) == (2, 2)


@torch.no_grad()
def test_a_picture_is_a_film_of_one_frame_with_statistics_of_each_channel(of_films: Any) -> None:
    raw = of_films.encode(PIXELS.unsqueeze(2)).latent_dist
    found = autoencoder.encode_pixels(of_films, PIXELS)
    assert found.mean.shape == found.std.shape == (2, 3, 4, 6)
    mean, deviation = (torch.tensor(of_films.config[name]).view(1, 3, 1, 1) for name in ("latents_mean", "latents_std"))
    torch.testing.assert_close(found.mean, (raw.mean.squeeze(2) - mean) / deviation)
    torch.testing.assert_close(found.std, raw.std.squeeze(2) / deviation)
    pixels = autoencoder.decode_pixels(of_films, found.mean)
    torch.testing.assert_close(pixels, of_films.decode(raw.mean).sample.squeeze(2))
    assert [picture.size for picture in autoencoder.decode_latents(of_films, found.mean)] == [(12, 8)] * 2
    assert (autoencoder.latent_channels(of_films), autoencoder.latent_factor(of_films)) == (3, 2)


@pytest.mark.parametrize("tokens", [256, 1024, 4096, 4301, 16384])
def test_flux_2_shifts_by_size_as_its_pipeline_does(tokens: int) -> None:
    wanted = math.exp(compute_empirical_mu(tokens, STEPS))
    assert Flux2Schedule({}).shift(tokens) == pytest.approx(wanted)


@pytest.mark.parametrize("tokenizer", [qwen_tokenizer(12), mistral_tokenizer("words", 12)], ids=["right", "left"])
def test_the_mask_is_where_no_padding_is(tokenizer: Any) -> None:
    captions = ["cat", "a", "much longer than there is room for"]
    ids = TokenIds(tokenizer, 12)
    mask = ids.mask(captions)
    assert mask is not None
    assert torch.equal(mask, ids(captions) != tokenizer.pad_token_id)
    assert mask.sum(dim=1).tolist()[-1] == 12


def test_only_so_many_bytes_of_texts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.trainer.engine.families.text.REMEMBERED_BYTES", 100)
    encoded: list[str] = []

    def encode(caption: str) -> dict[str, Tensor]:
        encoded.append(caption)
        return {"texts": torch.full((1, 10), float(len(caption)))}

    texts = RememberedTexts(encode)
    for caption in ("a", "bb", "a", "ccc", "a", "bb"):
        assert texts([caption])["texts"].tolist() == [[float(len(caption))] * 10]
    # Two texts of 40 bytes fit; the one that was not asked for the longest goes.
    assert encoded == ["a", "bb", "ccc", "bb"]
    # One that is larger than all room is kept for as long as it is the only one.
    large = RememberedTexts(lambda caption: {"texts": torch.zeros(1, 1000)})
    assert large(["x", "x"])["texts"].shape == (2, 1000)
