"""Calls that come close together are made as one: what many of them cost once each, such as a round trip and a commit,
they then cost together.

    read = Together(read_rows, pause_s=0.02)
    …
    row = await read(name)

The first call is made at once. Those that come while it is under way, or before the pause is over, wait and are made
together, so that a call that comes alone is no slower than without this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")

MOST = 200
"""Calls that are made as one."""


class Together(Generic[AskT, AnswerT]):
    """Callable with one ask, for its answer.

    work: answers several asks at once, in their order; what it raises, each of them raises. It runs outside the context
    of any call: it belongs to all of them. pause_s: from the beginning of one to that of the next, at the least.
    """

    def __init__(
        self,
        work: Callable[[Sequence[AskT]], Awaitable[Sequence[AnswerT]]],
        *,
        pause_s: float = 0.0,
        most: int = MOST,
    ) -> None:
        self._work = work
        self._pause_s = pause_s
        self._most = most
        self._waiting: list[tuple[AskT, asyncio.Future[AnswerT]]] = []
        self._running: asyncio.Task[None] | None = None
        self._next_at = 0.0

    @property
    def waiting(self) -> int:
        """Asks that come into the next one."""
        return len(self._waiting)

    async def __call__(self, ask: AskT) -> AnswerT:
        """The answer. A call that is cancelled meanwhile does not disturb the others."""
        future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), context=Context())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await asyncio.sleep(max(0.0, self._next_at - loop.time()))
                self._next_at = loop.time() + self._pause_s
                taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer([one for one in taken if not one[1].done()])
        finally:
            self._running = None
            # Left only when the loop ends.
            for _, future in self._waiting:
                future.cancel()
            self._waiting = []

    async def _answer(self, taken: Sequence[tuple[AskT, asyncio.Future[AnswerT]]]) -> None:
        try:
            answers = await self._work([ask for ask, _ in taken]) if taken else ()
        except Exception as error:
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        except BaseException:
            for _, future in taken:
                future.cancel()
            raise
        for (_, future), answer in zip(taken, answers, strict=True):
            if not future.done():
                future.set_result(answer)
