"""Qwen-Image: text behind a question that is dropped again, masks for what pads it, guidance by a second prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import QwenImagePipeline
from torch import Tensor

from services.trainer.engine.families.base import Conditioning, Family, SamplingRequest
from services.trainer.engine.families.flux import pack, unpack
from services.trainer.engine.families.text import LENGTHS, TEXTS, mask_of, trimmed
from services.trainer.engine.schedules import FlowSchedule
from services.trainer.recipe.families.qwen_image import FACTS

BEFORE_CAPTION = 34
"""Tokens of the question before a caption. Their answers say nothing of it and are left out."""


class QwenImage(Family):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = QwenImagePipeline
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
            input_ids=ids,
            attention_mask=mask_of(lengths, ids),
            output_hidden_states=True,
            use_cache=False,
            # Nobody reads which word would come next.
            logits_to_keep=1,
        )
        behind = None if lengths is None else (lengths - BEFORE_CAPTION).clamp(min=1)
        return trimmed(encoded.hidden_states[-1][:, BEFORE_CAPTION:], behind)

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[2:]
        answer = self.denoiser(
            hidden_states=pack(noisy),
            timestep=timesteps,
            encoder_hidden_states=conditioning[TEXTS],
            encoder_hidden_states_mask=_mask(conditioning),
            img_shapes=[[(1, height // 2, width // 2)]] * len(noisy),
            return_dict=False,
        )[0]
        return unpack(answer, height, width)

    def solver(self) -> Any:
        return type(self._scheduler).from_config(self._scheduler.config)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        texts = _for_pipeline("", self.encode_text(request.prompts))
        if request.guidance > 1.0:
            negative = [request.negative_prompt] * len(request.prompts)
            texts |= _for_pipeline("negative_", self.encode_text(negative))
        # What the pipeline calls guidance is an input that these models have not.
        guidance = {"guidance_scale": None, "true_cfg_scale": request.guidance}
        if request.steps == 1:
            # Its levels are stretched to end at `shift_terminal`, and a single one is divided by nothing.
            pipeline.scheduler = type(self._scheduler).from_config(self._scheduler.config, shift_terminal=None)
        packed = self._sampled(pipeline, request, on_step, **guidance, **texts)
        return unpack(packed, request.height // self.latent_factor, request.width // self.latent_factor)


FAMILY = QwenImage


def _mask(conditioning: Conditioning) -> Tensor | None:
    """True where a token counts, bool [B, L]; None where every one does."""
    texts, lengths = conditioning[TEXTS], conditioning.get(LENGTHS)
    if lengths is None or bool((lengths == texts.shape[1]).all()):
        return None
    return mask_of(lengths, texts)


def _for_pipeline(prefix: str, conditioning: Conditioning) -> dict[str, Tensor]:
    texts = conditioning[TEXTS]
    mask = mask_of(conditioning.get(LENGTHS), texts)
    every = torch.ones(texts.shape[:2], dtype=torch.bool, device=texts.device)
    return {f"{prefix}prompt_embeds": texts, f"{prefix}prompt_embeds_mask": every if mask is None else mask}
