"""Signals that the replicas of a service tell each other over NATS, unconfirmed and outside of JetStream.

One that is lost costs a pause, because everyone looks again after a while anyway.
"""

from __future__ import annotations

import asyncio
import json
import uuid

from services.chassis.errors import Unavailable
from services.chassis.logging import get_logger
from services.chassis.nats_events import EventBus
from services.chassis.patience import patiently
from services.chassis.signals import Signals

log = get_logger(__name__)

_GATHER_S = 0.02
"""Changes within so long make one message; heartbeats of a thousand workers are a hundred changes a second."""
_PAUSE_S = 1.0
"""After a message that nobody took."""
_MOST_KEYS = 2_000
"""In one message, which NATS lets have a megabyte."""


class SharedSignals(Signals):
    """Signals across replicas. Run `run` as a background task.

    service: its replicas share the NATS subject `fiveshot.signals.v2.{service}`.
    """

    def __init__(self, bus: EventBus, *, service: str) -> None:
        super().__init__()
        self._bus = bus
        self._subject = f"fiveshot.signals.v2.{service}"
        self._me = uuid.uuid4().hex
        self._listening = False
        self._changed: set[str] = set()
        self._news = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether changes that other replicas make are told as well now."""
        return self._listening and self._bus.connected

    def notify(self, key: str) -> None:
        """Wakes all who wait for this key, here and elsewhere."""
        super().notify(key)
        self._changed.add(key)
        self._news.set()

    async def run(self) -> None:
        """Listens, and tells what is new, until cancelled."""
        await patiently(lambda: self._bus.on_signal(self._subject, self._heard), what="event bus", patience_s=None)
        self._listening = True
        while True:
            await self._news.wait()
            await asyncio.sleep(_GATHER_S)
            self._news.clear()
            keys = sorted(self._changed)
            self._changed.clear()
            for begin in range(0, len(keys), _MOST_KEYS):
                told = {"from": self._me, "keys": keys[begin : begin + _MOST_KEYS]}
                try:
                    await self._bus.signal(self._subject, json.dumps(told).encode())
                except Unavailable as error:
                    # Not told again: by the time the bus is back, everyone has looked.
                    log.warning("signals_not_told", reason=error.reason, keys=len(keys))
                    await asyncio.sleep(_PAUSE_S)

    def _heard(self, data: bytes) -> None:
        told = json.loads(data)
        if told["from"] != self._me:
            for key in told["keys"]:
                super().notify(key)
