"""Trains the autoencoder on scenes and textures; with a frozen encoder, only what latents are turned back into.

From random weights the first part of a run sees crops of half the width, which gives four times the steps a second;
the network is fully convolutional. A run that continues trains the decoder alone, so that latents, and with them a
denoiser that was trained on them, stay valid.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from research.fiveshot_tiny.config import Size
from research.fiveshot_tiny.models import build_vae
from research.fiveshot_tiny.scenes.compose import draw_scenes
from research.fiveshot_tiny.scenes.textures import draw_textures

SCENE_SEED, TEXTURE_SEED, VALIDATION_SEED = 31, 32, 33
TEXTURE_SHARE = 0.15
CROP_SHARE = 0.6  # of a run from random weights
KL_WEIGHT = 1e-3
REPORT_EVERY = 100  # steps

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class VaeRun:
    """One run in `folder`: it continues `folder/vae` with a frozen encoder where that exists."""

    size: Size
    folder: Path
    minutes: float
    pictures: int = 12_000
    device: str = "cpu"
    processes: int = 2
    threads: int = 2


def train_vae(run: VaeRun) -> dict[str, float]:
    """Trains, writes `vae/` with its latent scale and `vae/quality.json`, and returns the latter's content."""
    size = run.size
    torch.manual_seed(0)
    torch.set_num_threads(run.threads)
    continues = (run.folder / "vae" / "config.json").is_file()
    vae = AutoencoderKL.from_pretrained(run.folder / "vae") if continues else build_vae(size)
    vae.to(run.device).train()
    pictures = _pictures(run, size)
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()] if continues else list(vae.parameters())
    _train(run, size, vae, trained, pictures, crops=not continues)
    vae.eval()
    if not continues:
        vae.register_to_config(scaling_factor=_latent_scale(vae, pictures[:1000]))
    quality = measure_quality(vae, size)
    vae.cpu().save_pretrained(run.folder / "vae")
    (run.folder / "vae" / "quality.json").write_text(json.dumps(quality) + "\n")
    return quality


def _train(
    run: VaeRun, size: Size, vae: AutoencoderKL, trained: list[torch.nn.Parameter], pictures: Pixels, *, crops: bool
) -> None:
    vae.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, size.vae_learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    averages = [p.detach().clone() for p in trained]
    generator = torch.Generator().manual_seed(1)
    started, step, errors = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - started) / (run.minutes * 60)) < 1:
        for settings in optimizer.param_groups:
            settings["lr"] = size.vae_learning_rate * min(1.0, (step + 1) / 100, 2 * (1 - share))
        cropping = crops and share < CROP_SHARE
        count = size.vae_batch_size * (2 if cropping else 1)
        pixels = _batch(pictures, count, generator, crop=cropping).to(run.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=pixels.device.type == "cuda"):
            posterior = vae.encode(pixels).latent_dist
            restored = vae.decode(posterior.sample()).sample.float()
        loss = reconstruction_loss(pixels, restored)
        if crops:
            loss = loss + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(averages, [p.data for p in trained], 1 - min(0.998, step / (step + 20)))
        errors += float((restored.detach() - pixels).square().mean())
        if step % REPORT_EVERY == 0:
            left = run.minutes * (1 - share)
            print(f"step {step} psnr {_psnr(errors / REPORT_EVERY):.2f} dB, {left:.0f} min left", flush=True)
            errors = 0.0
    with torch.no_grad():
        for parameter, average in zip(trained, averages, strict=True):
            parameter.copy_(average)


def reconstruction_loss(pixels: torch.Tensor, restored: torch.Tensor) -> torch.Tensor:
    """L1, root mean square, edges and coarse colour of two batches (n, 3, h, w) in [-1, 1], weighed 1, ½, ½, ½.

    Edges and coarse colour are what an eye misses first in small pictures; plain L1 blurs the former and drifts in
    the latter.
    """
    difference = restored - pixels
    edges = sum((restored.diff(dim=axis) - pixels.diff(dim=axis)).abs().mean() for axis in (-1, -2))
    coarse = torch.nn.functional.avg_pool2d(difference, 8).abs().mean()
    return difference.abs().mean() + 0.5 * (difference.square().mean().sqrt() + edges + coarse)


@torch.no_grad()
def measure_quality(vae: AutoencoderKL, size: Size) -> dict[str, float]:
    """Mean PSNR in dB over 200 scenes and 100 textures that training never saw: `scene_psnr`, `texture_psnr`."""
    scenes, _ = draw_scenes(200, seed=VALIDATION_SEED, size=size.resolution)
    textures = draw_textures(100, seed=VALIDATION_SEED, size=size.resolution)
    return {"scene_psnr": reconstruction_psnr(vae, scenes), "texture_psnr": reconstruction_psnr(vae, textures)}


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, pictures: Pixels) -> float:
    """Mean peak signal-to-noise ratio in dB of uint8 pictures (n, h, w, 3) after encoding and decoding."""
    total = 0.0
    for chunk in torch.split(torch.from_numpy(pictures), 50):
        pixels = _to_tensor(chunk).to(vae.device)
        restored = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
        total += sum(_psnr(error) for error in (restored - pixels).square().mean((1, 2, 3)).tolist())
    return total / len(pictures)


def _pictures(run: VaeRun, size: Size) -> Pixels:
    textures = round(run.pictures * TEXTURE_SHARE)
    scenes, _ = draw_scenes(run.pictures - textures, seed=SCENE_SEED, size=size.resolution, processes=run.processes)
    return np.concatenate([scenes, draw_textures(textures, seed=TEXTURE_SEED, size=size.resolution)])


def _batch(pictures: Pixels, count: int, generator: torch.Generator, *, crop: bool) -> torch.Tensor:
    chosen = torch.randint(0, len(pictures), (count,), generator=generator).numpy()
    pixels = _to_tensor(torch.from_numpy(pictures[chosen]))
    if torch.rand((), generator=generator) < 0.5:
        pixels = pixels.flip(-1)
    if crop:
        half = pixels.shape[-1] // 2
        top, left = torch.randint(0, half + 1, (2,), generator=generator).tolist()
        pixels = pixels[..., top : top + half, left : left + half]
    return pixels.contiguous(memory_format=torch.channels_last)


def _to_tensor(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def _latent_scale(vae: AutoencoderKL, pictures: Pixels) -> float:
    """One over the latents' standard deviation, so that scaled latents have unit variance."""
    chunks = torch.split(torch.from_numpy(pictures), 50)
    latents = torch.cat([vae.encode(_to_tensor(c).to(vae.device)).latent_dist.mode().cpu() for c in chunks])
    return float(1 / latents.std())


def _psnr(mean_square_error: float) -> float:
    """In dB, for values in [-1, 1]."""
    return float(10 * np.log10(4 / max(mean_square_error, 1e-12)))
