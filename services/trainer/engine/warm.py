"""What stays loaded from one job to the next: a base model without adapters, and the helper processes of a CPU.

A job gets the very model that an earlier one gave back, so its files are bitwise those of a cold start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from services.trainer.engine.devices import free_unused_memory
from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.families.fingerprint import model_fingerprint
from services.trainer.engine.helpers import Helpers
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.lora import remove_adapters

_Key = tuple[object, ...]


class Warm:
    """Holds one base model at most, between jobs; one job at a time takes it. Not safe for threads at once."""

    def __init__(self) -> None:
        self.helpers = Helpers()
        self._key: _Key | None = None
        self._family: Family | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes of the weights that are held now, on whichever device."""
        if self._family is None:
            return 0
        tensors = [tensor for module in self._family.modules for tensor in (*module.parameters(), *module.buffers())]
        return sum(tensor.nbytes for tensor in tensors)

    def take(
        self,
        files: BaseModelFiles,
        device: torch.device,
        dtype: torch.dtype,
        quantization: str,
        streamed: int = 0,
        *,
        as_held: bool = False,
    ) -> Family:
        """The base model, held or loaded; what is held of another one is let go before.

        streamed: blocks that do not stay on the device. as_held: a model that is held may have another number of them.

        Raises:
            EngineError: see ``families.load_family``.
        """
        key = (model_fingerprint(files), files, device, dtype, quantization)
        family, held = self._family, self._key == key
        if family is not None and not as_held:
            held = held and streamed == (family.stream.streamed if family.stream else 0)
        self._family = None
        if family is not None and held:
            return family
        if family is not None:
            del family
            free_unused_memory()
        # Known before it is loaded: a model that cannot be is not held either.
        self._key = key
        return load_family(files, device, dtype, quantization, streamed)

    def give_back(self, family: Family, carriers: Mapping[str, nn.Module]) -> None:
        """Hold what ``take`` gave, once a run is over, its adapters taken off.

        Do not give back a model after an error or with compiled blocks.
        """
        remove_adapters(carriers)
        denoiser: Any = family.denoiser
        denoiser.disable_gradient_checkpointing()
        # Another layout rounds otherwise than that of a model that was just loaded.
        self._family = family if family.layout is type(family).layout else None

    def close(self) -> None:
        """Let everything go."""
        self.helpers.close()
        if self._family is not None:
            self._family = None
            free_unused_memory()
