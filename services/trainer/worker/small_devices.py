"""What this worker does by itself where a base model is larger than its device."""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.recipe.advice import after_out_of_memory, cost_of, offered_by, usable_bytes
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


def less_memory(model: BaseModel, parameters: TrainingParameters, formats: Sequence[str], *, quantizes: bool) -> str:
    """What to change when this worker's memory runs out: only what the base model takes and this worker can do.

    formats: that the device computes in; empty for all. quantizes: it can load a quantised base model.
    """
    by_model = offered_by(model)
    return after_out_of_memory(
        parameters, lambda change: by_model(change) and (quantizes or "base_quantization" not in change), formats
    )
