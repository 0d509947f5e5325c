"""Texts of a tagger's folder, which an operator copied there from somewhere: small plain files or none."""

from __future__ import annotations

import stat
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
"""Fifty times the list of labels of the largest WD v3 tagger."""


def read_text(path: Path) -> str:
    """The text of a file. Raises ValueError in a sentence that gives away neither what it holds nor where it lies;
    OSError where there is none."""
    found = path.stat()
    # A pipe would keep the reader waiting, and a device has no end.
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is no plain file")
    if found.st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES // 2**20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no text in UTF-8") from error
