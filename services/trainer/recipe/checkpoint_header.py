"""What a checkpoint is, told from the first bytes of its file before the rest of it travels. Pure.

Format: https://github.com/huggingface/safetensors#format. What a header cannot say, a worker finds out by loading it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.trainer.recipe.families import families
from services.trainer.recipe.families.fitting import misfit_of_checkpoint

LONGEST_HEADER = 6 * 1024 * 1024 - 8
"""Bytes; the largest published checkpoints have headers of a few hundred kilobytes."""
MOST_TENSORS = 20_000
LENGTH_BYTES = 8

_FLOATS = {"F64": ("fp64", 8), "F32": ("fp32", 4), "F16": ("fp16", 2), "BF16": ("bf16", 2)}
_OTHERS = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Numbers that a checkpoint may hold beside its weights, such as positions."""
_WEIGHTS = (".weight", ".bias")
_TEXT = re.compile(r"[ -~]{1,500}")
_SAFETENSORS = "Upload one .safetensors file with all of the model, in 16 or 32 bits."
_AGAIN = "Download or convert the file again, then upload it."


class NotACheckpoint(Exception):
    """The file is none to train on. reason: stable word. remedy: what to do."""

    def __init__(self, reason: str, message: str, remedy: str = _SAFETENSORS) -> None:
        super().__init__(message)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """What the header of a file says.

    Attributes:
        size_bytes: of the header with the eight bytes before it.
        families: of base models whose checkpoints have such tensors; more than one where names alone do not tell.
        precision: number format of most weights: `fp16`, `bf16`, `fp32` or `fp64`.
    """

    size_bytes: int
    families: tuple[str, ...]
    precision: str


def read_header(head: bytes, file_bytes: int) -> CheckpointHeader:
    """The header of a file of `file_bytes` bytes that begins with `head`.

    Raises:
        NotACheckpoint: BASE_MODEL_UNSAFE for a pickle, BASE_MODEL_UNSUPPORTED for another format, number format or kind
            of model, BASE_MODEL_CORRUPT for a file that is damaged or cut short, BASE_MODEL_HEADER_INCOMPLETE when
            `head` ends before the header does.
    """
    _check_beginning(head)
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if length > LONGEST_HEADER:
        raise NotACheckpoint(
            "BASE_MODEL_CORRUPT",
            f"The file says that its header has {length} bytes; a checkpoint's may have {LONGEST_HEADER}",
            _AGAIN,
        )
    end = LENGTH_BYTES + length
    if end > file_bytes:
        raise NotACheckpoint("BASE_MODEL_CORRUPT", "The file is cut short: it ends within its header", _AGAIN)
    if len(head) < end:
        raise NotACheckpoint(
            "BASE_MODEL_HEADER_INCOMPLETE",
            f"The header ends after {end} bytes of the file, and {len(head)} came",
            f"Send the first {end} bytes of the file as `header`.",
        )
    tensors = _tensors(head[LENGTH_BYTES:end])
    _check_layout(tensors, file_bytes - end)
    precision = _precision(tensors)
    kind = misfit_of_checkpoint(tensors)
    if kind:
        raise NotACheckpoint("BASE_MODEL_UNSUPPORTED", f"The file {kind}", "Upload a base model of pictures.")
    found = families_of(tensors)
    if not found:
        titles = ", ".join(facts.title for facts in families().values() if facts.checkpoint_sign)
        raise NotACheckpoint(
            "BASE_MODEL_UNSUPPORTED",
            "The names of its tensors are those of no model that can be trained here",
            f"Upload a checkpoint of one of: {titles}, under the names that ComfyUI reads.",
        )
    return CheckpointHeader(end, found, precision)


