"""Reads an epoch's files back before they are reported: every tensor by its key, and one prediction with them.

A file is read as its readers read it: the scale is its alpha over its rank, and DoRA's scales go by the norm that the
readers of the form divide by. What comes out must be the live adapter. Tolerances are shares of the adapter's own
size, so a LoRA of one small step is checked as strictly as a strong one. No second model is built: for the prediction
the live layers answer without their adapter, and the file's change of their weights is added by hooks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.export import LORA_ENDINGS, diffusers_key, row_norms, split_key
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import ArtifactFile
from services.trainer.engine.lora import ADAPTER_NAME, adapter_state, adapters_off, whole_change
from services.trainer.engine.quantization import whole_weight

TENSOR_TOLERANCE = 0.005
"""Largest share of a matrix's norm by which the file's may differ; what half precision changes more is not halved."""

SCALE_ROUNDING = 1e-6
"""The same for DoRA's scales, as a share of the weight's norms: their change may be smaller than float32 can say."""

EFFECT_TOLERANCE = 0.05
"""Largest share of the adapter's own effect on a prediction by which the file's may differ."""

ROUNDING = {"no": 1e-5, "bf16": 3e-2, "fp16": 5e-3}
"""Share of the prediction by number format that rounding alone may change."""

SCALED = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")
"""The matrix of each adapter that takes a scale into itself, so that it is written or read at full strength."""

RANKED = ("lora_A.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
"""Matrices whose first side is the rank, in the order in which readers look."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Fixed noisy latents [B, C, h, w], timesteps [B] and captions on which two models are compared."""

    noisy: Tensor
    timesteps: Tensor
    captions: tuple[str, ...]

    def answer(self, family: Family) -> Tensor:
        """The family's prediction in float32."""
        with torch.no_grad():
            conditioning = family.encode_text(self.captions)
            prediction = family.predict(self.noisy, self.timesteps, conditioning)
        return prediction.float()


@dataclass(frozen=True, slots=True)
class Adapted:
    """A layer with an adapter: its place in a component, and its matrices by PEFT's endings."""

    component: str
    module: nn.Module
    path: str
    layer: Any
    matrices: dict[str, Tensor]

    @property
    def is_dora(self) -> bool:
        return bool(getattr(self.layer, "lora_variant", None))


def verify_artifacts(
    artifacts: Sequence[ArtifactFile],
    family: Family,
    carriers: Mapping[str, nn.Module],
    mixed_precision: str,
    probe: Probe,
) -> float:
    """Compare every file's tensors with the live adapter, and the first one's prediction with the live model's.

    Returns:
        The difference of the predictions as a share of the adapter's own effect on them; 0 where it has none.

    Raises:
        EngineError: EXPORT_MISMATCH when a file does not hold what was trained.
    """
    layers = adapted_layers(carriers)
    held = [_compared(artifact, family, layers) for artifact in artifacts]
    live = probe.answer(family)
    with adapters_off([adapted.layer for adapted in layers]):
        effect = (live - probe.answer(family)).norm()
        with _changed(layers, held[0]):
            difference = (live - probe.answer(family)).norm()
    if not difference <= EFFECT_TOLERANCE * effect + ROUNDING[mixed_precision] * live.norm():
        raise _mismatch(artifacts[0].form, f"its prediction differs by {float(difference / effect):.2g} of the effect")
    return float(difference / effect) if effect > 0.0 else 0.0


def adapted_layers(carriers: Mapping[str, nn.Module]) -> list[Adapted]:
    """Every layer that carries a part of the live adapter."""
    found: dict[tuple[str, str], Adapted] = {}
    for component, module in carriers.items():
        for key, tensor in adapter_state(module).items():
            path, ending = split_key(key)
            layer = found.setdefault(
                (component, path), Adapted(component, module, path, module.get_submodule(path), {})
            )
            layer.matrices[ending] = tensor
    return list(found.values())


def _compared(artifact: ArtifactFile, family: Family, layers: Sequence[Adapted]) -> list[dict[str, Tensor]]:
    """What a file holds for each layer, in the live adapter's own terms; EngineError where that is another adapter."""
    tensors, metadata = _opened(artifact)
    read = _read_kohya if artifact.form == "kohya" else _read_diffusers
    held = [read(tensors, metadata, family, layer) for layer in layers]
    if tensors:
        raise _mismatch(artifact.form, f"it holds {len(tensors)} tensors of no trained layer, such as {min(tensors)}")
    for layer, matrices in zip(layers, held, strict=True):
        for ending, live in layer.matrices.items():
            found = matrices[ending]
            if found.shape != live.shape:
                raise _mismatch(artifact.form, f"{layer.path} has {ending} of the shape {tuple(found.shape)}")
            live = live.float()
            size, rounding = live.norm(), 0.0
            if ending.startswith("lora_magnitude_vector"):
                # Without a change the scales are the norms of the weight: their own effect is the difference.
                _, norms = row_norms(layer.layer)
                size, rounding = (live - norms.reshape(live.shape)).norm(), SCALE_ROUNDING * float(norms.norm())
            if not (found - live).norm() <= TENSOR_TOLERANCE * size + rounding:
                raise _mismatch(artifact.form, f"{layer.path} has another {ending} than was trained")
    return held


def _opened(artifact: ArtifactFile) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(artifact.path, "pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _mismatch(artifact.form, "it cannot be read back") from error
    for key, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float16) or not bool(torch.isfinite(tensor).all()):
            raise _mismatch(artifact.form, f"{key} holds what is no number")
    return tensors, metadata


