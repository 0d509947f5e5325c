"""The engine's one exception: a reason that code can match, a sentence for the user and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class EngineError(Exception):
    """A run that cannot go on.

    Attributes:
        reason: stable UPPER_SNAKE code, e.g. ``OUT_OF_MEMORY``, ``LOSS_NOT_FINITE``, ``BASE_MODEL_CORRUPT``.
        message: one sentence that says what happened.
        remedy: what to change so that it works.
        user_error: True when a retry without a change would fail again.
    """

    def __init__(self, reason: str, message: str, remedy: str, *, user_error: bool = True) -> None:
        super().__init__(f"{message} {remedy}")
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.user_error = user_error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device or this machine had no memory left."""
    # The CPU allocator raises a plain RuntimeError; only its text tells it from a programming error.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def out_of_memory_named(remedy: str) -> Iterator[None]:
    """Turn the device's out-of-memory error into an EngineError that says which smaller settings fit."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        message = "The machine has too little memory for these settings."
        if isinstance(error, torch.OutOfMemoryError):
            message = "The device has too little memory for these settings."
        raise EngineError("OUT_OF_MEMORY", message, remedy) from error
