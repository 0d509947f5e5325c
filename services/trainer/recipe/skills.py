"""What jobs ask of a worker's program beyond what the first release could, so that an older one gets none of these."""

from __future__ import annotations

from services.trainer.recipe.parameters import TrainingParameters

SKILL = 1
"""Of this release."""

_GOES_ON_AND_PRESERVES = 1


def needed_skill(parameters: TrainingParameters, *, goes_on: bool) -> int:
    """The least skill of a worker for a job. goes_on: from an earlier LoRA."""
    return _GOES_ON_AND_PRESERVES if goes_on or parameters.preservation_weight > 0.0 else 0
