"""Number formats: of the frozen base, of the activations, and the scaling that float16 gradients need."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import torch

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, mixed_precision: str) -> AbstractContextManager[object]:
    """The context in which predictions are computed; trained weights stay in float32 outside it."""
    return torch.autocast(device.type, dtype=DTYPES[mixed_precision], enabled=mixed_precision != "no")


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
