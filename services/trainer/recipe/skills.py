"""What jobs ask of a worker's program beyond what the first release could, so that an older one gets none of these."""

from __future__ import annotations

from services.trainer.recipe.parameters import TrainingParameters

SKILL = 2
"""Of this release."""

_GOES_ON_AND_PRESERVES = 1
_MIXES = 2


def needed_skill(parameters: TrainingParameters, *, goes_on: bool, mixes: bool) -> int:
    """The least skill of a worker for a job. goes_on: from an earlier LoRA. mixes: several datasets."""
    if mixes:
        return _MIXES
    return _GOES_ON_AND_PRESERVES if goes_on or parameters.preservation_weight > 0.0 else 0


def unskilled(parameters: TrainingParameters, skill: int, *, goes_on: bool, mixes: bool) -> str:
    """What of a job a program of less skill than it needs cannot do: the end of a sentence that says "cannot"."""
    if mixes and skill < _MIXES:
        return "train several datasets in one job"
    if goes_on:
        return "go on from an earlier LoRA"
    return "compute a preservation loss" if parameters.preservation_weight > 0.0 else ""
