"""Writes the trained base as users load it: a StableDiffusionPipeline folder of float16 safetensors with its card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from research.fiveshot_tiny.config import Size
from research.fiveshot_tiny.evaluation import GRID_PROMPTS, contact_sheet, sample_pictures
from research.fiveshot_tiny.models import assemble_pipeline, build_denoiser
from research.fiveshot_tiny.regularization import write_regularization
from research.fiveshot_tiny.scenes.characters import CHARACTERS
from research.fiveshot_tiny.scenes.sprites import OBJECTS, SHAPES
from research.fiveshot_tiny.state import read_progress

CARD = Path(__file__).with_name("model_card.md")
MAX_BYTES = 25_000_000
GOLDEN_PROMPTS = 4


class ExportError(RuntimeError):
    """The exported base would not be usable."""


def export_base(folder: Path, size: Size, target: Path) -> None:
    """Writes the averaged weights of the run in `folder` to `target`, replacing what is there.

    The new folder is complete and loaded back once before it takes the old one's place. Raises ExportError when it
    is larger than 25 MB or one of its weights is not finite.
    """
    pipeline = load_trained(folder, size)
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(unfinished, safe_serialization=True)
    _forget_paths(unfinished)
    bytes_written = sum(f.stat().st_size for f in unfinished.rglob("*") if f.is_file())
    if bytes_written > MAX_BYTES:
        raise ExportError(f"the base has {bytes_written:,} bytes; at most {MAX_BYTES:,} may be shipped")
    reloaded = StableDiffusionPipeline.from_pretrained(unfinished, dtype=torch.float32, safety_checker=None)
    _check_finite(reloaded)
    sheet = contact_sheet(sample_pictures(reloaded, GRID_PROMPTS), 8, scale=2)
    sheet.save(unfinished / "samples.png", optimize=True)
    write_regularization(unfinished, size)
    (unfinished / "README.md").write_text(render_card(folder, size, reloaded, bytes_written))
    for path in unfinished.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner may read
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def load_trained(folder: Path, size: Size) -> StableDiffusionPipeline:
    """The pipeline of the run in `folder`, float32, with the averaged weights."""
    denoiser = build_denoiser(size)
    tensors = load_file(folder / "state.safetensors")
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters().items():
            parameter.copy_(tensors[f"average.{name}"])
    denoiser.train(False)
    vae = AutoencoderKL.from_pretrained(folder / "vae").eval()
    return assemble_pipeline(vae, denoiser)


def golden_sheet(base: Path) -> Image.Image:
    """The first four grid prompts sampled by an exported base in a row, at its own size."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32, safety_checker=None)
    return contact_sheet(sample_pictures(pipeline, GRID_PROMPTS[:GOLDEN_PROMPTS]), GOLDEN_PROMPTS, gap=0)


def render_card(folder: Path, size: Size, pipeline: StableDiffusionPipeline, bytes_written: int) -> str:
    """The model card with this run's numbers, in Markdown."""
    progress = read_progress(folder / "state.safetensors")
    quality = folder / "vae" / "quality.json"
    vae_quality = json.loads(quality.read_text()) if quality.is_file() else {}
    return Template(CARD.read_text()).substitute(
        resolution=size.resolution,
        latents=f"{size.latent_size} × {size.latent_size} × {size.latent_channels}",
        unet_millions=f"{_millions(pipeline.unet):.2f}",
        text_millions=f"{_millions(pipeline.text_encoder):.2f}",
        vae_millions=f"{_millions(pipeline.vae):.2f}",
        megabytes=f"{bytes_written / 1e6:.1f}",
        max_tokens=size.max_tokens,
        vocabulary=len(pipeline.tokenizer),
        objects=", ".join(OBJECTS),
        shapes=", ".join(SHAPES),
        characters=", ".join(CHARACTERS),
        samples=f"{progress.samples:,}",
        steps=f"{progress.steps:,}",
        hours=f"{progress.seconds / 3600:.1f}",
        scenes=f"{size.scenes:,}",
        photographic_scenes=f"{size.photographic_scenes:,}",
        photographic_share=f"{size.photographic_share:.0%}",
        batch_size=size.batch_size,
        learning_rate=f"{size.learning_rate:g}",
        validation_loss=f"{progress.validation_loss:.3f}",
        scene_psnr=f"{vae_quality['scene_psnr']:.1f} dB" if vae_quality else "not measured",
        texture_psnr=f"{vae_quality['texture_psnr']:.1f} dB" if vae_quality else "not measured",
        prompts="\n".join(f"{i}. {prompt}" for i, prompt in enumerate(GRID_PROMPTS, 1)),
    )


def _millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def _check_finite(pipeline: StableDiffusionPipeline) -> None:
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        for name, parameter in part.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise ExportError(f"{type(part).__name__}.{name} is not finite in float16")


def _forget_paths(folder: Path) -> None:
    """Removes the place where the parts were loaded from, which diffusers notes in their configurations."""
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
