"""What the base model draws before it is trained: previews to compare with, and pictures on which drift is measured.

Both depend on the base model, the prompts and the settings of sampling alone, so most jobs find them in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy
import torch
from PIL import Image

from services.trainer.engine.devices import device_name
from services.trainer.engine.evaluation import Example
from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import PreviewImage, TrainJobSpec
from services.trainer.engine.noise import derive_seed
from services.trainer.engine.precision import autocast
from services.trainer.engine.previews import preview_request, sampled_pictures, write_previews
from services.trainer.engine.tensor_cache import TensorCache
from services.trainer.recipe.phases import Phase
from services.trainer.recipe.prompts import canaries
from services.trainer.recipe.workload import NEUTRAL_STEPS

Report = Callable[[Phase, int, int], None]


class BaseSamples:
    """Samples of a base model that carries no adapter yet. fingerprint: of the base model's files."""

    def __init__(self, family: Family, fingerprint: str, spec: TrainJobSpec, report: Report) -> None:
        self._family = family
        self._spec = spec
        self._report = report
        self._cache = TensorCache(spec.cache_dir)
        parameters = spec.parameters
        # Another device, or another count of threads, rounds otherwise.
        settings = (parameters.mixed_precision, parameters.base_quantization, device_name(spec.device), family.layout)
        self._key = f"{fingerprint}|{torch.__version__}|{settings}"

    def previews(self, request: SamplingRequest) -> tuple[PreviewImage, ...]:
        """The previews of a job before its first step, as files in its output."""

        def draw() -> dict[str, torch.Tensor]:
            with self._autocast():
                pictures = sampled_pictures(self._family, request, self._reporting(Phase.BASE_PREVIEWS, request))
            return {"pictures": torch.from_numpy(numpy.stack([numpy.asarray(picture) for picture in pictures]))}

        drawn = self._cache.through(f"{self._key}|previews|{request}", draw)["pictures"]
        pictures = [Image.fromarray(picture) for picture in drawn.numpy()]
        return write_previews(pictures, request, self._spec.output_dir / "epochs" / "base")

    def neutral(self, captions: Sequence[str]) -> list[Example]:
        """What the base model itself draws for the canaries: latents on which drift can be measured.

        captions: of the photos, which no canary has to do with.
        """
        every, parameters = self._spec.base_model.neutral_prompts, self._spec.parameters
        prompts = canaries(every, captions)
        if not prompts:
            return []
        seeds = [derive_seed(parameters.seed, "neutral", every.index(prompt)) % 2**31 for prompt in prompts]
        request = preview_request(self._family, parameters, prompts, seeds)
        request = replace(request, steps=NEUTRAL_STEPS, negative_prompt="")

        def draw() -> dict[str, torch.Tensor]:
            with torch.no_grad(), self._autocast():
                report = self._reporting(Phase.NEUTRAL_PROMPTS, request)
                return {"latents": self._family.sample(self._family.pipeline(), request, report).float()}

        latents = self._cache.through(f"{self._key}|neutral|{request}", draw)["latents"].to(self._family.device)
        return [Example(latent.unsqueeze(0), prompt) for latent, prompt in zip(latents, prompts, strict=True)]

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self._family.device, self._spec.parameters.mixed_precision)

    def _reporting(self, phase: Phase, request: SamplingRequest) -> Callable[[int], None]:
        return lambda step: self._report(phase, step, request.steps)
