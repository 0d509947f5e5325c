"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet with epsilon or v-prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from diffusers import StableDiffusionPipeline
from torch import Tensor

from services.trainer.engine.families.base import Conditioning
from services.trainer.engine.families.unet import UNetFamily, joined_chunks
from services.trainer.recipe.families.stable_diffusion import FACTS


class StableDiffusion(UNetFamily):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = StableDiffusionPipeline
    pipeline_texts: ClassVar = {"encoder_hidden_states": "prompt_embeds"}
    pipeline_options: ClassVar = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        ids = tokens["text_encoder"]
        hidden = self._modules["text_encoder"](ids.flatten(0, -2))[0]
        return {"encoder_hidden_states": joined_chunks(hidden, len(ids))}

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        noisy = noisy.contiguous(memory_format=self.layout)
        answer: Tensor = self.denoiser(noisy, timesteps, **conditioning, return_dict=False)[0]
        return answer


FAMILY = StableDiffusion
