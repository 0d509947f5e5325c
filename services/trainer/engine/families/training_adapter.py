"""The LoRA that undoes a model's distillation while it is trained, and is in no file and no picture.

A distilled model draws in a few steps without guidance and forgets how when it is trained as it is. With such an
adapter beside its frozen layers it answers like the model that it was distilled from; what is learnt then fits the
distilled one (ostris' training adapters for FLUX.1 [schnell] and Z-Image-Turbo). It stays beside the layers rather than
inside their weights: to take it out for previews then changes nothing, and the layers may be quantised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import BaseModelFiles

_PREFIXES = ("diffusion_model.", "transformer.", "unet.")
_DOWN, _UP = ("lora_A.weight", "lora_down.weight"), ("lora_B.weight", "lora_up.weight")


class TrainingAdapter:
    """Of a denoiser; nothing where a base model has none.

    Attributes:
        digest: SHA-256 of its file, "" without one.
    """

    def __init__(self, digest: str = "") -> None:
        self.digest = digest
        self._off = False

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """The denoiser as it is published, for pictures."""
        before, self._off = self._off, True
        try:
            yield
        finally:
            self._off = before

    def put_beside(self, layer: nn.Linear, down: Tensor, up: Tensor) -> None:
        """Add ``up @ down @ x`` to the layer's answer. down: [rank, in], up: [out, rank], the scale inside."""

        def add(_: Any, inputs: tuple[Tensor, ...], answer: Tensor) -> Tensor:
            return answer if self._off else answer + functional.linear(functional.linear(inputs[0], down), up)

        layer.register_forward_hook(add)


def add_training_adapter(
    denoiser: nn.Module, files: BaseModelFiles, device: torch.device, dtype: torch.dtype
) -> TrainingAdapter:
    """Put the adapter that ``files`` names beside the denoiser's layers.

    Raises:
        EngineError: TRAINING_ADAPTER_UNFIT when its file cannot be read, or has a layer that the denoiser has not.
    """
    if files.training_adapter is None:
        return TrainingAdapter()
    path = Path(files.training_adapter)
    try:
        tensors = load_file(path)
        with path.open("rb") as file:
            adapter = TrainingAdapter(hashlib.file_digest(file, "sha256").hexdigest())
    except (OSError, SafetensorError) as error:
        raise _unfit(files, "cannot be read") from error
    layers = dict(denoiser.named_modules())
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, ending = _split(key)
        parts.setdefault(name, {})[ending] = tensor.float()
    for name, part in parts.items():
        layer: Any = layers.get(name)
        down, up = part.get("down"), part.get("up")
        if down is None or up is None or not hasattr(layer, "in_features"):
            raise _unfit(files, f"has the layer {name[:100]}, which the model has not")
        if (up.shape[0], down.shape[1]) != (layer.out_features, layer.in_features) or up.shape[1] != down.shape[0]:
            raise _unfit(files, f"has another size at {name[:100]}")
        scale = _scale(part, down.shape[0])
        adapter.put_beside(layer, down.to(device, dtype), (up * scale).to(device, dtype))
    if not parts:
        raise _unfit(files, "holds no layer")
    return adapter


def _split(key: str) -> tuple[str, str]:
    name = next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key)
    for kind, endings in (("down", _DOWN), ("up", _UP), ("alpha", ("alpha",))):
        for ending in endings:
            if name.endswith(f".{ending}"):
                return name.removesuffix(f".{ending}"), kind
    return name, "other"


def _scale(part: Mapping[str, Tensor], rank: int) -> float:
    return float(part["alpha"]) / rank if "alpha" in part else 1.0


def _unfit(files: BaseModelFiles, what: str) -> EngineError:
    return EngineError(
        "TRAINING_ADAPTER_UNFIT",
        f"The training adapter of the base model {files.id} {what}.",
        "Name the adapter that was made for this model as training_adapter in the catalogue.",
    )
