"""Z-Image: a single-stream transformer trained by flow matching, Qwen3 text that only its length counts of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from diffusers import ZImagePipeline
from torch import Tensor

from services.trainer.engine.families.base import Conditioning, Family, SamplingRequest
from services.trainer.engine.families.text import LENGTHS, cut_to_lengths, mask_of, trimmed
from services.trainer.engine.schedules import FlowSchedule
from services.trainer.recipe.families.z_image import FACTS


class ZImage(Family):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = ZImagePipeline
    # The lengths of a batch's texts decide the shapes inside.
    recordable = False

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = FlowSchedule(self._scheduler.config)

    def latent_multiple(self) -> int:
        return self.facts.denoiser.multiple

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        ids = tokens["text_encoder"]
        lengths = tokens.get(f"text_encoder.{LENGTHS}")
        encoded = self._modules["text_encoder"](
            input_ids=ids, attention_mask=mask_of(lengths, ids), output_hidden_states=True
        )
        # The layer before the last is what the model was trained on.
        return trimmed(encoded.hidden_states[-2], lengths)

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        answers = self.denoiser(
            # Pictures are films of one frame.
            list(noisy.unsqueeze(2).unbind()),
            # It counts from noise to picture, and answers with the way there.
            1.0 - timesteps,
            cut_to_lengths(conditioning),
            return_dict=False,
        )[0]
        return -torch.stack(answers).squeeze(2)

    def solver(self) -> Any:
        return type(self._scheduler).from_config(self._scheduler.config)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        # The pipeline adds its guidance to the answer: its 0 is the 1 of all others.
        guided = replace(request, guidance=max(request.guidance - 1.0, 0.0))
        texts = {"prompt_embeds": cut_to_lengths(self.encode_text(request.prompts))}
        if guided.guidance:
            negative = [request.negative_prompt] * len(request.prompts)
            texts["negative_prompt_embeds"] = cut_to_lengths(self.encode_text(negative))
        return self._sampled(pipeline, guided, on_step, **texts)


FAMILY = ZImage
