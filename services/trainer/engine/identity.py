"""What decides the weights of a run, as one digest: a checkpoint fits a job with the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

from services.trainer.engine.job import TrainJobSpec
from services.trainer.engine.json_text import to_json
from services.trainer.engine.pictures import Picture
from services.trainer.engine.regularization import OwnRegularization, RegularizationSet
from services.trainer.recipe.sharing import samples_of, samples_of_each

PARAMETERS_FREE_TO_CHANGE = (
    "num_epochs",
    "preset",
    "preview_prompts",
    "preview_seeds",
    "preview_negative_prompt",
    "preview_steps",
    "preview_guidance",
)
"""A checkpoint may be resumed with other values of these: more epochs, other pictures of the same weights."""
PARAMETERS_SINCE_ADDED = {
    "lr_num_cycles": 1,
    "lr_power": 1,
    "unmasked_weight": 0.1,
    "preservation_weight": 0.0,
    "preservation_class": "",
}
"""Checkpoints older than these were written as if they had these values, which leaves them out of the identity."""


def identity_of(
    spec: TrainJobSpec,
    fingerprint: str,
    pictures: Sequence[Picture],
    training_adapter: str,
    regularization: RegularizationSet | OwnRegularization | None,
) -> str:
    """Digest of everything that decides the weights; a checkpoint fits a job with the same one."""
    parameters = {
        name: value
        for name, value in asdict(spec.parameters).items()
        if name not in PARAMETERS_FREE_TO_CHANGE and PARAMETERS_SINCE_ADDED.get(name) != value
    }
    items = [
        (
            picture.digest,
            picture.item.caption,
            samples_of(picture.item.repeats, spec.parameters),
            picture.item.crop,
            *([picture.mask_digest] if picture.mask_digest else []),
        )
        for picture in pictures
    ]
    initial = f"initial {spec.initial_lora.digest}" if spec.initial_lora else ""
    parts: list[object] = [fingerprint, parameters, items, *filter(None, [training_adapter, initial])]
    if spec.datasets:
        words = [(dataset.trigger_word, dataset.subject) for dataset in spec.datasets]
        of_each = [picture.item.dataset for picture in pictures]
        parts.append([words, of_each, samples_of_each(spec.items, spec.parameters)])
    if isinstance(regularization, OwnRegularization):
        # Those of the base model are known by its fingerprint.
        parts.append([regularization.digest, regularization.captions])
    return hashlib.sha256(to_json(parts).encode()).hexdigest()
