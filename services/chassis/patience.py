"""Patience with servers that are away: one rule for what is repeated, with which pauses, and how it is logged.

The parts of the suite start and restart in any order, so a server that is away is no failure yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from services.chassis.errors import DeadlineExceeded, DomainError, Unavailable
from services.chassis.logging import get_logger

log = get_logger(__name__)

T = TypeVar("T")

AWAY = (Unavailable, DeadlineExceeded)
"""What is worth repeating: nobody answered. Every other error is an answer."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 3.0
_JITTER_S = 0.2
"""Of a hundred clients that lost one server, not all come back in the same instant."""


async def patiently(call: Callable[[], Awaitable[T]], *, what: str, patience_s: float | None) -> T:
    """The result of `call`, however often its server was away meanwhile; pauses grow from 0.1 to 3 seconds.

    what: the server's name, for the log. patience_s: seconds after which the last error is raised; None never gives
    up, 0 makes one attempt. Only for calls that may be repeated: a lost answer leaves open whether the first call was
    carried out.
    """
    if patience_s == 0:
        return await call()
    attempts = stamina.retry_context(
        on=AWAY,
        attempts=None,
        timeout=patience_s,
        wait_initial=FIRST_PAUSE_S,
        wait_max=LONGEST_PAUSE_S,
        wait_jitter=_JITTER_S,
    )
    async for attempt in attempts.with_name(what, (), {}):
        with attempt:
            return await call()
    raise AssertionError("the last attempt returns or raises")


async def every(pause_s: float, work: Callable[[], Awaitable[object]], *, what: str, at_once: bool = False) -> NoReturn:
    """Does a round of work after every pause, until cancelled. A round that fails is logged and left to the next one.

    what: the work's name, for the log. at_once: the first round comes before the first pause.
    """
    while True:
        if not at_once:
            await asyncio.sleep(pause_s)
        at_once = False
        try:
            await work()
        except DomainError as error:
            log.warning("round_failed", what=what, reason=error.reason, message=error.message)


def _tell(details: RetryDetails) -> None:
    error = details.caused_by
    reason = error.reason if isinstance(error, DomainError) else type(error).__name__
    log.warning(
        "waiting_for_server",
        what=details.name,
        reason=reason,
        message=str(error),
        pause_s=round(details.wait_for, 3),
        waited_s=round(details.waited_so_far, 3),
    )


# In place of stamina's own hooks: one of them counts every retry under a label of its own, without end.
set_on_retry_hooks([_tell])
