"""What the UNet families (Stable Diffusion 1.x, 2.x and XL) share: noise schedule, sampling, layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.schedules import DiffusionSchedule


class UNetFamily(Family):
    """See ``base.Family``."""

    layout = torch.channels_last

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = diffusion_schedule(self._scheduler, device)

    def latent_multiple(self) -> int:
        return int(2 ** (len(self.denoiser.config.block_out_channels) - 1))

    def solver(self) -> DPMSolverMultistepScheduler:
        return fast_solver(self._scheduler)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        negative = [request.negative_prompt] * len(request.prompts)
        return self._sampled(pipeline, request, on_step, negative_prompt=negative)


def diffusion_schedule(scheduler: Any, device: torch.device) -> DiffusionSchedule:
    """Training noise levels of a pipeline's scheduler, zero terminal SNR included when its configuration asks."""
    training = DDPMScheduler.from_config(scheduler.config)
    return DiffusionSchedule(training.alphas_cumprod.to(device), training.config.prediction_type)


def fast_solver(scheduler: Any) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (Lu et al. 2022) with trailing steps: good pictures in about 15 steps."""
    return DPMSolverMultistepScheduler.from_config(
        scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
