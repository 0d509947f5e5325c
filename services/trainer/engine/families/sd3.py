"""Stable Diffusion 3.5: flow matching; CLIP texts side by side, widened to T5's and put before it, and pooled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor
from torch.nn.functional import pad

from services.trainer.engine.families.base import Conditioning, Family, SamplingRequest
from services.trainer.engine.schedules import FlowSchedule
from services.trainer.recipe.families.sd3 import FACTS

_CLIPS = ("text_encoder", "text_encoder_2")
_T5 = "text_encoder_3"


class StableDiffusion3(Family):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = StableDiffusion3Pipeline

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = FlowSchedule(self._scheduler.config)
        self._levels = self._scheduler.config.num_train_timesteps

    def latent_multiple(self) -> int:
        return int(self.denoiser.config.patch_size)

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        encoded = [self._modules[name](tokens[name], output_hidden_states=True) for name in _CLIPS]
        # The layer before the last is what the model was trained on, in both encoders.
        clip = torch.cat([each.hidden_states[-2] for each in encoded], dim=-1)
        with torch.no_grad():
            t5 = self._modules[_T5](tokens[_T5])[0]
        hidden = torch.cat([pad(clip, (0, t5.shape[-1] - clip.shape[-1])), t5], dim=1)
        return {
            "encoder_hidden_states": hidden,
            "pooled_projections": torch.cat([each.text_embeds for each in encoded], dim=-1),
        }

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        answer: Tensor = self.denoiser(noisy, timestep=timesteps * self._levels, **conditioning, return_dict=False)[0]
        return answer

    def solver(self) -> Any:
        return type(self._scheduler).from_config(self._scheduler.config)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        negative = [request.negative_prompt] * len(request.prompts)
        length = self._token_ids[_T5].length
        texts = {"prompt": list(request.prompts), "negative_prompt": negative, "max_sequence_length": length}
        return self._sampled(pipeline, request, on_step, **texts)


FAMILY = StableDiffusion3
