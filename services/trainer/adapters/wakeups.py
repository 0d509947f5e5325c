"""Signals: whoever waits for a job or for the queue looks at once instead of at the next turn.

Inside a process they are asyncio events. Replicas tell each other over NATS, unconfirmed and outside of JetStream: a
signal that is lost costs a pause, because everyone looks again after a while anyway.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from services.chassis.errors import Unavailable
from services.chassis.nats_events import EventBus

SUBJECT = "fiveshot.signals.v1.trainer"
_GATHER_S = 0.02
"""Changes within so long make one message; heartbeats of a thousand workers are a hundred changes a second."""
_MOST_NAMES = 2_000
"""In one message, which NATS lets have a megabyte."""
_RETRY_S = 1.0


class ProcessWakeups:
    """One asyncio event for the queue and one for each job that somebody waits for."""

    def __init__(self) -> None:
        self._queue = asyncio.Event()
        # Weak: the event of a job goes when nobody waits for it any more.
        self._jobs: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    @property
    def shared(self) -> bool:
        """Whether changes that other replicas make are told as well now."""
        return False

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


class SharedWakeups(ProcessWakeups):
    """The same across replicas. Run `run` as a background task."""

    def __init__(self, bus: EventBus) -> None:
        super().__init__()
        self._bus = bus
        self._me = uuid.uuid4().hex
        self._listening = False
        self._changed: set[str] = set()
        self._queued = False
        self._news = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether changes that other replicas make are told as well now."""
        return self._listening and self._bus.connected

    def notify_job(self, name: str) -> None:
        """Wakes all who wait for this job, here and elsewhere."""
        super().notify_job(name)
        self._changed.add(name)
        self._news.set()

    def notify_queue(self) -> None:
        """Wakes all workers that wait, here and elsewhere."""
        super().notify_queue()
        self._queued = True
        self._news.set()

    async def run(self) -> None:
        """Listens, and tells what is new, until cancelled."""
        while not self._listening:
            self._listening = await self._tried(lambda: self._bus.on_signal(SUBJECT, self._heard))
        while True:
            await self._news.wait()
            await asyncio.sleep(_GATHER_S)
            self._news.clear()
            names, queued = sorted(self._changed), self._queued
            self._changed.clear()
            self._queued = False
            for begin in range(0, max(1, len(names)), _MOST_NAMES):
                told = {"from": self._me, "queue": queued, "jobs": names[begin : begin + _MOST_NAMES]}
                # Not told again when the bus is away: by then everyone has looked.
                await self._tried(lambda told=told: self._bus.signal(SUBJECT, json.dumps(told).encode()))  # type: ignore[misc]

    async def _tried(self, call: Callable[[], Awaitable[None]]) -> bool:
        try:
            await call()
        except Unavailable:
            await asyncio.sleep(_RETRY_S)
            return False
        return True

    def _heard(self, data: bytes) -> None:
        told = json.loads(data)
        if told["from"] == self._me:
            return
        for name in told["jobs"]:
            super().notify_job(name)
        if told["queue"]:
            super().notify_queue()
