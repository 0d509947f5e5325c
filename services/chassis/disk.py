"""Room on a disk as something that a process needs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from services.chassis.errors import Unavailable
from services.chassis.needs import Need

MIB = 1024 * 1024


def room(name: str, folder: Path, mebibytes: int) -> Need:
    """The need of so many free MiB below `folder`, which is made at start. Nothing waits for them: a disk that is full
    makes the process unhealthy, not absent."""

    async def prepare() -> None:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)

    async def ping() -> None:
        check_room(folder, mebibytes)

    return Need(name, prepare, ping, _nothing)


def check_room(folder: Path, mebibytes: int) -> None:
    """Raises Unavailable(reason=DISK_FULL) unless so many MiB are free."""
    free = shutil.disk_usage(folder).free // MIB
    if free < mebibytes:
        raise Unavailable(
            f"The disk has {free} MiB free, and {mebibytes} are needed",
            reason="DISK_FULL",
            remedy="Free some space on it, or move the folder to another one.",
        )


async def _nothing() -> None:
    """A disk needs no closing."""
