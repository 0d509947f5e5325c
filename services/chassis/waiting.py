"""Waiting for servers at start: the parts of the suite start in any order, so one that is away is no failure yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.chassis.errors import Unavailable
from services.chassis.logging import get_logger

log = get_logger(__name__)


async def until_available(call: Callable[[], Awaitable[None]], *, patience_s: float = 60.0) -> None:
    """Makes the call again, with growing pauses, while it raises Unavailable; gives up after `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    pause_s = 0.1
    while True:
        try:
            await call()
            return
        except Unavailable as error:
            if time.monotonic() + pause_s > deadline:
                raise
            log.warning("waiting_for_server", reason=error.reason, message=error.message, pause_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, 2.0)
