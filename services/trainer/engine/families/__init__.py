"""Model families: ``load_family`` builds the one that a base model's catalogue entry names."""

from __future__ import annotations

from importlib import import_module

import torch

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.quantization import check_quantization
from services.trainer.recipe.families import families


def load_family(
    files: BaseModelFiles, device: torch.device, dtype: torch.dtype, quantization: str = "none", streamed: int = 0
) -> Family:
    """The base model, frozen, on ``device``, its denoiser and text encoders in ``dtype``.

    Args:
        quantization: none, int8 or nf4, of the denoiser's blocks.
        streamed: blocks of the denoiser that do not stay on ``device``, see ``streaming``.

    Raises:
        EngineError: FAMILY_UNKNOWN, QUANTIZATION_UNAVAILABLE, or one of the reasons of ``loading.load_pipeline``.
    """
    check_quantization(quantization)
    if files.family not in families():
        raise EngineError(
            "FAMILY_UNKNOWN",
            f"This worker cannot train the family {files.family!r} of {files.id}.",
            f"Choose a base model of the families {', '.join(families())}.",
        )
    facts = families()[files.family]
    known = [architecture.name for architecture in facts.architectures]
    if files.architecture not in known:
        raise EngineError(
            "BASE_MODEL_UNSUPPORTED",
            f"The base model {files.id} has the architecture {files.architecture!r}, which is not of {facts.title}.",
            f"Choose one of the architectures {', '.join(known)} in the catalogue.",
        )
    return family_class(files.family).load(files, device, dtype, quantization, streamed)


def family_class(name: str) -> type[Family]:
    """The engine's class of a family: ``FAMILY`` in the file of this folder that is named like the family."""
    found: type[Family] = import_module(f"{__name__}.{name.replace('-', '_')}").FAMILY
    return found