def families_of(names: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """Families whose single checkpoints hold tensors of such names."""
    signs = {name: re.compile(facts.checkpoint_sign) for name, facts in families().items() if facts.checkpoint_sign}
    return tuple(family for family, sign in signs.items() if any(sign.search(name) for name in names))


def _check_beginning(head: bytes) -> None:
    """Other files by what they begin with."""
    if head.startswith(b"GGUF"):
        raise NotACheckpoint(
            "BASE_MODEL_UNSUPPORTED", "The file is a GGUF file, made for drawing alone: nothing can be trained from it"
        )
    if head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{":
        return
    if head.startswith((b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))):
        raise NotACheckpoint(
            "BASE_MODEL_UNSAFE",
            "The file is a pickle, which can run code when it is read",
            "Convert it to .safetensors, and upload that.",
        )
    if head.startswith(b"version https://git-lfs"):
        raise NotACheckpoint(
            "BASE_MODEL_CORRUPT",
            "The file only points at weights that Git LFS has not fetched",
            "Fetch it first.",
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise NotACheckpoint(
            "BASE_MODEL_CORRUPT", "The file is a web page, such as a failed download leaves", "Download it again."
        )
    raise NotACheckpoint("BASE_MODEL_UNSUPPORTED", "The file is no safetensors file")


def _tensors(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged("its header cannot be read") from error
    if not isinstance(header, dict):
        raise _damaged("its header lists no tensors")
    header.pop("__metadata__", None)
    if not header or len(header) > MOST_TENSORS:
        raise _damaged(f"its header lists {len(header)} tensors, and 1 to {MOST_TENSORS} may be there")
    if not all(_TEXT.fullmatch(name) for name in header):
        raise _damaged("the name of a tensor has no letters, or too many")
    return header


def _check_layout(tensors: Mapping[str, Any], body_bytes: int) -> None:
    """Every tensor has the bytes of its shape, one lies behind the other, and the last ends the file."""
    places: list[tuple[int, int]] = []
    for name, entry in tensors.items():
        try:
            kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (TypeError, KeyError, ValueError) as error:
            raise _damaged(f"its header says nothing usable of {name}") from error
        if not isinstance(kind, str) or not _TEXT.fullmatch(kind):
            raise _damaged(f"its header says nothing usable of {name}")
        if not all(type(number) is int and 0 <= number < 2**48 for number in (*_sides(shape, name), begin, end)):
            raise _damaged(f"its header has impossible numbers for {name}")
        width = _FLOATS[kind][1] if kind in _FLOATS else _OTHERS.get(kind, 0)
        if width and end - begin != width * math.prod(shape):
            raise _damaged(f"{name} has other bytes than its shape needs")
        places.append((begin, end))
    places.sort()
    gaps = any(before[1] != after[0] for before, after in pairwise(places))
    if gaps or places[0][0] != 0:
        raise _damaged("its tensors lie on one another, or leave gaps")
    if places[-1][1] > body_bytes:
        raise NotACheckpoint("BASE_MODEL_CORRUPT", "The file is cut short: its last tensors are missing", _AGAIN)
    if places[-1][1] < body_bytes:
        raise _damaged("it is longer than its header says")


def _sides(shape: Any, name: str) -> Sequence[Any]:
    if not isinstance(shape, list) or len(shape) > 8:
        raise _damaged(f"its header gives {name} no shape")
    return shape


def _precision(tensors: Mapping[str, Any]) -> str:
    counted: Counter[str] = Counter()
    for name, entry in tensors.items():
        kind = entry["dtype"]
        if kind in _FLOATS:
            counted[_FLOATS[kind][0]] += math.prod(entry["shape"])
        elif name.endswith(_WEIGHTS) or kind not in _OTHERS:
            raise NotACheckpoint(
                "BASE_MODEL_UNSUPPORTED",
                f"Its weights are numbers of the kind {str(kind)[:20]}, from which nothing can be trained",
            )
    if not counted:
        raise _damaged("it holds no weights")
    return counted.most_common(1)[0][0]


def _damaged(why: str) -> NotACheckpoint:
    return NotACheckpoint("BASE_MODEL_CORRUPT", f"The file is damaged: {why}", _AGAIN)
