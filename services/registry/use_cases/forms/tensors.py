"""The tensors of a safetensors file, read from where they lie and written again without holding them all.

Format: https://github.com/huggingface/safetensors#format (8 bytes of length, JSON, tensors).
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from services.registry.use_cases.forms.refusal import cannot

if TYPE_CHECKING:
    # Most registries never convert a file, so numpy is loaded by the first that does.
    import numpy.typing as npt
    from numpy import float32

    Floats = npt.NDArray[float32]

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number of the types that can be calculated with."""
ROUNDED = 1e-3
"""Largest share of a matrix's norm that half precision may change; beyond it the matrix becomes float32."""
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor. kind: as the format spells its type. load: its bytes, row by row, read when they are asked for."""

    kind: str
    shape: tuple[int, ...]
    load: Callable[[], bytes | memoryview]

    @property
    def size_bytes(self) -> int:
        """Of all its numbers."""
        return SIZES[self.kind] * math.prod(self.shape)

    def numbers(self) -> Floats:
        """Its numbers in float32, in its shape."""
        import numpy as np

        raw = self.load()
        if self.kind == "BF16":
            wide = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(self.shape)
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[self.kind]
        return np.frombuffer(raw, kind).astype(np.float32).reshape(self.shape)

    def rows(self, start: int, stop: int) -> Tensor:
        """Some of its rows."""
        row = self.size_bytes // self.shape[0]
        return replace(
            self, shape=(stop - start, *self.shape[1:]), load=lambda: self.load()[start * row : stop * row]
        )  # fmt: skip

    def times(self, factor: float) -> Tensor:
        """Every number multiplied; in float32 where its own type would lose a part of that."""
        if factor == 1.0:
            return self
        import numpy as np

        exact = self.numbers() * np.float32(factor)
        lost = float(np.linalg.norm(_widened(exact, self.kind) - exact))
        kind = self.kind if lost <= ROUNDED * float(np.linalg.norm(exact)) else "F32"
        return Tensor(kind, self.shape, lambda: _narrowed(self.numbers() * np.float32(factor), kind))


def number(value: float) -> Tensor:
    """A single number."""
    return Tensor("F32", (), lambda: struct.pack("<f", value))


def opened(file: IO[bytes]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata of a whole file, which was found to be right when it came in.

    Raises FailedPrecondition for numbers of eight bits, which nothing here can scale.
    """
    data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    begin = _LENGTH.size + int(_LENGTH.unpack_from(data)[0])
    header: dict[str, Any] = json.loads(bytes(data[_LENGTH.size : begin]))
    metadata: dict[str, str] = header.pop("__metadata__", None) or {}
    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        if entry["dtype"] not in SIZES:
            raise cannot(f"its numbers are of the type {entry['dtype']}")
        piece = data[begin + start : begin + stop]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), lambda piece=piece: piece)  # type: ignore[misc]
    return tensors, metadata


def write(file: IO[bytes], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a file; equal content gives equal bytes."""
    # Wide numbers first, so that each tensor begins at a multiple of its own numbers.
    order = sorted(tensors, key=lambda name: (-SIZES[tensors[name].kind], name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.size_bytes
        header[name] = {"dtype": tensor.kind, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(_LENGTH.pack(len(text)) + text)
    for name in order:
        file.write(tensors[name].load())


def _narrowed(values: Floats, kind: str) -> bytes:
    import numpy as np

    if kind != "BF16":
        with np.errstate(over="ignore"):
            return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[kind]).tobytes()
    bits = values.view(np.uint32)
    # To the nearest, and of two equally near ones to the even one.
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def _widened(values: Floats, kind: str) -> Floats:
    return Tensor(kind, values.shape, lambda: _narrowed(values, kind)).numbers()
