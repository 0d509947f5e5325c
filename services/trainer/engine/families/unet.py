"""What the UNet families (Stable Diffusion 1.x, 2.x and XL) share: noise schedule, sampling, layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.schedules import DiffusionSchedule

ZTSNR_RESCALE = 0.7
"""Of guidance for models with zero terminal SNR, which it would otherwise overexpose: Lin et al. 2024, section 3.4."""


class UNetFamily(Family):
    """See ``base.Family``."""

    layout = torch.channels_last
    schedule: DiffusionSchedule
    pipeline_texts: ClassVar[Mapping[str, str]]
    """Argument of the pipeline for each tensor of the conditioning."""

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = diffusion_schedule(self._scheduler, device)

    def latent_multiple(self) -> int:
        return int(2 ** (len(self.denoiser.config.block_out_channels) - 1))

    def solver(self) -> DPMSolverMultistepScheduler:
        return fast_solver(self._scheduler)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        negative = [request.negative_prompt] * len(request.prompts)
        trained = {ids: ids.chunks for ids in self._token_ids.values()}
        needed = max(ids.chunks_of(text) for ids in trained for text in (*request.prompts, request.negative_prompt))
        chunks = max(needed, *trained.values())
        rescale = ZTSNR_RESCALE if self.schedule.zero_terminal_snr else 0.0
        if chunks == 1:
            texts: dict[str, Any] = {"prompt": list(request.prompts), "negative_prompt": negative}
            return self._sampled(pipeline, request, on_step, guidance_rescale=rescale, **texts)
        # The pipelines cut what is longer than one chunk. Prompts may need more chunks than the captions that are
        # trained, which stay in theirs.
        for ids in trained:
            ids.use_chunks(min(chunks, ids.most_chunks))
        try:
            with torch.no_grad():
                wanted, unwanted = self.encode_text(request.prompts), self.encode_text(negative)
        finally:
            for ids, before in trained.items():
                ids.use_chunks(before)
        texts = {name: wanted[key] for key, name in self.pipeline_texts.items()}
        texts |= {f"negative_{name}": unwanted[key] for key, name in self.pipeline_texts.items()}
        return self._sampled(pipeline, request, on_step, guidance_rescale=rescale, **texts)


def joined_chunks(hidden: Tensor, captions: int) -> Tensor:
    """A caption's chunks in a row: [captions, chunks · length, D] of text embeddings [captions · chunks, length, D]."""
    return hidden.reshape(captions, -1, hidden.shape[-1])


def diffusion_schedule(scheduler: Any, device: torch.device) -> DiffusionSchedule:
    """Training noise levels of a pipeline's scheduler, zero terminal SNR included when its configuration asks."""
    training = DDPMScheduler.from_config(scheduler.config)
    config = training.config
    return DiffusionSchedule(
        training.alphas_cumprod.to(device),
        config.prediction_type,
        zero_terminal_snr=config.rescale_betas_zero_snr,
    )


def fast_solver(scheduler: Any) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (Lu et al. 2022) with trailing steps: good pictures in about 15 steps."""
    return DPMSolverMultistepScheduler.from_config(
        scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
