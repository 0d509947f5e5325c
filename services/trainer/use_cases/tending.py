"""Rounds over what the clock has made due, by a process that knows when its own absence is to blame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from services.chassis.errors import Unavailable
from services.chassis.patience import every

BATCH = 100
"""The most names of a round."""


class Tending(ABC):
    """Looks ten times a lease.

    While this process could not be reached, workers and watchers could not renew anything. So nothing is taken from
    them until it has served for a whole lease since its start, or since the store last failed to answer.
    """

    def __init__(self, *, clock: Callable[[], datetime], lease: timedelta, what: str) -> None:
        """what: the work in words, for the log."""
        self._clock = clock
        self._lease = lease
        self._what = what
        self._serving_since = clock()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await every(max(0.05, self._lease.total_seconds() / 10), self.look, what=self._what)

    async def look(self) -> int:
        """Looks once and returns with how many there was something to do."""
        now = self._clock()
        try:
            names = await self._due(now)
            if now - self._serving_since < self._lease:
                return 0
            for name in names:
                await self._tend(name, now)
            return len(names)
        except Unavailable:
            self._serving_since = self._clock()
            return 0

    @abstractmethod
    async def _due(self, now: datetime) -> Sequence[str]:
        """What there is something to do with, at most a batch of it; asked also while nothing is done yet."""

    @abstractmethod
    async def _tend(self, name: str, now: datetime) -> None:
        """Does it."""
