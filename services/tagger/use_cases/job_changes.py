"""News of jobs inside this process: who waits for a job is woken at once, without asking the database in a loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

ANY_JOB = ""


class JobChanges:
    """Wakes listeners. It carries no data: a listener reads the job again. Other processes are not heard of."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def notify(self, name: str) -> None:
        """Call it after the change was committed."""
        for event in (*self._listeners.get(name, ()), *self._listeners.get(ANY_JOB, ())):
            event.set()

    @contextmanager
    def listen(self, name: str = ANY_JOB) -> Iterator[asyncio.Event]:
        """An event that every change of the job sets. Clear it before reading the job, so that no change is missed."""
        event = asyncio.Event()
        self._listeners[name].add(event)
        try:
            yield event
        finally:
            self._listeners[name].discard(event)
            if not self._listeners[name]:
                del self._listeners[name]


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
