"""FLUX.1: a transformer trained by flow matching, T5 and CLIP text, latents packed two by two, guidance as an input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import FluxPipeline
from torch import Tensor

from services.trainer.engine.families.base import Conditioning, Family, SamplingRequest
from services.trainer.engine.schedules import FlowSchedule
from services.trainer.recipe.families.flux import FACTS

TRAINING_GUIDANCE = 1.0
"""Guidance that a distilled model is told while it trains: none, so that the guidance of sampling keeps its meaning."""


class Flux(Family):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = FluxPipeline

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = FlowSchedule(self._scheduler.config)

    def latent_multiple(self) -> int:
        return self.facts.denoiser.multiple

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        pooled = self._modules["text_encoder"](tokens["text_encoder"]).pooler_output
        with torch.no_grad():
            hidden = self._modules["text_encoder_2"](tokens["text_encoder_2"])[0]
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[2:]
        hidden = conditioning["encoder_hidden_states"]
        guidance = None
        if self.denoiser.config.guidance_embeds:
            guidance = torch.full((len(noisy),), TRAINING_GUIDANCE, device=noisy.device)
        answer = self.denoiser(
            hidden_states=pack(noisy),
            timestep=timesteps,
            guidance=guidance,
            pooled_projections=conditioning["pooled_projections"],
            encoder_hidden_states=hidden,
            txt_ids=torch.zeros(hidden.shape[1], 3, device=noisy.device),
            img_ids=positions(height // 2, width // 2, noisy.device),
            return_dict=False,
        )[0]
        return unpack(answer, height, width)

    def solver(self) -> Any:
        return type(self._scheduler).from_config(self._scheduler.config)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        length = self._token_ids["text_encoder_2"].length
        packed = self._sampled(pipeline, request, on_step, prompt=list(request.prompts), max_sequence_length=length)
        return unpack(packed, request.height // self.latent_factor, request.width // self.latent_factor)


FAMILY = Flux


def pack(latents: Tensor) -> Tensor:
    """[B, C, h, w] to tokens [B, h/2 · w/2, 4 C]: each token holds a patch of two by two latents."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of ``pack``."""
    batch, _, size = tokens.shape
    patches = tokens.view(batch, height // 2, width // 2, size // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, size // 4, height, width)


def positions(rows: int, columns: int, device: torch.device) -> Tensor:
    """Rotary position ids of image tokens, [rows · columns, 3]: 0, row, column."""
    ids = torch.zeros(rows, columns, 3, device=device)
    ids[..., 1] = torch.arange(rows, device=device)[:, None]
    ids[..., 2] = torch.arange(columns, device=device)[None]
    return ids.view(-1, 3)
