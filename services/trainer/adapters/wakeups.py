"""Signals inside this process: whoever waits for a job or for the queue looks at once instead of at the next turn."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class ProcessWakeups:
    """One asyncio event for the queue and one for each job that somebody waits for."""

    def __init__(self) -> None:
        self._queue = asyncio.Event()
        # Weak: the event of a job goes when nobody waits for it any more.
        self._jobs: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def job(self, name: str) -> asyncio.Event:
        """An event that the next change of this job sets."""
        event = self._jobs.get(name)
        if event is None:
            event = self._jobs[name] = asyncio.Event()
        return event

    def queue(self) -> asyncio.Event:
        """An event that the next job to enter the queue sets."""
        return self._queue

    def notify_job(self, name: str) -> None:
        """Wakes all who wait for this job."""
        event = self._jobs.pop(name, None)
        if event is not None:
            event.set()

    def notify_queue(self) -> None:
        """Wakes all workers that wait."""
        event, self._queue = self._queue, asyncio.Event()
        event.set()
