"""Pixels to latents and back, with the AutoencoderKL that all families share."""

from __future__ import annotations

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
    with full_precision(pixels.device):
        posterior = vae.encode(pixels.to(vae.dtype)).latent_dist
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    scale = vae.config.scaling_factor
    return Posterior(((posterior.mean - shift) * scale).float(), (posterior.std * scale).float())


def decode_latents(vae: Any, latents: Tensor) -> list[Image.Image]:
    """Pictures of scaled latents, computed in the autoencoder's own number format (float16 turns SDXL's black).

    That holds inside autocast too, which would compute the autoencoder's convolutions in half precision.
    """
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    with torch.no_grad(), full_precision(latents.device):
        pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor + shift).sample
    pictures: list[Image.Image] = VaeImageProcessor().postprocess(pixels.float(), output_type="pil")
    return pictures


def latent_factor(vae: Any) -> int:
    """Pixels per latent along a side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))
