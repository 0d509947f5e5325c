"""What a file of weights is, told from its first bytes and its header before a library reads it.

Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from services.trainer.engine.families.refusals import corrupt, lacking, quantised, unsafe
from services.trainer.engine.job import BaseModelFiles

PICKLES = frozenset([".bin", ".ckpt", ".pt", ".pth", ".pkl"])
GGUF = ".gguf"
_FLOATS = frozenset(["F64", "F32", "F16", "BF16"])
_WEIGHTS = (".weight", ".bias")
_HEAD = 64
_PICKLED = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
_LENGTH_BYTES = 8


def check_weights(path: Path, files: BaseModelFiles, name: str) -> list[str]:
    """The names of a file's tensors. Opening it also compares the promised with the actual length.

    Args:
        name: what to call the file, from the model's folder on.

    Raises:
        EngineError: BASE_MODEL_UNSAFE, BASE_MODEL_UNSUPPORTED or BASE_MODEL_CORRUPT.
    """
    _check_beginning(path, files, name)
    try:
        with safe_open(path, framework="pt") as opened:
            names: list[str] = list(opened.keys())
            kinds = {opened.get_slice(each).get_dtype() for each in names if each.endswith(_WEIGHTS)}
    except (SafetensorError, OSError) as error:
        raise corrupt(files, f"{name} {_damage(error)}") from error
    wrong = sorted(kinds - _FLOATS)
    if wrong:
        raise quantised(files, f"numbers of the kind {wrong[0]} ({name})")
    return names


def check_shards(folder: Path, files: BaseModelFiles) -> None:
    """Refuses a component in several files of which one is not there.

    Raises:
        EngineError: BASE_MODEL_INCOMPLETE or BASE_MODEL_CORRUPT.
    """
    for index in sorted(folder.glob("*.safetensors.index*.json")):
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise corrupt(files, f"{folder.name}/{index.name} is no list of weights") from error
        gone = sorted(str(each) for each in wanted if not (folder / str(each)).is_file())
        if gone:
            raise lacking(files, folder.name, f"its file {Path(gone[0]).name}")


def _check_beginning(path: Path, files: BaseModelFiles, name: str) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise corrupt(files, f"{name} is not there, or is no file") from error
    if not head:
        raise corrupt(files, f"{name} is empty")
    if head.startswith(b"GGUF"):
        raise quantised(files, f"a GGUF file ({name}), made for drawing alone")
    if head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{":
        return
    if head.startswith(_PICKLED):
        raise unsafe(files, name)
    if head.startswith(b"version https://git-lfs"):
        raise corrupt(files, f"{name} only points at weights that Git LFS has not fetched")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise corrupt(files, f"{name} is a web page, such as a failed download leaves")


def _damage(error: Exception) -> str:
    """What is wrong with a file, by the library's words for it."""
    text = str(error)
    known = {
        "file not fully covered": "is cut short, or longer than its header says",
        "invalid offset": "has tensors that lie on one another, or leave gaps",
        "header too large": "is no safetensors file",
        "header too small": "is cut short",
        "invalid header length": "is cut short",
    }
    return next((words for sign, words in known.items() if sign in text), "is damaged")
