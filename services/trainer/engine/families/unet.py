"""What the UNet families (Stable Diffusion 1.x, 2.x and XL) share: autoencoder, schedule, target presets, sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn

from services.trainer.engine.families.base import Posterior, SamplingRequest
from services.trainer.engine.precision import full_precision
from services.trainer.engine.schedules import DiffusionSchedule

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = (*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
TEXT_ALL = (*TEXT_ATTENTION, "fc1", "fc2")
_INPUT_AND_OUTPUT = ("conv_in", "conv_out", "time_embedding", "add_embedding", "class_embedding")


def diffusion_schedule(scheduler: Any, device: torch.device) -> DiffusionSchedule:
    """Training noise levels of a pipeline's scheduler, zero terminal SNR included when its configuration asks."""
    training = DDPMScheduler.from_config(scheduler.config)
    return DiffusionSchedule(training.alphas_cumprod.to(device), training.config.prediction_type)


def fast_solver(scheduler: Any) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (Lu et al. 2022) with trailing steps: good pictures in about 15 steps."""
    return DPMSolverMultistepScheduler.from_config(
        scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )


def unet_targets(unet: nn.Module, preset: str) -> list[str]:
    """Modules of a diffusers UNet for a preset. ``all`` leaves the input and output layers and time embedding alone."""
    if preset == "all":
        return [
            name
            for name, module in unet.named_modules()
            if isinstance(module, (nn.Linear, nn.Conv2d)) and name.split(".")[0] not in _INPUT_AND_OUTPUT
        ]
    endings = ATTENTION if preset == "attention" else FEED_FORWARD
    return _ending(unet, endings)


def text_targets(text_encoder: nn.Module, preset: str) -> list[str]:
    """Modules of a CLIP text encoder for a preset; ``attention_ff`` and ``all`` are the same there."""
    return _ending(text_encoder, TEXT_ATTENTION if preset == "attention" else TEXT_ALL)


def _ending(module: nn.Module, endings: tuple[str, ...]) -> list[str]:
    return [name for name, _ in module.named_modules() if any(name.endswith("." + ending) for ending in endings)]


def kohya_text_name(prefix: str, module: str) -> str:
    """Key of a CLIP text encoder's module; readers expect the ``text_model`` level that transformers 5 removed."""
    path = module if module.startswith("text_model.") else f"text_model.{module}"
    return f"{prefix}_{path}".replace(".", "_")


def encode_pixels(vae: Any, pixels: Tensor) -> Posterior:
    """Scaled posterior of an AutoencoderKL."""
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


def sample_with_guidance(pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
    """Latents from a Stable Diffusion pipeline, all pictures in one batch, each with its own seed."""

    def report(_: Any, step: int, __: Any, state: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1)
        return state

    pipeline.set_progress_bar_config(disable=True)
    result = pipeline(
        prompt=list(request.prompts),
        negative_prompt=[request.negative_prompt] * len(request.prompts),
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        width=request.width,
        height=request.height,
        # The generators live on the CPU so that a preview's starting noise is the same on every device.
        generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
        output_type="latent",
        callback_on_step_end=report,
    )
    latents: Tensor = result.images
    return latents
