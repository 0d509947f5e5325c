"""The cache between jobs forgets what nobody reads, the oldest first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.trainer.worker.latent_cache import trim

NOW = 2_000_000_000.0
MIB = 1 << 20


@pytest.mark.parametrize(
    ("limit_mib", "kept"),
    [(10, ["c", "b", "a"]), (2, ["c", "b"]), (1, ["c"]), (0, [])],
)
def test_the_longest_unread_go_first(tmp_path: Path, limit_mib: int, kept: list[str]) -> None:
    for age, name in enumerate(["c", "b", "a", "stale"]):
        path = tmp_path / name[:2] / name
        path.parent.mkdir()
        path.write_bytes(bytes(MIB))
        read_at = NOW - (3 * 24 * 3600 + 1 if name == "stale" else age)
        os.utime(path, (read_at, read_at))
    assert trim(tmp_path, limit_mib, days=3, now=NOW) == len(kept) * MIB
    assert sorted(path.name for path in tmp_path.glob("*/*")) == sorted(kept)


def test_a_cache_that_was_never_used_is_empty(tmp_path: Path) -> None:
    assert trim(tmp_path / "nowhere", 10) == 0
