"""Tidying: deliveries that nobody will send or read any more, and old request_ids."""

from __future__ import annotations

from datetime import timedelta

from services.chassis.logging import get_logger
from services.chassis.patience import every
from services.notifier.ports import DeliveryStore, WebhookStore

log = get_logger(__name__)
_BATCH = 500


class Sweeper:
    """keep: how long a delivery is kept after its end. remember: how long a request_id is known."""

    def __init__(
        self,
        deliveries: DeliveryStore,
        webhooks: WebhookStore,
        *,
        keep: timedelta,
        remember: timedelta,
        interval: timedelta,
    ) -> None:
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._keep = keep
        self._remember = remember
        self._interval = interval

    async def run(self) -> None:
        """Sweeps at every interval until cancelled."""
        await every(self._interval.total_seconds(), self.sweep, what="sweeping")

    async def sweep(self) -> int:
        """Ends what waits in vain, forgets what ended long ago; returns how many deliveries were forgotten."""
        while await self._deliveries.give_up_late(_BATCH) == _BATCH:
            pass
        forgotten = batch = await self._deliveries.forget(self._keep, _BATCH)
        while batch == _BATCH:
            batch = await self._deliveries.forget(self._keep, _BATCH)
            forgotten += batch
        await self._webhooks.forget_requests(self._remember)
        if forgotten:
            log.info("deliveries_forgotten", deliveries=forgotten)
        return forgotten
