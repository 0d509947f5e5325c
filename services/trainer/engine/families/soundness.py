"""Whether a base model that a library has loaded is whole: no weight left out, made up, or not a number.

Libraries go on without a word where a text encoder's file lacks weights, and draw those at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from services.trainer.engine.families.refusals import corrupt, lacking, unsupported
from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families.facts import FamilyFacts
from services.trainer.recipe.families.fitting import component_words


def check_sound(
    pipeline: Any, facts: FamilyFacts, files: BaseModelFiles, names: Mapping[str, Iterable[str]] | None = None
) -> None:
    """Looks at every weight once, which takes seconds for the largest models on a CPU.

    Args:
        names: of the tensors in each component's files, where they are known.

    Raises:
        EngineError: BASE_MODEL_INCOMPLETE, BASE_MODEL_UNSUPPORTED or BASE_MODEL_CORRUPT.
    """
    for component in facts.classes:
        module = getattr(pipeline, component)
        known = frozenset((names or {}).get(component, ()))
        absent = next((name for name, each in module.named_parameters() if each.is_meta), None)
        absent = absent or (_not_in(module, known) if known else None)
        if absent:
            raise lacking(files, component, f"weights, such as {absent}")
        if known and component == facts.denoiser.component:
            unknown = sorted(known - set(module.state_dict()))
            if unknown:
                what = f"holds weights that the configuration of its {component_words(component)} does not know"
                raise unsupported(facts, files, f"{what}, such as {unknown[0][:80]}")
        _check_numbers(module, component, files)


def _not_in(module: nn.Module, known: frozenset[str]) -> str | None:
    """A weight of the module that no file holds; names may lack or have the outer level, and tied weights come once."""
    own = dict(module.named_parameters())
    endings = {name.removeprefix(f"{level}.") for name in known for level in {"", name.split(".", 1)[0]}}
    absent = {name: each for name, each in own.items() if name not in endings and name.split(".", 1)[-1] not in known}
    held = {each.data_ptr() for name, each in own.items() if name not in absent}
    return next((name for name, each in absent.items() if each.data_ptr() not in held), None)


def _check_numbers(module: nn.Module, component: str, files: BaseModelFiles) -> None:
    words, anything = component_words(component), False
    for name, weight in module.named_parameters():
        low, high = _bounds(weight)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise corrupt(files, f"its {words} has a weight that is not a number ({name})")
        anything = anything or low != high or low != 0.0
    if not anything:
        raise corrupt(files, f"every weight of its {words} is zero")


def _bounds(weight: Tensor) -> tuple[float, float]:
    """Lowest and highest number; one that is not a number is both."""
    if not weight.numel():
        return 0.0, 0.0
    low, high = torch.aminmax(weight.detach())
    return float(low), float(high)
