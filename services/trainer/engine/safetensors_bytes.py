"""The bytes of a safetensors file, equal for equal content.

The library writes metadata in the order of a hash map that differs from process to process; a file that is named by
its sha256 needs one order. The format: 8 bytes length of the header, little endian; the header, JSON padded with
spaces to a multiple of 8; the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with its metadata sorted by key."""
    data = save(dict(tensors))
    length = int.from_bytes(data[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(data[8 : 8 + length])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
