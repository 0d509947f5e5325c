"""Model families: ``load_family`` builds the one that a base model's catalogue entry names."""

from __future__ import annotations

from collections.abc import Callable

import torch

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families.base import Family
from services.trainer.engine.families.flux import Flux
from services.trainer.engine.families.sdxl import StableDiffusionXL
from services.trainer.engine.families.stable_diffusion import StableDiffusion
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.quantization import check_quantization

Loader = Callable[[BaseModelFiles, torch.device, torch.dtype, str], Family]

LOADERS: dict[str, Loader] = {
    StableDiffusion.name: StableDiffusion.load,
    StableDiffusionXL.name: StableDiffusionXL.load,
    Flux.name: Flux.load,
}


def load_family(files: BaseModelFiles, device: torch.device, dtype: torch.dtype, quantization: str = "none") -> Family:
    """The base model, frozen, on ``device``, its denoiser and text encoders in ``dtype``.

    Args:
        quantization: none, int8 or nf4, of the denoiser's blocks.

    Raises:
        EngineError: FAMILY_UNKNOWN, QUANTIZATION_UNAVAILABLE, or one of the reasons of ``loading.load_pipeline``.
    """
    check_quantization(quantization)
    loader = LOADERS.get(files.family)
    if loader is None:
        raise EngineError(
            "FAMILY_UNKNOWN",
            f"This worker cannot train the family {files.family!r} of {files.id}.",
            f"Choose a base model of the families {', '.join(sorted(LOADERS))}.",
        )
    return loader(files, device, dtype, quantization)
