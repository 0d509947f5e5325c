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
        absent = next((name for name, each in _weights(module).items() if each.is_meta), None)
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
    own = _weights(module)
    endings = {name.removeprefix(f"{level}.") for name in known for level in {"", name.split(".", 1)[0]}}
    plain = {_plain(name) for name in known}
    absent = {
        name: each
        for name, each in own.items()
        if name not in endings and name.split(".", 1)[-1] not in known and _plain(name) not in plain
    }
    held = {each.data_ptr() for name, each in own.items() if name not in absent}
    return next((name for name, each in absent.items() if each.data_ptr() not in held), None)


def _plain(name: str) -> str:
    """A name without the levels around language models that see, which come in another order in files."""
    return ".".join(level for level in name.split(".") if level not in ("model", "language_model"))


def _check_numbers(module: nn.Module, component: str, files: BaseModelFiles) -> None:
    words, anything = component_words(component), False
    for name, weight in _weights(module).items():
        low, high = _bounds(weight)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise corrupt(files, f"its {words} has a weight that is not a number ({name})")
        anything = anything or (isinstance(weight, nn.Parameter) and (low != high or low != 0.0))
    if not anything:
        raise corrupt(files, f"every weight of its {words} is zero")


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Also what is no parameter and yet part of a model's files, such as the statistics of FLUX.2's latents."""
    held = module.state_dict(keep_vars=True)
    buffers = {name: held[name] for name, each in module.named_buffers() if name in held and each.is_floating_point()}
    return {**dict(module.named_parameters()), **buffers}


def _bounds(weight: Tensor) -> tuple[float, float]:
    """Lowest and highest number; one that is not a number is both."""
    if not weight.numel():
        return 0.0, 0.0
    low, high = torch.aminmax(weight.detach())
    return float(low), float(high)
