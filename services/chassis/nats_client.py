"""A connection to NATS as the event bus wants it: to one of several servers, with TLS where that is demanded."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.chassis.logging import get_logger

log = get_logger(__name__)

_RECONNECT_S = 0.5
_SAID_AGAIN_S = 60.0


class EventClient(Client):
    """The library's client speaks TLS where a server demands it; this one also where its own settings do, before it
    shows anybody a password."""

    def __init__(self, *, demands_tls: bool) -> None:
        super().__init__()
        self._demands_tls = demands_tls

    async def come_up(
        self,
        servers: Sequence[str],
        *,
        name: str,
        user: str,
        password: str,
        credentials: Path | None,
        tls: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        """Connects, and repairs the connection from then on. Raises the library's errors, OSError and TimeoutError;
        `last_error` says what a server answered."""
        done = False
        try:
            async with asyncio.timeout(timeout_s):
                await self.connect(
                    list(servers),
                    name=name,
                    # None leaves them to the URL, where they may stand as well.
                    user=user or None,
                    password=password or None,
                    user_credentials=str(credentials) if credentials else None,
                    tls=tls,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # it is slept: parts of seconds will do
                    # What is published while the server is away must fail here, not wait in a buffer unconfirmed.
                    pending_size=0,
                    error_cb=Complaints().hear,
                    disconnected_cb=_on_disconnect,
                    reconnected_cb=_on_reconnect,
                )
            done = True
        finally:
            # Also of a process that ends while it connects: half a connection is nobody's.
            if not done:
                await self.close()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self._demands_tls and not info.get("tls_required"):
            raise NatsError("the server speaks no TLS, which the settings demand")
        await super()._process_info(info, initial_connection)


def servers_of(url: str, *, secure: bool) -> list[str]:
    """The addresses in a list with commas."""
    found = [each.strip() for each in url.split(",")]
    return [each.replace("nats://", "tls://", 1) for each in found] if secure else found


class Complaints:
    """Logs the errors of a connection, the same one once a minute: a client that is refused tries twice a second.

    clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}

    async def hear(self, error: Exception) -> None:
        """What the client calls."""
        words, now = str(error) or type(error).__name__, self._clock()
        self._said = {each: at for each, at in self._said.items() if now - at < _SAID_AGAIN_S}
        if words not in self._said:
            self._said[words] = now
            log.warning("event_bus_error", error=words)


async def _on_disconnect() -> None:
    log.warning("event_bus_disconnected")


async def _on_reconnect() -> None:
    log.info("event_bus_reconnected")
