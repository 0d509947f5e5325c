"""The scenes as latents on disk, so that the denoiser's training neither draws nor encodes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from research.fiveshot_tiny.config import Size
from research.fiveshot_tiny.scenes.compose import draw_scenes
from research.fiveshot_tiny.scenes.photographic import draw_photographic_scenes

DRAWN, PHOTOGRAPHIC = "drawn", "photographic"
_DRAW = {DRAWN: draw_scenes, PHOTOGRAPHIC: draw_photographic_scenes}


@dataclass(frozen=True)
class LatentSet:
    """Scaled latents (n, c, h, w) in float16 and their captions."""

    latents: torch.Tensor
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: npt.NDArray[np.uint8], batch_size: int = 50) -> torch.Tensor:
    """Scaled posterior means (n, c, h, w) in float32 of uint8 pictures (n, size, size, 3)."""
    parts = []
    for chunk in torch.split(torch.from_numpy(pictures), batch_size):
        pixels = (chunk.permute(0, 3, 1, 2).float() / 127.5 - 1).to(vae.device, vae.dtype)
        parts.append((vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor).float().cpu())
    return torch.cat(parts)


def prepare_latents(
    vae: AutoencoderKL, size: Size, folder: Path, count: int, *, seed: int, processes: int, kind: str
) -> LatentSet:
    """Loads the latents of `count` scenes of a kind from `folder`, or draws, encodes and stores them there."""
    tensors, captions = folder / f"latents-{kind}-{seed}.safetensors", folder / f"captions-{kind}-{seed}.json"
    if not captions.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        pictures, texts = _DRAW[kind](count, seed=seed, size=size.resolution, processes=processes)
        save_file({"latents": encode_pictures(vae, pictures).half().contiguous()}, tensors)
        captions.write_text(json.dumps(texts))
    return LatentSet(load_file(tensors)["latents"], json.loads(captions.read_text()))
