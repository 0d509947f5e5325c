"""Tensors on disk that would be computed again, named by everything that decides them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TensorCache:
    """A folder that workers of a machine may share; None keeps nothing."""

    folder: Path | None

    def through(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """What is kept under the key, on the CPU, or what ``make`` gives, which is kept then."""
        if self.folder is None:
            return make()
        name = hashlib.sha256(key.encode()).hexdigest()
        path = self.folder / name[:2] / f"{name}.safetensors"
        found = _read(path)
        if found is None:
            found = make()
            _write(path, found)
        return found


def _read(path: Path) -> Mapping[str, Tensor] | None:
    """A file that another process left half-written or damaged counts as absent."""
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        # What was read last is kept longest.
        os.utime(path)
        return tensors
    except (SafetensorError, OSError):
        path.unlink(missing_ok=True)
        return None


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)
