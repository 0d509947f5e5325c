"""FLUX.2: latents in patches of two by two, text of three layers one beside the other, four axes of positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from services.trainer.engine.families.base import Conditioning, Family, SamplingRequest
from services.trainer.engine.families.flux import pack, positions, unpack
from services.trainer.engine.families.text import MASK, TEXTS
from services.trainer.engine.schedules import FlowSchedule

STEPS = 50
"""Of sampling, by which the model's own shift goes beside the picture's size: those of its pipeline by default."""


class Flux2(Family):
    """See ``base.Family``.

    Attributes:
        text_layers: of the text encoder, whose answers the denoiser reads.
    """

    text_layers: ClassVar[tuple[int, ...]]

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = Flux2Schedule(self._scheduler.config)

    def latent_multiple(self) -> int:
        return self.facts.denoiser.multiple

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        encoded = self._modules["text_encoder"](
            input_ids=tokens["text_encoder"],
            attention_mask=tokens.get(f"text_encoder.{MASK}"),
            output_hidden_states=True,
            use_cache=False,
            # Nobody reads which word would come next.
            logits_to_keep=1,
        )
        return {TEXTS: torch.cat([encoded.hidden_states[layer] for layer in self.text_layers], dim=-1)}

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[2:]
        answer = self.denoiser(
            hidden_states=pack(noisy),
            timestep=timesteps,
            guidance=self.told_guidance(noisy),
            encoder_hidden_states=conditioning[TEXTS],
            txt_ids=_text_positions(conditioning[TEXTS].shape[1], noisy.device),
            img_ids=torch.nn.functional.pad(positions(height // 2, width // 2, noisy.device), (0, 1)),
            return_dict=False,
        )[0]
        return unpack(answer, height, width)

    def told_guidance(self, noisy: Tensor) -> Tensor | None:
        """What the denoiser is told of guidance while it trains, [B]."""
        return None

    def solver(self) -> Any:
        return type(self._scheduler).from_config(self._scheduler.config)

    def _sampled_of_texts(
        self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None], **texts: Any
    ) -> Tensor:
        """What the pipeline samples, as it gives latents back."""
        return self._sampled(
            pipeline, request, on_step, prompt_embeds=self.encode_text(request.prompts)[TEXTS], **texts
        )


class Flux2Schedule(FlowSchedule):
    """Rectified flow whose shift by size is a fit to what Black Forest Labs measured (``compute_empirical_mu``)."""

    def shift(self, tokens: int) -> float:
        slow = 0.00016927 * tokens + 0.45666666
        if tokens > 4300:
            return math.exp(slow)
        quick = 8.73809524e-05 * tokens + 1.89833333
        # Lines through what suits 10 and 200 steps.
        return math.exp(slow + (quick - slow) * (200 - STEPS) / 190)


def _text_positions(length: int, device: torch.device) -> Tensor:
    """Rotary position ids of text tokens, [length, 4]: their number along the last axis."""
    ids = torch.zeros(length, 4, device=device)
    ids[:, 3] = torch.arange(length, device=device)
    return ids
