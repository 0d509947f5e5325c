"""Every nasty picture through a pool with the product's own limits; what it takes is bounded whatever the picture is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.decoding.limits import DecodeLimits
from services.chassis.decoding.pool import DecodePool
from services.chassis.errors import InvalidArgument
from services.chassis.pictures import PictureLimits
from tests.fixtures.nasty_pictures import TAKEN, Nasty, corpus

LIMITS = DecodeLimits()
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
        await pool.check(nasty.make(), PictureLimits(), thumbnail_side=256, field="chunk")
    except InvalidArgument as error:
        assert error.field == "chunk"
        assert error.remedy
        return error.reason
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
