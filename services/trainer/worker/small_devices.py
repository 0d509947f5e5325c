"""What this worker does by itself where a base model is larger than its device."""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.recipe.advice import cost_of, usable_bytes
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.families import families
from services.trainer.recipe.parameter_spec import InvalidParameter
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import PictureSize
from services.trainer.recipe.streaming import for_worker


def streamed_blocks(
    model: BaseModel,
    parameters: TrainingParameters,
    pictures: Sequence[PictureSize],
    *,
    device: str,
    memory_bytes: int,
) -> int:
    """Blocks of the base model that a job streams here; 0 where all stay, or where that would not help.

    device: as estimates know it. memory_bytes: all of its memory.
    """
    try:
        cost = cost_of(model, parameters, pictures)
    except InvalidParameter:
        # The engine says what is wrong with them.
        return 0
    usable = usable_bytes(memory_bytes, [device])
    facts = families()[model.family]
    chosen = for_worker(facts, model.costs, parameters, cost, device=device, usable=usable)
    return chosen.streamed if chosen else 0
