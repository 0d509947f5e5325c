"""A LoRA file of a stranger, read from its header alone: whether it is a whole safetensors file, and of which form.

Format: https://github.com/huggingface/safetensors#format. Nothing in such a file is ever run, unlike in a pickle.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from services.chassis.errors import InvalidArgument
from services.registry.models.names import DIFFUSERS, KOHYA, PEFT
from services.registry.use_cases.finite import Finite, Place

FIELD = "content"
_LENGTH = struct.Struct("<Q")
_MAX_RANK = 65_536
_MAX_HEADER = 16 * 1024 * 1024
_MOST_TENSORS = 50_000
_MOST_SIDES = 8
_LARGEST_NUMBER = 2**48
_NAME = re.compile(r"[\x20-\x7e]{1,500}")
_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
_FORMS = {
    KOHYA: re.compile(r"(lora|lycoris)_[^.]+\.(lora_(down|up|mid)\.weight|alpha|dora_scale|(hada|lokr)_\w+)"),
    DIFFUSERS: re.compile(r"(unet|transformer|text_encoder(_\d)?)\..*[._](lora|hada|lokr)[._].+"),
    PEFT: re.compile(r"base_model\.model\..*\.(lora|hada|lokr)_.+"),
}
_DOWN = re.compile(r".*(lora_down|lora_A|lora\.down|hada_w1_b)(\..*)?")
_PICKLES = (b"PK", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
_SCALARS = {"F32": "<f", "F16": "<e", "F64": "<d"}


@dataclass
class LoraFile:
    """What a file says of itself. form: `kohya`, `diffusers` or `peft`. rank: the largest, 0 when not known.

    alpha: of its first layer, 0 when the file does not say. metadata: texts that trainers have left in it.
    """

    form: str = ""
    rank: int = 0
    alpha: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)


async def inspected(chunks: AsyncIterator[bytes], found: LoraFile) -> AsyncIterator[bytes]:
    """The same chunks; once the last one has passed, `found` is filled in.

    Raises InvalidArgument: MODEL_FILE_EMPTY, MODEL_FILE_PICKLE, MODEL_FILE_UNREADABLE, MODEL_FILE_INCOMPLETE,
    MODEL_FORM_UNKNOWN when its tensors are not those of an adapter, or MODEL_NOT_FINITE when one holds what is no
    number. Most of it before the first chunk goes on.
    """
    head, size, end, alpha_at = bytearray(), 0, 0, (0, 0, "")
    begun, finite = False, Finite(())
    async for chunk in chunks:
        size += len(chunk)
        if begun:
            _check_numbers(await asyncio.to_thread(finite.look, chunk))
            if len(head) < alpha_at[1]:
                head += chunk
            yield chunk
            continue
        head += chunk
        length = _length(head)
        if length is None or len(head) < length:
            continue
        end, alpha_at, places = await asyncio.to_thread(_read_header, bytes(head[_LENGTH.size : length]), length, found)
        begun, finite = True, Finite(places)
        _check_numbers(await asyncio.to_thread(finite.look, bytes(head)))
        yield bytes(head)
    if not size:
        raise _refused("MODEL_FILE_EMPTY", "The file is empty", "Send the LoRA's .safetensors file.")
    if not begun or size != end:
        raise _refused(
            "MODEL_FILE_INCOMPLETE", f"The file has {size} bytes, which are not those that its header names",
            "Send the whole file again.",
        )  # fmt: skip
    start, stop, kind = alpha_at
    if kind:
        (found.alpha,) = struct.unpack(_SCALARS[kind], head[start:stop])
    if not (math.isfinite(found.alpha) and found.alpha > 0):
        found.alpha = float(found.rank)


def _check_numbers(name: str | None) -> None:
    if name is not None:
        raise _refused(
            "MODEL_NOT_FINITE", f"The tensor '{name[:100]}' holds a value that is infinite or not a number",
            "The training that made the file went wrong; send an earlier epoch of it.",
        )  # fmt: skip


def _length(head: bytes | bytearray) -> int | None:
    """Where the header ends; None while that cannot be known."""
    if len(head) <= _LENGTH.size:
        return None
    length = int(_LENGTH.unpack_from(head)[0])
    if 2 <= length <= _MAX_HEADER and head[_LENGTH.size :].startswith(b"{"):
        return _LENGTH.size + length
    # A header of 640 bytes begins as a pickle does, so that is asked last.
    if head[:2] in _PICKLES:
        raise _refused(
            "MODEL_FILE_PICKLE", "The file is a pickle (.pt, .ckpt, .bin), which can run a program when it is read",
            "Convert it to safetensors where you trust it, and send that.",
        )  # fmt: skip
    known = {b"GGUF": "it is a GGUF file", b"version https://git-lfs": "it only points at a file that Git LFS holds"}
    raise _unreadable(next((words for sign, words in known.items() if head.startswith(sign)), "it has no header"))


def _read_header(text: bytes, begin: int, found: LoraFile) -> tuple[int, tuple[int, int, str], list[Place]]:
    """Where the file ends, where the number of its first alpha lies, with its type, and where all tensors lie."""
    try:
        header = json.loads(text, object_pairs_hook=_without_repeats)
        metadata = header.pop("__metadata__", None) or {}
        # Whatever is looked at beyond this point takes a time that these limits bound: a stranger wrote it.
        if len(header) > _MOST_TENSORS or not all(_NAME.fullmatch(name) for name in header):
            raise ValueError("its tensors' names")
        tensors = {_text(name): _tensor(entry) for name, entry in header.items()}
        found.metadata = {key: _text(value) for key, value in metadata.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise _unreadable("its header is no table of tensors") from error
    at = 0
    for start, stop in sorted((tensor[2], tensor[3]) for tensor in tensors.values()):
        if start != at:
            raise _unreadable("its tensors lie on one another, or leave gaps")
        at = stop
    found.form = _form(tensors)
    if not at:
        raise _unreadable("its tensors hold no numbers")
    ranks = [shape[0] for name, (_, shape, _, _) in tensors.items() if shape and _DOWN.fullmatch(name)]
    found.rank = max(ranks, default=0) or int(_number(found.metadata.get("ss_network_dim", "")))
    if found.rank > _MAX_RANK:
        raise _unreadable(f"a rank of {found.rank} is none")
    found.alpha = _number(found.metadata.get("ss_network_alpha", ""))
    places = sorted((begin + start, begin + stop, kind, name) for name, (kind, _, start, stop) in tensors.items())
    places = [place for place in places if not place[3].endswith(".alpha")]
    for name, (kind, shape, start, stop) in tensors.items():
        if name.endswith(".alpha") and kind in _SCALARS and math.prod(shape) == 1:
            # The alphas lie wherever they lie; only one near the beginning is waited for.
            return begin + at, (begin + start, begin + stop, kind) if stop < _MAX_HEADER else (0, 0, ""), places
    return begin + at, (0, 0, ""), places


def _form(tensors: dict[str, Any]) -> str:
    forms = {form for form, pattern in _FORMS.items() for name in tensors if pattern.fullmatch(name)}
    if len(forms) != 1:
        shown = next(iter(sorted(tensors)), "none")[:100]
        what = "of several forms at once" if forms else f"not those of a LoRA, such as '{shown}'"
        raise _refused(
            "MODEL_FORM_UNKNOWN", f"The file's tensors are {what}",
            "Send a LoRA as kohya, diffusers or PEFT write it, in a single form.",
        )  # fmt: skip
    return forms.pop()


def _tensor(entry: dict[str, Any]) -> tuple[str, list[int], int, int]:
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(shape) is not list or len(shape) > _MOST_SIDES:
        raise ValueError("the shape of a tensor")
    if any(type(number) is not int or not 0 <= number < _LARGEST_NUMBER for number in (*shape, start, stop)):
        raise ValueError("a number of a tensor")
    if stop - start != _BYTES[kind] * math.prod(shape):
        raise ValueError("the length of a tensor")
    return kind, shape, start, stop


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name comes twice")
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("metadata")
    # JSON can spell half of a surrogate pair, which no store takes.
    value.encode()
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and 0 < value < 1e6 else 0.0


def _unreadable(why: str) -> InvalidArgument:
    return _refused(
        "MODEL_FILE_UNREADABLE", f"The file is no safetensors file: {why}", "Send the LoRA's .safetensors file."
    )


def _refused(reason: str, message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field=FIELD, reason=reason, remedy=remedy)
