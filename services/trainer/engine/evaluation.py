"""Numbers by which epochs can be compared, on noise and timesteps that never change during a job.

- fit: the loss on the training pictures; falls as the subject is learnt, and goes on falling while it is memorised.
- moved: the same on the training pictures mirrored, nearer and farther; rises again when their pixels are memorised.
- held-out: the same on a picture that is not trained on; rises again when memorising begins.
- drift: how far predictions on neutral prompts have moved from the base model's; what the model forgets or overpaints.
- memorisation: likeness of a preview to the nearest training picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from services.trainer.engine.families.base import Family
from services.trainer.engine.job import Evaluation
from services.trainer.engine.losses import per_sample_loss
from services.trainer.engine.noise import torch_generator
from services.trainer.engine.precision import autocast
from services.trainer.recipe.workload import (
    DRIFT_SAMPLES,
    EVALUATION_BATCH,
    FIT_SAMPLES,
    HELD_OUT_SAMPLES,
    MOVED_SAMPLES,
)

POOLED_SIDE = 8
"""Likeness is compared on latents of 8 by 8: composition and colour count, not pixels."""


@dataclass(frozen=True, slots=True)
class Example:
    """A clean latent [1, C, h, w] and its caption."""

    latent: Tensor
    caption: str


class Evaluator:
    """Measures the model of a family as it is at the time of the call."""

    def __init__(
        self,
        family: Family,
        seed: int,
        mixed_precision: str,
        training: Sequence[Example],
        moved: Sequence[Example],
        held_out: Example | None,
        neutral: Sequence[Example],
    ) -> None:
        """Build before adapters are added: the base model's own numbers are taken here."""
        self._family = family
        self._seed = seed
        self._mixed_precision = mixed_precision
        self._training = list(training)
        self._moved = list(moved)
        self._held_out = held_out
        self._neutral = list(neutral)
        self._training_pooled = _pooled(self._training)
        self._base_fit = self._loss("fit", self._training, FIT_SAMPLES)
        self._base_moved = self._loss("moved", self._moved, MOVED_SAMPLES)
        self._base_held_out = self._held_out_loss()
        self._base_answers = [prediction for prediction, _ in self._predictions("drift", self._neutral, DRIFT_SAMPLES)]

    def measure(self, preview_latents: Tensor) -> Evaluation:
        """Evaluate the current weights; ``preview_latents`` [B, C, h, w] are those of this epoch's previews."""
        return Evaluation(
            fit_loss=self._loss("fit", self._training, FIT_SAMPLES),
            base_fit_loss=self._base_fit,
            held_out_loss=self._held_out_loss(),
            base_held_out_loss=self._base_held_out,
            drift=self._drift(),
            memorisation=self._likeness(preview_latents),
            moved_loss=self._loss("moved", self._moved, MOVED_SAMPLES),
            base_moved_loss=self._base_moved,
        )

    def _held_out_loss(self) -> float | None:
        if self._held_out is None:
            return None
        # The purpose is part of the seed: epochs of a run that is resumed must see the noise of those before.
        return self._loss("hold-out", [self._held_out], HELD_OUT_SAMPLES)

    def _loss(self, purpose: str, examples: list[Example], samples: int) -> float:
        pairs = self._predictions(purpose, examples, samples)
        return float(torch.cat([per_sample_loss(answer, target, None) for answer, target in pairs]).mean())

    def _drift(self) -> float:
        if not self._neutral:
            return 0.0
        answers = [answer for answer, _ in self._predictions("drift", self._neutral, DRIFT_SAMPLES)]
        moved = sum(float((a - b).square().sum()) for a, b in zip(answers, self._base_answers, strict=True))
        size = sum(float(base.square().sum()) for base in self._base_answers)
        return moved / max(size, 1e-12)

    def _likeness(self, preview_latents: Tensor) -> float:
        previews = _centred(preview_latents)
        return float((previews @ self._training_pooled.T).max().clamp(0.0, 1.0))

    @torch.no_grad()
    def _predictions(self, purpose: str, examples: list[Example], samples: int) -> list[tuple[Tensor, Tensor]]:
        """(prediction, target) of about ``samples`` noised examples, noise levels spread evenly over each example."""
        levels = max(1, samples // max(1, len(examples)))
        pairs = []
        for shape in sorted({tuple(example.latent.shape) for example in examples}):
            chosen = [example for example in examples if tuple(example.latent.shape) == shape]
            latents = torch.cat([example.latent for example in chosen]).repeat(levels, 1, 1, 1)
            captions = [example.caption for example in chosen] * levels
            generator = torch_generator(self._family.device, self._seed, "evaluation", purpose, repr(shape))
            noise = torch.randn(latents.shape, generator=generator, device=latents.device)
            position = (torch.arange(levels, device=latents.device) + 0.5) / levels
            position = position.repeat_interleave(len(chosen))
            for start in range(0, len(latents), EVALUATION_BATCH):
                part = slice(start, start + EVALUATION_BATCH)
                pairs.append(self._predict(latents[part], noise[part], position[part], captions[part]))
        return pairs

    def _predict(self, latents: Tensor, noise: Tensor, position: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        schedule = self._family.schedule
        noisy = schedule.noisy(latents, noise, position)
        with autocast(self._family.device, self._mixed_precision):
            conditioning = self._family.encode_text(captions)
            answer = self._family.predict(noisy, schedule.timesteps(position), conditioning)
        return answer.float(), schedule.target(latents, noise, position)


def _pooled(examples: list[Example]) -> Tensor:
    """Comparable vectors of examples and their mirror images, [2 N, D]."""
    rows = []
    for example in examples:
        rows += [_centred(example.latent), _centred(example.latent.flip(-1))]
    return torch.cat(rows)


def _centred(latents: Tensor) -> Tensor:
    """Unit vectors [B, D] of coarse latents without each channel's mean, so that plain backgrounds do not match all."""
    coarse = functional.adaptive_avg_pool2d(latents.float(), POOLED_SIDE)
    coarse = coarse - coarse.mean(dim=(2, 3), keepdim=True)
    return functional.normalize(coarse.flatten(1), dim=1)
