"""Events of the stream become deliveries: kept first, confirmed to the stream afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.logging import get_logger
from services.chassis.signals import Signals
from services.notifier.models.deliveries import Event
from services.notifier.ports import DeliveryStore, EventSource

log = get_logger(__name__)
DUE = "due"


class Receiver:
    """Keeps what webhooks want of the stream. signals: wake the courier."""

    def __init__(self, source: EventSource, store: DeliveryStore, signals: Signals) -> None:
        self._source = source
        self._store = store
        self._signals = signals

    async def run(self) -> None:
        """Receives until cancelled."""
        await self._source.run(self.keep)

    async def keep(self, events: Sequence[Event]) -> None:
        """Keeps the deliveries of a batch; events may be confirmed once this returns."""
        if await self._store.keep(events):
            self._signals.notify(DUE)
