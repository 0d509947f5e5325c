"""Every random draw of a run. Counter-based: a draw depends on (seed, step, purpose) and on nothing drawn before.

That makes a resumed run equal to one that was never interrupted, without saving the state of a generator.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *context: int | str) -> int:
    """A 63-bit seed for one purpose; equal arguments give equal seeds in every process and version of Python."""
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in context)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def python_random(seed: int, *context: int | str) -> random.Random:
    """For choices made outside tensors: orders, crops, captions."""
    return random.Random(derive_seed(seed, *context))


def torch_generator(device: torch.device, seed: int, *context: int | str) -> torch.Generator:
    """For noise and timesteps, drawn on the device that uses them."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *context))


@contextmanager
def seeded_globally(seed: int, *context: int | str) -> Iterator[None]:
    """Seed torch's global generator for library code that takes no generator (PEFT's initial weights), then restore."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, *context))
        yield
