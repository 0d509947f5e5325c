"""What a run does beside its steps, in numbers: the engine works by them and costs are counted with them."""

from __future__ import annotations

from services.trainer.recipe.parameters import TrainingParameters

LEAST_PREVIEWS = 3
"""Previews of an epoch; a user's own prompts may be more."""

NEUTRAL_STEPS = 10
"""Sampling steps of the base model's own pictures of neutral prompts, on which drift is measured."""

EVALUATION_BATCH = 8
FIT_SAMPLES = 16
MOVED_SAMPLES = 40
HELD_OUT_SAMPLES = 8
DRIFT_SAMPLES = 16
"""Noised examples of each measure of an epoch, about: noise levels are spread evenly over the pictures."""

MOVED_PICTURES = 10
"""Pictures whose moved views are measured."""

MOVED_VIEWS = 2
"""Views of each of them: nearer and farther."""

ENCODE_BATCH = 16
"""Views that go through the autoencoder together."""

WORTH_A_HELPER = 1000
"""Samples of a job on a CPU from which the seconds that a second process needs to start are won back."""


def preview_count(parameters: TrainingParameters) -> int:
    """Previews of an epoch of a job with these parameters."""
    return max(LEAST_PREVIEWS, len(parameters.preview_prompts), len(parameters.preview_seeds))
