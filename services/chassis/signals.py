"""Signals inside a process: whoever waits for a change looks at once, instead of at the next turn.

A signal carries no data and is only a hint: the waiter reads again what it is interested in. Take a signal *before*
reading, or a change in between is missed:

    changed = signals.next(name)
    job = await store.get(name)
    …
    await wait(changed, LOOK_AGAIN_S)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakSet, WeakValueDictionary

from services.chassis.errors import Unavailable

T = TypeVar("T")

_ANY = ""

WAITED: ContextVar[list[float] | None] = ContextVar("waited", default=None)
"""Seconds that the call at hand has waited for a signal; whoever measures calls takes them off its time."""


class Ending:
    """Whether the process takes no more calls. Calls that wait for news end then, and their callers go elsewhere."""

    def __init__(self) -> None:
        self.begun = False
        self._waited_for: WeakSet[asyncio.Event] = WeakSet()

    def begin(self) -> None:
        """Wakes every call that waits."""
        self.begun = True
        for event in list(self._waited_for):
            event.set()

    def wakes(self, event: asyncio.Event) -> None:
        """The event will be set when the end begins."""
        self._waited_for.add(event)

    def check(self) -> None:
        """Raises Unavailable once the end has begun."""
        if self.begun:
            raise Unavailable(
                "This replica is being replaced",
                reason="REPLICA_ENDS",
                remedy="Call again; a watch goes on with the token of its last message.",
            )


ENDING: ContextVar[Ending | None] = ContextVar("ending", default=None)
"""The end of the server that answers the call at hand; None outside of calls."""


class Interrupted(Exception):
    """The event was set before the work was done."""


class Signals:
    """Wakes those who wait for a key, and those who wait for any."""

    def __init__(self) -> None:
        # Weak: the event of a key goes when nobody waits for it any more.
        self._waiting: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    @property
    def shared(self) -> bool:
        """Whether changes that other processes make are told as well now."""
        return False

    def next(self, key: str = _ANY) -> asyncio.Event:
        """An event that the next change of `key` sets; without a key, the next change of all."""
        event = self._waiting.get(key)
        if event is None:
            event = self._waiting[key] = asyncio.Event()
        return event

    async def run(self) -> None:
        """The background work that sharing needs; here there is none."""

    def notify(self, key: str) -> None:
        """Wakes all who wait for this key. Call it once the change can be read."""
        for waited_for in (key, _ANY):
            event = self._waiting.pop(waited_for, None)
            if event is not None:
                event.set()


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Waits until the event is set, at most `timeout_s` seconds: what nobody told of is found by looking again.

    In a call, raises Unavailable(REPLICA_ENDS) once its server takes no more calls.
    """
    started = time.perf_counter()
    ending = ENDING.get()
    if ending is not None:
        ending.check()
        ending.wakes(event)
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
    finally:
        waited = WAITED.get()
        if waited is not None:
            waited.append(time.perf_counter() - started)
    if ending is not None:
        ending.check()


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises Interrupted, with the work cancelled, once the event is set before that."""
    if event.is_set():
        work.close()
        raise Interrupted
    working, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Interrupted
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
