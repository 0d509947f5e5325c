"""What a process needs: servers without which it can do nothing. Its health follows them. And what it misses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.chassis.errors import DomainError
from services.chassis.logging import get_logger

log = get_logger(__name__)

NEED = "need/"
"""Health lists under this what a process lacks: `need/object store: OBJECT_STORE_UNAVAILABLE`. It is NOT_SERVING as a
whole only when something vital is among it."""

Task = Callable[[], Awaitable[None]]

_PAUSE_S = 1.0
_ANSWER_S = 2.0
_MISSES = 2
"""One lost answer is no outage, and a health that flaps drives callers from replica to replica."""


@dataclass(frozen=True)
class Need:
    """A server, or a disk, that the process works with.

    prepare: brings it into the shape that the process works with (a schema, a bucket); may be repeated; raises
    Unavailable while the server is away. ping: asks for a sign of life, cheaply and beside the calls at work, so that
    a busy process is not taken for one whose server is away; raises a DomainError. close: lets go of it. migrate: of a
    database, brings it up to date whatever `prepare` may do. vital: false for what it can do without for a
    while; then it stays healthy, and only says what is away.
    """

    name: str
    prepare: Task
    ping: Task
    close: Task
    migrate: Task | None = None
    vital: bool = True


async def follow(
    needs: Sequence[Need], tell: Callable[[Mapping[str, str]], Awaitable[None]], *, pause_s: float = _PAUSE_S
) -> None:
    """Asks all needs once a second until cancelled. Tells which are away and why: those that have missed two answers in
    a row; and {} once all answer again."""
    missed = {need.name: 0 for need in needs}
    away: dict[str, str] = {}
    while needs:
        await asyncio.sleep(pause_s)
        failures = await asyncio.gather(*(_failure(need) for need in needs))
        for need, failure in zip(needs, failures, strict=True):
            missed[need.name] = missed[need.name] + 1 if failure else 0
            if missed[need.name] == _MISSES:
                log.warning("need_away", need=need.name, reason=failure)
        found = {
            need.name: away.get(need.name, failure)
            for need, failure in zip(needs, failures, strict=True)
            if missed[need.name] >= _MISSES
        }
        # One that misses an answer while another comes back keeps the process from being well for a moment.
        if found == away or (not found and any(missed.values())):
            continue
        away = found
        log.info("health_changed", away=sorted(away))
        await tell(away)


async def _failure(need: Need) -> str:
    """Why the server does not answer; "" when it does."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            await need.ping()
    except DomainError as error:
        return error.reason
    except TimeoutError:
        return "NO_ANSWER"
    return ""
