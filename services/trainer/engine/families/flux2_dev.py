"""FLUX.2 [dev]: Mistral 3 text, guidance as an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import Flux2Pipeline
from torch import Tensor

from services.trainer.engine.families.base import SamplingRequest
from services.trainer.engine.families.flux import TRAINING_GUIDANCE, unpack
from services.trainer.engine.families.flux2 import Flux2
from services.trainer.recipe.families.flux2_dev import FACTS


class Flux2Dev(Flux2):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = Flux2Pipeline
    text_layers = (10, 20, 30)

    def told_guidance(self, noisy: Tensor) -> Tensor | None:
        return torch.full((len(noisy),), TRAINING_GUIDANCE, device=noisy.device)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        packed = self._sampled_of_texts(pipeline, request, on_step)
        return unpack(packed, request.height // self.latent_factor, request.width // self.latent_factor)


FAMILY = Flux2Dev
