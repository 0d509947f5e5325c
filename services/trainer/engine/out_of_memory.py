"""The device's own error of too little memory as one that says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from services.trainer.engine.errors import EngineError


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device or this machine had no memory left."""
    # The CPU allocator raises a plain RuntimeError; only its text tells it from a programming error.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def out_of_memory_named(remedy: str) -> Iterator[None]:
    """Turn the device's out-of-memory error into an EngineError that says which smaller settings fit."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError("OUT_OF_MEMORY", "The device has too little memory for these settings.", remedy) from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise EngineError("OUT_OF_MEMORY", "The machine has too little memory for these settings.", remedy) from error
