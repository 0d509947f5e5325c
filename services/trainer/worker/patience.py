"""Repeats what fails because a server is away, with growing pauses, for as long as the worker has patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.chassis.errors import DeadlineExceeded, Unavailable
from services.chassis.logging import get_logger

log = get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0


async def patiently(call: Callable[[], Awaitable[T]], *, what: str, patience_s: float) -> T:
    """The result of `call`, however often its server was away meanwhile. Raises what it raised last when time is up.

    Only for calls that may be repeated: a lost answer leaves open whether the first one was carried out.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except (Unavailable, DeadlineExceeded) as error:
            if loop.time() + pause_s > deadline:
                raise
            log.warning("server_away", what=what, reason=error.reason, pause_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
