"""Number formats and devices: of the frozen base, of the activations, the scaling that float16 gradients need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

checkpointed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
"""Gradient checkpointing for models without dropout: saving the state of generators would wait for the device."""


def autocast(device: torch.device, mixed_precision: str) -> AbstractContextManager[object]:
    """The context in which predictions are computed; trained weights stay in float32 outside it."""
    return torch.autocast(device.type, dtype=DTYPES[mixed_precision], enabled=mixed_precision != "no")


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A part of an autocast context that computes in the number formats of its own weights."""
    return torch.autocast(device.type, enabled=False)


def gradient_scaler(device: torch.device, mixed_precision: str) -> torch.amp.GradScaler:
    """Dynamic loss scaling for float16; switched off (and free) for the other formats."""
    return torch.amp.GradScaler(device.type, enabled=mixed_precision == "fp16")


def choose_device(name: str) -> torch.device:
    """``auto`` takes the accelerator when there is one."""
    if name == "auto":
        # torchrun gives each process of a machine an accelerator of its own.
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    return torch.device(name)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the CPU on ``device``. The host does not wait for the accelerator: the copy is queued."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Kernels that give the same bits every time; on a CPU with a fixed number of threads they all do.

    An operation without such a kernel warns and goes on.
    """
    if device.type != "cuda":
        yield
        return
    # Read by cuBLAS when it starts; without it its sums depend on which stream they run in.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.cuda.set_device(device)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Memory that is about to be written needs no filling, which would be a kernel more for each new tensor.
    memory.fill_uninitialized_memory = False
    # The fastest kernel by stopwatch is not the same one every time.
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
        torch.backends.cudnn.benchmark = benchmark
