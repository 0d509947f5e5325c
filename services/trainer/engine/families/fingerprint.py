"""The name of a base model's weights: what was computed with them holds for as long as it stays the same."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from services.trainer.engine.job import BaseModelFiles

_MIB = 1 << 20


def model_fingerprint(files: BaseModelFiles) -> str:
    """A sha256 that changes when the weights do.

    A single checkpoint is hashed whole, which is the hash that other tools show for it. Of a folder, each file's name,
    size, header and end are hashed: reading 24 GB to name a cache entry would take longer than many a training.
    """
    if files.source.startswith("hub:"):
        return hashlib.sha256(files.source.encode()).hexdigest()
    path = Path(files.source)
    if path.is_file():
        status = path.stat()
        return _file_digest(path, status.st_ino, status.st_size, status.st_mtime_ns)
    digest = hashlib.sha256()
    for weights in sorted(path.glob("*/*.safetensors")):
        size = weights.stat().st_size
        digest.update(f"{weights.relative_to(path)}|{size}|".encode())
        with weights.open("rb") as file:
            digest.update(file.read(_MIB))
            file.seek(max(0, size - _MIB))
            digest.update(file.read(_MIB))
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _file_digest(path: Path, inode: int, size: int, changed_ns: int) -> str:
    """SHA-256 of a file, read once for as long as it stays the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
