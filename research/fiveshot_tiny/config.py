"""Sizes of the base model: architecture and recipe, one frozen dataclass per size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""Arguments of a diffusers scheduler: the scaled-linear schedule of Rombach et al. 2022 with more noise at its end,
because small latents keep more of the picture at the same noise, and the velocity target of Salimans & Ho 2022."""


@dataclass(frozen=True)
class Size:
    """One size of the model and the recipe that trains it.

    `resolution` is in pixels; `vae_channels` has one entry per VAE level, and each level after the first halves the
    picture, so latents are `resolution / 2 ** (levels - 1)` wide.
    """

    name: str
    resolution: int
    vae_channels: tuple[int, ...]
    latent_channels: int
    unet_channels: tuple[int, ...]
    unet_layers: int
    attention_levels: int  # how many of the lowest resolutions have cross-attention
    text_width: int
    text_layers: int
    max_tokens: int
    scenes: int
    photographic_scenes: int
    batch_size: int  # over all processes
    learning_rate: float
    ema_decay: float
    vae_batch_size: int
    vae_learning_rate: float
    empty_caption_share: float = 0.10
    filler_caption_share: float = 0.12
    photographic_share: float = 0.4
    validation_scenes: int = 256
    weight_decay: float = 0.01
    warmup_steps: int = 200

    @property
    def latent_size(self) -> int:
        """Width and height of a latent."""
        return int(self.resolution // 2 ** (len(self.vae_channels) - 1))

    def vae(self) -> dict[str, Any]:
        """Arguments of diffusers' AutoencoderKL."""
        levels = len(self.vae_channels)
        return {
            "sample_size": self.resolution,
            "latent_channels": self.latent_channels,
            "block_out_channels": self.vae_channels,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "mid_block_add_attention": False,
            "scaling_factor": 1.0,
        }

    def unet(self) -> dict[str, Any]:
        """Arguments of diffusers' UNet2DConditionModel."""
        levels = len(self.unet_channels)
        attention = [level >= levels - self.attention_levels for level in range(levels)]
        return {
            "sample_size": self.latent_size,
            "in_channels": self.latent_channels,
            "out_channels": self.latent_channels,
            "block_out_channels": self.unet_channels,
            "layers_per_block": self.unet_layers,
            "cross_attention_dim": self.text_width,
            "attention_head_dim": 4,
            "norm_num_groups": 32,
            "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
        }

    def text(self) -> dict[str, Any]:
        """Arguments of transformers' CLIPTextConfig, less those that the tokenizer decides."""
        return {
            "hidden_size": self.text_width,
            "intermediate_size": 4 * self.text_width,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": 4,
            "max_position_embeddings": self.max_tokens,
            "projection_dim": self.text_width,
        }


CPU64 = Size(
    name="cpu64",
    resolution=64,
    vae_channels=(24, 48, 64),
    latent_channels=8,
    unet_channels=(64, 96, 128),
    unet_layers=1,
    attention_levels=2,
    text_width=128,
    text_layers=3,
    max_tokens=24,
    scenes=32_000,
    photographic_scenes=12_000,
    batch_size=32,
    learning_rate=8e-4,
    ema_decay=0.999,
    vae_batch_size=8,
    vae_learning_rate=1e-3,
)
"""What two CPU cores train in hours: 64 px pictures, 16 x 16 latents of 8 channels."""

GPU128 = replace(
    CPU64,
    name="gpu128",
    resolution=128,
    vae_channels=(32, 64, 96, 96),
    scenes=200_000,
    photographic_scenes=60_000,
    batch_size=512,
    learning_rate=1e-3,
    ema_decay=0.9995,
    vae_batch_size=64,
    max_tokens=32,
)
"""The same UNet for 128 px pictures through a VAE that reduces eight times, for one GPU in bf16."""

SIZES: dict[str, Size] = {size.name: size for size in (CPU64, GPU128)}
