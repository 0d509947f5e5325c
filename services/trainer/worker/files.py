"""Base models as the engine loads them."""

from __future__ import annotations

from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.catalogue import BaseModel


def files_of(model: BaseModel) -> BaseModelFiles:
    """Where the weights of a catalogue's entry lie, and what belongs to them."""
    return BaseModelFiles(
        id=model.id,
        family=model.family,
        source=model.source,
        architecture=model.architecture,
        config_source=model.config_source,
        neutral_prompts=model.neutral_prompts,
        training_adapter=model.training_adapter,
    )
