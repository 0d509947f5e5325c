"""Whose picture is next: projects take turns, so that one that sends hundreds does not hold up one that sends one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A few places for many who wait, handed from owner to owner in a circle. For one event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Holds a place inside the block. owner: who takes turns with whom."""
        await self._wait(owner)
        try:
            yield
        finally:
            self._free += 1
            self._next()

    async def _wait(self, owner: str) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # The place was given at the moment in which its owner went away.
                self._free += 1
            else:
                place.cancel()
            self._next()
            raise

    def _next(self) -> None:
        while self._free and self._waiting:
            owner, line = next(iter(self._waiting.items()))
            place = line.popleft()
            if line:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]
            if not place.done():
                self._free -= 1
                place.set_result(None)
