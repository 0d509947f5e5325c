"""Calls that come close together are made as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.chassis.errors import Unavailable
from services.chassis.together import Together
from tests.fixtures.patience import until


class Doubling:
    """Doubles numbers, and notes which came together. Goes on once `go` is set."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        self.go = asyncio.Event()
        self.away = False

    async def __call__(self, asks: Sequence[int]) -> Sequence[int]:
        self.made.append(list(asks))
        await self.go.wait()
        if self.away:
            raise Unavailable("away")
        return [2 * ask for ask in asks]


async def test_what_comes_meanwhile_is_made_together_and_each_gets_its_own_answer() -> None:
    doubling = Doubling()
    together: Together[int, int] = Together(doubling, most=3)
    first = asyncio.create_task(together(1))
    await until(lambda: len(doubling.made) == 1)
    others = [asyncio.create_task(together(number)) for number in (2, 3, 4, 5)]
    doubling.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]
    assert doubling.made == [[1], [2, 3, 4], [5]]
    assert await together(6) == 12


async def test_a_failure_is_told_to_all_of_them_and_the_next_are_made_anew() -> None:
    doubling = Doubling()
    together: Together[int, int] = Together(doubling)
    doubling.away = True
    doubling.go.set()
    failed = await asyncio.gather(together(1), together(2), return_exceptions=True)
    assert [type(error) for error in failed] == [Unavailable, Unavailable]
    doubling.away = False
    assert await together(3) == 6


async def test_one_that_gives_up_disturbs_no_other() -> None:
    doubling = Doubling()
    together: Together[int, int] = Together(doubling)
    first = asyncio.create_task(together(1))
    await until(lambda: len(doubling.made) == 1)
    gone, stays = asyncio.create_task(together(2)), asyncio.create_task(together(3))
    await until(lambda: together.waiting == 2)
    first.cancel()
    gone.cancel()
    doubling.go.set()
    assert await stays == 6
    assert doubling.made == [[1], [3]]
    with pytest.raises(asyncio.CancelledError):
        await gone
