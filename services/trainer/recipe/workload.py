"""What a run does beside its steps, in numbers: the engine works by them and costs are counted with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.trainer.recipe.parameters import TrainingParameters

LEAST_PREVIEWS = 3
"""Previews of an epoch; a user's own prompts may be more."""

NEUTRAL_STEPS = 6
"""Sampling steps of the base model's own pictures of neutral prompts, on which drift is measured."""

EVALUATION_BATCH = 8
EVALUATION_SHARE = 0.13
"""Predictions of an epoch's evaluation for each prediction of its training, so that a long epoch is measured finely."""

FEWEST_PREDICTIONS, MOST_PREDICTIONS = 13, 64
"""Bounds of an evaluation: at least four noise levels of each measure, at most what still tells epochs apart."""

MOVED_PICTURES = 10
"""Pictures whose moved views are measured."""

MOVED_VIEWS = 2
"""Views of each of them: nearer and farther."""

ENCODE_BATCH = 16
"""Views that go through the autoencoder together."""

WORTH_A_HELPER = 1000
"""Samples of a job on a CPU from which the seconds that a second process needs to start are won back."""


@dataclass(frozen=True, slots=True)
class EvaluationSamples:
    """Predictions of each measure of an epoch: a noised picture and a noise level of its own for every one."""

    fit: int
    moved: int
    held_out: int
    drift: int

    @property
    def total(self) -> int:
        return self.fit + self.moved + self.held_out + self.drift


def evaluation_samples(parameters: TrainingParameters, samples: int, *, held_out: bool) -> EvaluationSamples:
    """How finely an epoch is measured, whatever the number of its pictures.

    Args:
        samples: of the subject in an epoch.
        held_out: a picture is kept out of training. It says all that moved views of trained ones could say.
    """
    drawn = samples * (1.0 + parameters.regularization_fraction)
    total = min(MOST_PREDICTIONS, max(FEWEST_PREDICTIONS, math.ceil(EVALUATION_SHARE * drawn)))
    drift = total * 4 // 13
    seen = (total - drift) // 2
    unseen = total - drift - seen
    return EvaluationSamples(seen, 0 if held_out else unseen, unseen if held_out else 0, drift)


def preview_count(parameters: TrainingParameters) -> int:
    """Previews of an epoch of a job with these parameters."""
    return max(LEAST_PREVIEWS, len(parameters.preview_prompts), len(parameters.preview_seeds))
