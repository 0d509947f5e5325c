"""A kept file is named after its model and version: as a file and, in a LoRA, in the metadata that tools show.

Format of the header: https://github.com/huggingface/safetensors#format (8 bytes of length, JSON, tensors).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from services.chassis.errors import DataLoss
from services.registry.models.names import KOHYA
from services.registry.models.resources import EpochFile

SUFFIX = ".safetensors"
_LENGTH = struct.Struct("<Q")
# The format's own limit.
_MAX_HEADER = 100_000_000


def output_name(model_id: str, number: int) -> str:
    """`rex-v3`: what trainers call the output name, unique within a project."""
    return f"{model_id}-v{number}"


def file_name(model_id: str, number: int, file: EpochFile) -> str:
    """`rex-v3.safetensors` for kohya's form, then `rex-v3-diffusers.safetensors`, `rex-v3-preview-1.png` and so on."""
    ending = PurePosixPath(file.file_name).suffix
    form = "" if file.file_id == KOHYA else f"-{file.file_id}"
    return f"{output_name(model_id, number)}{form}{ending}"


async def titled(chunks: AsyncIterator[bytes], *, title: str, name: str, what: str) -> AsyncIterator[bytes]:
    """A safetensors file with another title and output name; its tensors stay as they are.

    title: for people. name: of the file, without an ending. what: the file in a message. Raises DataLoss(FILE_CORRUPT)
    when it is no safetensors file.
    """
    head = b""
    end = 0
    async for chunk in chunks:
        if end < 0:
            yield chunk
            continue
        head += chunk
        if len(head) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(head)[0]
            if end > _MAX_HEADER:
                raise _corrupt(what)
            if len(head) >= end:
                yield _header(head[_LENGTH.size : end], title, name, what)
                rest, head, end = head[end:], b"", -1
                if rest:
                    yield rest
    if end >= 0:
        raise _corrupt(what)


class Measured:
    """Passes chunks on; size_bytes and sha256 tell of what went by."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self._digest.update(chunk)
            self.size_bytes += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        """Of all that went by, in hex."""
        return self._digest.hexdigest()


def _header(old: bytes, title: str, name: str, what: str) -> bytes:
    try:
        entries = json.loads(old)
        metadata = dict(entries.get("__metadata__") or {})
    except (ValueError, AttributeError, TypeError) as error:
        raise _corrupt(what) from error
    metadata |= {"ss_output_name": name, "modelspec.title": title}
    entries = {"__metadata__": metadata, **{key: value for key, value in entries.items() if key != "__metadata__"}}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    # Tensors begin at a multiple of eight, so that they can be mapped.
    text += b" " * (-len(text) % 8)
    return _LENGTH.pack(len(text)) + text


def _corrupt(what: str) -> DataLoss:
    return DataLoss(
        f"{what} is no safetensors file", reason="FILE_CORRUPT", metadata={"file": what},
        remedy="Save another epoch, or train this one again.",
    )  # fmt: skip
