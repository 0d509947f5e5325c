"""Signals: a waiter wakes by the signal that it took before it read."""

from __future__ import annotations

import asyncio

import pytest

from services.chassis.errors import Unavailable
from services.chassis.signals import ENDING, Ending, Interrupted, Signals, unless, wait
from tests.fixtures.patience import turns, within


async def test_a_change_between_taking_and_waiting_is_not_missed() -> None:
    signals = Signals()
    changed = signals.next("job")
    signals.notify("job")
    async with within():
        await wait(changed, 3600)
    assert changed.is_set()


async def test_only_those_who_wait_for_the_key_or_for_any_are_woken() -> None:
    signals = Signals()
    job, other, any_one = signals.next("job"), signals.next("other"), signals.next()
    signals.notify("job")
    assert (job.is_set(), other.is_set(), any_one.is_set()) == (True, False, True)
    assert not signals.next("job").is_set(), "the next change is another signal"


async def test_all_who_wait_for_a_key_hold_one_signal() -> None:
    signals = Signals()
    first = signals.next("job")
    assert signals.next("job") is first


async def test_a_wait_ends_with_its_time() -> None:
    signals = Signals()
    changed = signals.next("job")
    await wait(changed, 0.01)
    assert not changed.is_set()


async def test_work_that_is_done_first_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await unless(asyncio.Event(), work()) == 7


async def test_work_is_cancelled_by_the_event() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        asyncio.get_running_loop().call_soon(stop.set)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(Interrupted):
        await unless(stop, work())
    assert ended.is_set()


async def test_an_event_that_is_set_already_keeps_the_work_from_beginning() -> None:
    stop = asyncio.Event()
    stop.set()
    begun = False

    async def work() -> None:
        nonlocal begun
        begun = True

    with pytest.raises(Interrupted):
        await unless(stop, work())
    assert not begun


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await unless(asyncio.Event(), work())


async def test_a_wait_in_a_call_ends_when_its_server_does() -> None:
    ending = Ending()
    ENDING.set(ending)
    waiting = asyncio.create_task(wait(asyncio.Event(), 3600))
    await turns()
    assert not waiting.done()
    ending.begin()
    async with within():
        with pytest.raises(Unavailable) as caught:
            await waiting
    assert caught.value.reason == "REPLICA_ENDS"
    with pytest.raises(Unavailable):
        await wait(asyncio.Event(), 3600)
