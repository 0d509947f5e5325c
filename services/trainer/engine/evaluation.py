"""Numbers by which epochs can be compared, on noise and timesteps that never change during a job.

- fit: the loss on the training pictures; falls as the subject is learnt, and goes on falling while it is memorised.
- moved: the same on the training pictures mirrored, nearer and farther; rises again when their pixels are memorised.
- held-out: the same on a picture of each dataset that is not trained on; rises again when memorising begins.
- drift: how far predictions on neutral prompts have moved from the base model's; what the model forgets or overpaints.
- memorisation: likeness of a preview to the nearest training picture; see ``copies``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from services.trainer.engine.copies import CopyDetector
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import Evaluation
from services.trainer.engine.losses import per_sample_loss
from services.trainer.engine.noise import python_random, torch_generator
from services.trainer.engine.precision import autocast
from services.trainer.recipe.sharing import in_turns
from services.trainer.recipe.workload import EVALUATION_BATCH, EvaluationSamples


@dataclass(frozen=True, slots=True)
class Example:
    """A clean latent [1, C, h, w], its caption, the weights of its loss [1, 1, h, w] or None, and its dataset."""

    latent: Tensor
    caption: str
    mask: Tensor | None = None
    dataset: int = 0


class Evaluator:
    """Measures the model of a family as it is at the time of the call."""

    def __init__(
        self,
        family: Family,
        seed: int,
        mixed_precision: str,
        samples: EvaluationSamples,
        training: Sequence[Example],
        moved: Sequence[Example],
        held_out: Sequence[Example],
        neutral: Sequence[Example],
        copies: CopyDetector,
    ) -> None:
        """Build before adapters are added: the base model's own numbers are taken here."""
        self._family = family
        self._seed = seed
        self._mixed_precision = mixed_precision
        self._samples = samples
        self._training = list(training)
        self._moved = list(moved)
        self._held_out = list(held_out)
        self._neutral = list(neutral)
        self._copies = copies
        self._base_fit = self._fit()
        self._base_moved = self._loss("moved", self._moved, samples.moved)
        self._base_held_out = self._loss("hold-out", self._held_out, samples.held_out)
        self._base_answers = [answer for answer, _, _ in self._predictions("drift", self._neutral, samples.drift)]

    def measure(self, previews: Sequence[Image.Image]) -> Evaluation:
        """Evaluate the current weights, whose previews these are."""
        return Evaluation(
            fit_loss=self._fit(),
            base_fit_loss=self._base_fit,
            held_out_loss=self._loss("hold-out", self._held_out, self._samples.held_out),
            base_held_out_loss=self._base_held_out,
            drift=self._drift(),
            memorisation=self._copies.likeness(previews),
            moved_loss=self._loss("moved", self._moved, self._samples.moved),
            base_moved_loss=self._base_moved,
        )

    def _fit(self) -> float:
        loss = self._loss("fit", self._training, self._samples.fit)
        assert loss is not None, "no training pictures"
        return loss

    def _loss(self, purpose: str, examples: list[Example], samples: int) -> float | None:
        """Mean over so many predictions; None where there is nothing to measure."""
        pairs = self._predictions(purpose, examples, samples)
        return (
            float(torch.cat([per_sample_loss(answer, target, mask) for answer, target, mask in pairs]).mean())
            if pairs
            else None
        )

    def _drift(self) -> float:
        if not self._neutral:
            return 0.0
        answers = [answer for answer, _, _ in self._predictions("drift", self._neutral, self._samples.drift)]
        moved = sum(float((a - b).square().sum()) for a, b in zip(answers, self._base_answers, strict=True))
        size = sum(float(base.square().sum()) for base in self._base_answers)
        return moved / max(size, 1e-12)

    @torch.no_grad()
    def _predictions(
        self, purpose: str, examples: list[Example], samples: int
    ) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """(prediction, target, weights) of ``samples`` noised examples, each at a noise level of its own.

        Levels are spread evenly over the whole range, and the examples take turns, as do datasets, in an order that
        depends on the seed only. The purpose is part of the seed: epochs of a resumed run see the noise of the others.
        """
        order = list(range(len(examples)))
        python_random(self._seed, "evaluation", purpose).shuffle(order)
        order = in_turns(order, lambda number: examples[number].dataset)
        turns = [
            (examples[order[turn % len(order)]], (turn + 0.5) / samples) for turn in range(samples if order else 0)
        ]
        pairs = []
        for shape in sorted({tuple(example.latent.shape) for example, _ in turns}):
            chosen = [(example, level) for example, level in turns if tuple(example.latent.shape) == shape]
            latents = torch.cat([example.latent for example, _ in chosen])
            captions = [example.caption for example, _ in chosen]
            masks = _joined([example for example, _ in chosen])
            generator = torch_generator(self._family.device, self._seed, "evaluation", purpose, repr(shape))
            noise = torch.randn(latents.shape, generator=generator, device=latents.device)
            position = torch.tensor([level for _, level in chosen], device=latents.device)
            for start in range(0, len(latents), EVALUATION_BATCH):
                part = slice(start, start + EVALUATION_BATCH)
                pair = self._predict(latents[part], noise[part], position[part], captions[part])
                pairs.append((*pair, None if masks is None else masks[part]))
        return pairs

    def _predict(self, latents: Tensor, noise: Tensor, position: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        schedule = self._family.schedule
        noisy = schedule.noisy(latents, noise, position)
        with autocast(self._family.device, self._mixed_precision):
            conditioning = self._family.encode_text(captions)
            answer = self._family.predict(noisy, schedule.timesteps(position), conditioning)
        return answer.float(), schedule.target(latents, noise, position)


def _joined(examples: Sequence[Example]) -> Tensor | None:
    """The weights of all examples [B, 1, h, w], 1 where one has none; None where no one has any."""
    if all(example.mask is None for example in examples):
        return None
    plain = torch.ones_like(examples[0].latent[:, :1])
    return torch.cat([plain if example.mask is None else example.mask for example in examples])
