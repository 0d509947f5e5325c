"""Puts an earlier LoRA's file into fresh adapters, so that training goes on from what it does.

The adapters may be larger than the file: a layer that it lacks starts with no effect, and of two matrices of a lower
rank the rest starts as in a fresh adapter, whose second matrix is zero. What the file says and the adapters could not
hold is refused. Names are those that ``export`` writes; scales go into the matrices as ``verification`` reads them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.export import LORA_ENDINGS, diffusers_key, row_norms
from services.trainer.engine.families.base import Family
from services.trainer.engine.lora import ADAPTER_NAME
from services.trainer.engine.verification import RANKED, SCALED, Adapted, adapted_layers

_LOW_RANK = ("lora_A.weight", "lora_B.weight")


def put_in(file: Path, family: Family, carriers: Mapping[str, nn.Module]) -> None:
    """Copy a file of kohya's or diffusers' form into the adapters of ``carriers``, which then do what it does.

    Raises:
        EngineError: INITIAL_LORA_UNFIT when the file cannot be read, or holds what the adapters cannot.
    """
    tensors, settings = _opened(file)
    found: list[tuple[Adapted, dict[str, Tensor]]] = []
    for layer in adapted_layers(carriers):
        matrices = _taken(tensors, settings, family, layer)
        if matrices:
            found.append((layer, matrices))
    if tensors:
        raise _unfit(f"it changes what this job does not train, such as {min(tensors)[:100]}")
    if not found:
        raise _unfit("it holds no layer of the base model")
    with torch.no_grad():
        for layer, matrices in found:
            _put(layer, matrices)


def _opened(file: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    try:
        with safe_open(file, "pt") as opened:
            tensors = {key: opened.get_tensor(key).float() for key in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata() or {}
        settings = json.loads(metadata.get(LORA_ADAPTER_METADATA_KEY, "{}"))
    except (OSError, ValueError, RuntimeError, RecursionError, SafetensorError) as error:
        raise _unfit("it cannot be read") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise _unfit("it holds what is no number")
    return tensors, settings if isinstance(settings, dict) else {}


def _taken(
    tensors: dict[str, Tensor], settings: Mapping[str, Any], family: Family, layer: Adapted
) -> dict[str, Tensor]:
    """A layer's matrices by PEFT's endings, the file's scale inside; nothing where the file leaves the layer alone."""
    kohya = family.kohya_name(layer.component, layer.path)
    spelt = {
        "kohya": {ending: f"{kohya}.{LORA_ENDINGS.get(ending, ending)}" for ending in layer.matrices},
        "diffusers": {
            ending: diffusers_key(family, layer.component, layer.module, f"{layer.path}.{ending}")
            for ending in layer.matrices
        },
    }
    for form, names in spelt.items():
        if not any(name in tensors for name in names.values()):
            continue
        matrices = {
            ending: tensors.pop(name).to(layer.matrices[ending].device)
            for ending, name in names.items()
            if name in tensors
        }
        lacking = layer.matrices.keys() - matrices.keys()
        # A DoRA's scales may start as the norms of the weight that a plain LoRA has changed.
        if any(not ending.startswith("lora_magnitude_vector") for ending in lacking):
            raise _unfit(f"it lacks {names[min(lacking)][:100]}")
        scale = _scale(matrices, tensors.pop(f"{kohya}.alpha", None) if form == "kohya" else None, settings, layer)
        ending = next(each for each in SCALED if each in matrices)
        matrices[ending] = matrices[ending] * (scale / layer.layer.scaling[ADAPTER_NAME])
        if form == "kohya":
            matrices = {f"kohya.{end}" if _is_magnitude(end) else end: value for end, value in matrices.items()}
        return matrices
    return {}


def _scale(matrices: Mapping[str, Tensor], alpha: Tensor | None, settings: Mapping[str, Any], layer: Adapted) -> float:
    """What a reader of the file multiplies its product by."""
    rank = next((matrices[ending].shape[0] for ending in RANKED if ending in matrices), None)
    if rank is None:
        return 1.0
    if alpha is not None:
        if rank == 0 or alpha.numel() != 1:
            raise _unfit(f"the scale of {layer.path} is no number")
        return float(alpha) / rank
    prefix = f"{layer.component}."
    own, patterns = settings.get(f"{prefix}lora_alpha"), settings.get(f"{prefix}alpha_pattern")
    if own is None:
        return 1.0
    if isinstance(patterns, dict):
        own = next((value for name, value in patterns.items() if layer.path.endswith(name)), own)
    try:
        scale = float(own) / (math.sqrt(rank) if settings.get(f"{prefix}use_rslora") else rank)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise _unfit(f"the scale of {layer.path} is no number") from error
    if not math.isfinite(scale):
        raise _unfit(f"the scale of {layer.path} is no number")
    return scale


def _put(layer: Adapted, matrices: Mapping[str, Tensor]) -> None:
    for ending, live in layer.matrices.items():
        if not _is_magnitude(ending):
            live.copy_(_widened(matrices[ending], live, layer, ending))
    for ending, live in layer.matrices.items():
        if _is_magnitude(ending):
            base, changed = (norms.reshape(live.shape) for norms in row_norms(layer.layer))
            given = matrices.get(ending, matrices.get(f"kohya.{ending}"))
            if given is None:
                given = changed
            if given.numel() != live.numel():
                raise _unfit(f"{layer.path} has {given.numel()} scales, not {live.numel()}")
            given = given.reshape(live.shape)
            # Readers of kohya's form divide by the norms of the weight as it was.
            live.copy_(given * (changed / base) if f"kohya.{ending}" in matrices else given)


def _widened(found: Tensor, live: Tensor, layer: Adapted, ending: str) -> Tensor:
    """A file's matrix at the adapter's rank: further rows of the first as they are, further columns of the second 0."""
    if found.shape == live.shape:
        return found
    # A convolution of one pixel is a matrix in some files.
    if ending in _LOW_RANK and found.dim() in (2, live.dim()):
        side = 0 if ending == _LOW_RANK[0] else 1
        shape = list(live.shape)
        shape[side] = found.shape[side]
        if found.shape[side] <= live.shape[side] and found.numel() == math.prod(shape):
            wide = live.clone() if side == 0 else torch.zeros_like(live)
            wide.narrow(side, 0, found.shape[side]).copy_(found.reshape(shape))
            return wide
    raise _unfit(f"{layer.path} has {ending} of the shape {list(found.shape)}, not {list(live.shape)}")


def _is_magnitude(ending: str) -> bool:
    return ending.startswith("lora_magnitude_vector")


def _unfit(what: str) -> EngineError:
    return EngineError(
        "INITIAL_LORA_UNFIT",
        f"The LoRA to start from does not fit this job: {what}.",
        "Start from a LoRA of this base model, with at least its rank and its layers, or without one.",
    )
