"""Every nasty picture through a pool with the product's own limits: answers are right and what they take is bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.picture_decoding.limits import DecodeLimits
from services.chassis.picture_decoding.pool import DecodePool
from services.chassis.pictures import PictureLimits
from tests.fixtures.nasty_pictures import TAKEN, Nasty, corpus
from tests.fixtures.patience import scaled

LIMITS = DecodeLimits(wall_s=scaled(DecodeLimits().wall_s))
LOOK: dict[str, Any] = {"draft_side": 1024, "most_pixels": 8_000_000}
"""As the dataset service asks."""
IDLE_MIB = 64
"""A decoder at rest."""


def peak_mib(pid: int) -> int:
    """The most memory that a process has had resident; 0 when it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


async def answer(pool: DecodePool, nasty: Nasty) -> str:
    try:
        await pool.read(nasty.make(), PictureLimits(), **LOOK, field="chunk")
    except InvalidArgument as error:
        return error.reason if error.field == "chunk" and error.remedy else f"no field or remedy: {error!r}"
    return TAKEN


async def test_every_light_picture_gets_its_answer_from_processes_that_stay() -> None:
    pool = DecodePool(LIMITS)
    try:
        wrong = {}
        for nasty in corpus():
            if not nasty.heavy and (found := await answer(pool, nasty)) != nasty.answer:
                wrong[nasty.name] = (nasty.answer, found)
        assert not wrong
        (pid,) = pool.pids
        assert peak_mib(pid) < LIMITS.memory_mib + IDLE_MIB
    finally:
        await pool.close()


@pytest.mark.parametrize("nasty", [nasty for nasty in corpus() if nasty.heavy], ids=lambda nasty: nasty.name)
async def test_a_heavy_picture_stays_within_its_memory(nasty: Nasty) -> None:
    pool = DecodePool(LIMITS)
    try:
        await pool.prepare()
        (pid,) = pool.pids
        assert await answer(pool, nasty) == nasty.answer
        assert peak_mib(pid) < LIMITS.memory_mib + IDLE_MIB
    finally:
        await pool.close()
