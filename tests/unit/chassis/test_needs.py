"""Health follows what a process needs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from itertools import groupby

from services.chassis.errors import Unavailable
from services.chassis.needs import Need, follow
from tests.fixtures.patience import turns, within


async def _nothing() -> None:
    return


class _Scripted:
    """A need whose pings answer as the script says, and from its end on well. `over` is set one round after that."""

    def __init__(self, script: str) -> None:
        self.script = deque(script)
        self.over = asyncio.Event()

    async def ping(self) -> None:
        if not self.script:
            self.over.set()
        elif self.script.popleft() == "x":
            raise Unavailable("away")


async def _told(*scripts: str) -> list[bool]:
    """Whether the process was well, change by change."""
    return [well for well, _ in groupby(not away for away in await _told_away(*scripts))]


async def _told_away(*scripts: str) -> list[dict[str, str]]:
    told: list[dict[str, str]] = []

    async def tell(away: Mapping[str, str]) -> None:
        told.append(dict(away))

    scripted = [_Scripted(script) for script in scripts]
    needs = [Need(str(number), _nothing, one.ping, _nothing) for number, one in enumerate(scripted)]
    following = asyncio.create_task(follow(needs, tell, pause_s=0))
    async with within():
        for one in scripted:
            await one.over.wait()
        await turns(1)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return told


async def test_health_goes_with_a_need_and_comes_back_with_it() -> None:
    assert await _told("..xxx..") == [False, True]


async def test_one_lost_answer_is_no_outage() -> None:
    assert await _told(".x.x.x.") == []


async def test_all_needs_must_be_there() -> None:
    assert await _told("xx......", "..xxxxx.") == [False, True]


async def test_what_is_away_is_named_with_the_reason() -> None:
    why = "UNAVAILABLE"
    assert await _told_away("xxxx......", "..xxxxx...") == [{"0": why}, {"0": why, "1": why}, {"1": why}, {}]


async def test_a_process_without_needs_is_healthy() -> None:
    assert await _told() == []
