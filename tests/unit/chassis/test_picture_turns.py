"""Whose picture is next."""

from __future__ import annotations

import asyncio

import pytest

from services.chassis.picture_decoding.turns import Turns
from tests.fixtures.patience import turns


class Line:
    """Callers of `turns`, and the order in which they got their turn. Each leaves when it is told."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.order: list[str] = []
        self.leave = asyncio.Semaphore(0)

    async def come(self, owner: str) -> None:
        async with self.turns.turn(owner):
            self.order.append(owner)
            await self.leave.acquire()

    async def settle(self) -> None:
        await turns(10)


async def test_projects_take_turns_whatever_they_send() -> None:
    line = Line(1)
    callers = [asyncio.create_task(line.come(owner)) for owner in ("hog",) * 4 + ("small", "other")]
    for _ in callers:
        await line.settle()
        line.leave.release()
    await asyncio.gather(*callers)
    assert line.order == ["hog", "hog", "small", "other", "hog", "hog"]


async def test_no_more_get_a_turn_than_there_are_places() -> None:
    line = Line(2)
    callers = [asyncio.create_task(line.come(str(number))) for number in range(5)]
    await line.settle()
    assert len(line.order) == 2
    for _ in callers:
        line.leave.release()
    await asyncio.gather(*callers)
    assert len(line.order) == 5


@pytest.mark.parametrize("given", [False, True])
async def test_who_goes_away_loses_nobody_a_place(given: bool) -> None:
    line = Line(1)
    first, second, third = (asyncio.create_task(line.come(name)) for name in ("a", "b", "c"))
    await line.settle()
    if given:
        # The place is handed over in the same moment in which its owner goes away.
        line.leave.release()
        await turns(1)
    second.cancel()
    await line.settle()
    line.leave.release()
    line.leave.release()
    await asyncio.gather(first, third)
    assert "c" in line.order
    again = asyncio.create_task(line.come("d"))
    await line.settle()
    line.leave.release()
    line.leave.release()
    await again
    assert line.order[-1] == "d"