def _read_kohya(tensors: dict[str, Tensor], _: dict[str, str], family: Family, layer: Adapted) -> dict[str, Tensor]:
    """Takes a layer's tensors out of a kohya file. LoKr's readers leave the scale out where both matrices are whole."""
    key = family.kohya_name(layer.component, layer.path)
    matrices = _taken(tensors, "kohya", layer, {end: f"{key}.{LORA_ENDINGS.get(end, end)}" for end in layer.matrices})
    alpha = tensors.pop(f"{key}.alpha", None)
    if alpha is None or alpha.numel() != 1:
        raise _mismatch("kohya", f"{layer.path} has no alpha")
    rank = next((matrices[ending].shape[0] for ending in RANKED if ending in matrices), None)
    for ending in matrices:
        if ending.startswith("lora_magnitude_vector"):
            base, changed = (norms.reshape(matrices[ending].shape) for norms in row_norms(layer.layer))
            matrices[ending] = matrices[ending] * (changed / base)
    return _unscaled(matrices, layer, 1.0 if rank is None else float(alpha) / rank)


def _read_diffusers(
    tensors: dict[str, Tensor], metadata: dict[str, str], family: Family, layer: Adapted
) -> dict[str, Tensor]:
    """Takes a layer's tensors out of a diffusers file, scaled as the configuration in its metadata says."""
    component = layer.component
    names = {end: diffusers_key(family, component, layer.module, f"{layer.path}.{end}") for end in layer.matrices}
    matrices = _taken(tensors, "diffusers", layer, names)
    try:
        settings = json.loads(metadata[LORA_ADAPTER_METADATA_KEY])
        rank, alpha = settings[f"{component}.r"], settings[f"{component}.lora_alpha"]
        scale = alpha / (math.sqrt(rank) if settings[f"{component}.use_rslora"] else rank)
        dora = settings[f"{component}.use_dora"]
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise _mismatch("diffusers", f"it has no configuration of {component}") from error
    if rank != matrices["lora_A.weight"].shape[0] or dora != layer.is_dora:
        raise _mismatch("diffusers", f"its configuration of {component} is of another adapter")
    return _unscaled(matrices, layer, scale)


def _taken(tensors: dict[str, Tensor], form: str, layer: Adapted, names: Mapping[str, str]) -> dict[str, Tensor]:
    lacking = [name for name in names.values() if name not in tensors]
    if lacking:
        raise _mismatch(form, f"it lacks {lacking[0]}")
    taken = {ending: tensors.pop(name) for ending, name in names.items()}
    return {
        # Only DoRA's scales are laid out in another way, with as many numbers.
        ending: tensor.to(live.device).float().reshape(live.shape if tensor.numel() == live.numel() else tensor.shape)
        for (ending, tensor), live in zip(taken.items(), layer.matrices.values(), strict=True)
    }


def _unscaled(matrices: dict[str, Tensor], layer: Adapted, scale: float) -> dict[str, Tensor]:
    """The matrices with a file's scale moved into one of them, as far as the live layer does not apply it itself."""
    ending = next(each for each in SCALED if each in matrices)
    return {**matrices, ending: matrices[ending] * (scale / layer.layer.scaling[ADAPTER_NAME])}


@contextmanager
def _changed(layers: Sequence[Adapted], held: Sequence[Mapping[str, Tensor]]) -> Iterator[None]:
    """Base layers that answer as if the matrices had been merged into their weights.

    A layer's change is computed when it is called and dropped again, so that never more than one is held.
    """
    hooks = [
        adapted.layer.get_base_layer().register_forward_hook(_adding(adapted, matrices))
        for adapted, matrices in zip(layers, held, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _adding(adapted: Adapted, matrices: Mapping[str, Tensor]) -> Any:
    def add(layer: Any, inputs: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        change = _weight_change(adapted, matrices).to(inputs[0].dtype)
        if isinstance(layer, nn.Conv2d):
            added = functional.conv2d(
                inputs[0], change, None, layer.stride, layer.padding, layer.dilation, layer.groups
            )
        else:
            added = functional.linear(inputs[0], change)
        return answer + added

    return add


def _weight_change(adapted: Adapted, matrices: Mapping[str, Tensor]) -> Tensor:
    """What the matrices add to a layer's weight, by PEFT's formulas, and for DoRA by its own (Liu et al. 2024)."""
    live = {ending: tensor.clone() for ending, tensor in adapted.matrices.items()}
    with torch.no_grad():
        for ending, tensor in adapted.matrices.items():
            tensor.copy_(matrices[ending])
        change = whole_change(adapted.layer)
        norms = row_norms(adapted.layer)[1] if adapted.is_dora else None
        for ending, tensor in adapted.matrices.items():
            tensor.copy_(live[ending])
    if norms is None:
        return change
    magnitude = next(tensor for ending, tensor in matrices.items() if ending.startswith("lora_magnitude_vector"))
    weight = whole_weight(adapted.layer.get_base_layer(), change.device)
    return magnitude.reshape(norms.shape) / norms * (weight + change) - weight


def _mismatch(form: str, what: str) -> EngineError:
    return EngineError(
        "EXPORT_MISMATCH",
        f"The {form} file of this epoch does not hold what was trained: {what}.",
        "This is a fault of Fiveshot; report it with the job's parameters.",
        user_error=False,
    )
