"""Pixels to latents and back, whatever kind of autoencoder a family has: all others see latents [B, C, h, w] alone.

The kinds differ in what makes a latent of an answer: one shift and scale, or one a channel, or one a channel and place
in a patch of two by two; and in whether a picture is to them a film of one frame.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add, mul, sub, truediv
from typing import Any, NamedTuple

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from services.trainer.engine.precision import full_precision


class Posterior(NamedTuple):
    """The autoencoder's answer for a picture: mean and standard deviation of its latent, [B, C, h, w] each."""

    mean: Tensor
    std: Tensor


def encode_pixels(vae: Any, pixels: Tensor) -> Posterior:
    """Scaled posterior of pictures."""
    given = pixels.to(vae.dtype)
    with full_precision(pixels.device):
        posterior = vae.encode(given.unsqueeze(2) if _takes_films(vae) else given).latent_dist
    mean, std = (_pictures(vae, part) for part in (posterior.mean, posterior.std))
    return Posterior(scaled(vae, mean).float(), _with(mul, std, _scale(vae)).float())


def decode_pixels(vae: Any, latents: Tensor) -> Tensor:
    """Pixels [B, 3, H, W] of scaled latents, computed in the autoencoder's own number format."""
    answers = unscaled(vae, latents.to(vae.dtype))
    pixels: Tensor = vae.decode(answers.unsqueeze(2) if _takes_films(vae) else answers).sample
    return _pictures(vae, pixels)


def decode_latents(vae: Any, latents: Tensor) -> list[Image.Image]:
    """Pictures of scaled latents, computed in the autoencoder's own number format (float16 turns SDXL's black).

    That holds inside autocast too, which would compute the autoencoder's convolutions in half precision.
    """
    with torch.no_grad(), full_precision(latents.device):
        pixels = decode_pixels(vae, latents)
    pictures: list[Image.Image] = VaeImageProcessor().postprocess(pixels.float(), output_type="pil")
    return pictures


def scaled(vae: Any, answers: Tensor) -> Tensor:
    """Latents of what the autoencoder answers, [B, C, h, w]."""
    return _with(mul, _with(sub, answers, _shift(vae)), _scale(vae))


def unscaled(vae: Any, latents: Tensor) -> Tensor:
    """The inverse of ``scaled``."""
    return _with(add, _with(truediv, latents, _scale(vae)), _shift(vae))


def latent_factor(vae: Any) -> int:
    """Pixels per latent along a side."""
    levels = vae.config.get("block_out_channels") or vae.config["dim_mult"]
    return int(2 ** (len(levels) - 1))


def latent_channels(vae: Any) -> int:
    """Channels of a latent."""
    return int(vae.config.get("latent_channels") or vae.config["z_dim"])


Statistic = float | Tensor
"""A number for all latents, [1, C, 1, 1] for channels, or [1, C, 1, 2, 1, 2] for channels and places in a patch."""


def _shift(vae: Any) -> Statistic:
    if _counts_patches(vae):
        return _of_patches(vae, vae.bn.running_mean)
    means = vae.config.get("latents_mean")
    return _of_channels(vae, means) if means else vae.config.get("shift_factor") or 0.0


def _scale(vae: Any) -> Statistic:
    if _counts_patches(vae):
        return _of_patches(vae, torch.rsqrt(vae.bn.running_var + vae.config.batch_norm_eps))
    deviations = vae.config.get("latents_std")
    return 1.0 / _of_channels(vae, deviations) if deviations else float(vae.config.scaling_factor)


def _counts_patches(vae: Any) -> bool:
    """FLUX.2's keeps the statistics of its patches in a batch norm."""
    return getattr(vae, "bn", None) is not None


def _takes_films(vae: Any) -> bool:
    """Qwen-Image's autoencoder was made from one of moving pictures."""
    return "temperal_downsample" in vae.config


def _pictures(vae: Any, answers: Tensor) -> Tensor:
    return answers.squeeze(2) if _takes_films(vae) else answers


def _of_patches(vae: Any, values: Tensor) -> Tensor:
    return values.view(1, latent_channels(vae), 1, 2, 1, 2)


def _of_channels(vae: Any, values: list[float]) -> Tensor:
    return torch.tensor(values, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1)


def _with(operation: Callable[[Any, Any], Any], latents: Tensor, statistic: Statistic) -> Tensor:
    if not isinstance(statistic, Tensor) or statistic.dim() == latents.dim():
        whole: Tensor = operation(latents, statistic)
        return whole
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    found: Tensor = operation(patches, statistic)
    return found.view(latents.shape)
