"""A disk that fills up."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.chassis.disk import room
from services.chassis.errors import Unavailable


async def test_a_full_disk_makes_unhealthy_and_holds_no_start_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 100 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    need = room("scratch disk", tmp_path / "new" / "scratch", 512)
    await need.prepare()
    assert (tmp_path / "new" / "scratch").is_dir()
    with pytest.raises(Unavailable) as caught:
        await need.ping()
    assert (caught.value.reason, caught.value.message) == (
        "DISK_FULL",
        "The disk has 100 MiB free, and 512 are needed",
    )
    free = 600 << 20
    await need.ping()
    await need.close()
