"""Stable Diffusion XL: two CLIP text encoders, a pooled embedding and the picture's size as conditioning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from services.trainer.engine.families.base import Conditioning
from services.trainer.engine.families.unet import UNetFamily, joined_chunks
from services.trainer.recipe.families.sdxl import FACTS


class StableDiffusionXL(UNetFamily):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = StableDiffusionXLPipeline
    pipeline_texts: ClassVar = {"encoder_hidden_states": "prompt_embeds", "text_embeds": "pooled_prompt_embeds"}
    pipeline_options: ClassVar = {"add_watermarker": False}

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self._known_sizes: dict[tuple[int, int, torch.dtype], Tensor] = {}

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        hidden = []
        for encoder in self.facts.text_encoders:
            ids = tokens[encoder.component]
            encoded = self._modules[encoder.component](ids.flatten(0, -2), output_hidden_states=True)
            # The layer before the last is what the model was trained on, in both encoders.
            hidden.append(joined_chunks(encoded.hidden_states[-2], len(ids)))
        # The pooled embedding is that of a caption's first chunk.
        pooled = encoded[0].unflatten(0, (len(ids), -1))[:, 0]
        return {"encoder_hidden_states": torch.cat(hidden, dim=-1), "text_embeds": pooled}

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        noisy = noisy.contiguous(memory_format=self.layout)
        sizes = self._sizes(noisy)
        answer: Tensor = self.denoiser(
            noisy,
            timesteps,
            encoder_hidden_states=conditioning["encoder_hidden_states"],
            added_cond_kwargs={"text_embeds": conditioning["text_embeds"], "time_ids": sizes.expand(len(noisy), -1)},
            return_dict=False,
        )[0]
        return answer

    def _sizes(self, noisy: Tensor) -> Tensor:
        """Size conditioning [1, 6]. Kept by shape, because making it waits for the device."""
        height, width = (side * self.latent_factor for side in noisy.shape[2:])
        key = (height, width, noisy.dtype)
        if key not in self._known_sizes:
            # Every picture fills its bucket, so it counts as taken whole at that size: previews are asked for the same.
            sizes = torch.tensor([[height, width, 0, 0, height, width]], device=noisy.device, dtype=noisy.dtype)
            self._known_sizes[key] = sizes
        return self._known_sizes[key]


FAMILY = StableDiffusionXL
