"""FLUX.2 [klein]: Qwen3 text; guided by a second prediction, or distilled to a few steps without guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import Flux2KleinPipeline
from torch import Tensor

from services.trainer.engine.families import autoencoder
from services.trainer.engine.families.base import SamplingRequest
from services.trainer.engine.families.flux2 import Flux2
from services.trainer.engine.families.text import TEXTS
from services.trainer.recipe.families.flux2_klein import FACTS


class Flux2Klein(Flux2):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = Flux2KleinPipeline
    text_layers = (9, 18, 27)

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self._distilled = bool(getattr(getattr(pipeline, "config", None), "is_distilled", False))

    def own_options(self) -> Mapping[str, Any]:
        return {"is_distilled": self._distilled}

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        texts = {}
        if request.guidance > 1.0 and not self._distilled:
            negative = [request.negative_prompt] * len(request.prompts)
            texts["negative_prompt_embeds"] = self.encode_text(negative)[TEXTS]
        return autoencoder.scaled(self._vae, self._sampled_of_texts(pipeline, request, on_step, **texts))


FAMILY = Flux2Klein
