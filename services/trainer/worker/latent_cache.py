"""What the autoencoder made of pictures, and what base models drew, kept between
jobs so that a second one on the same pictures starts at once.

Files are named by content, so workers of a machine may share the folder. They are a form of the pictures themselves
and are therefore kept no longer than they are of use.
"""

from __future__ import annotations

import time
from pathlib import Path

_MIB = 1 << 20
_DAY_S = 24 * 3600.0
DAYS_UNUSED = 7.0
"""People who train on the same photos again mostly do so within days."""


def trim(folder: Path, limit_mib: int, *, days: float = DAYS_UNUSED, now: float | None = None) -> int:
    """Removes files that nobody has read for so many days, then the longest unread until the rest fits.

    Returns the bytes that are left. A file that another worker removes meanwhile counts as gone.
    """
    now = time.time() if now is None else now
    found: list[tuple[float, int, Path]] = []
    for path in folder.glob("*/*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.append((status.st_mtime, status.st_size, path))
    left = sum(size for _, size, _ in found)
    for read_at, size, path in sorted(found, key=lambda one: one[0]):
        if now - read_at <= days * _DAY_S and left <= limit_mib * _MIB:
            break
        path.unlink(missing_ok=True)
        left -= size
    return left
