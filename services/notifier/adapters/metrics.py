"""What the notifier counts."""

from __future__ import annotations

from services.chassis import telemetry
from services.chassis.outbox import Relay
from services.chassis.patience import every
from services.notifier.ports import DeliveryStore
from services.notifier.use_cases.sending import reasons

_SUCCEEDED = "none"
ATTEMPTS = telemetry.counter(
    "fiveshot_webhook_attempts_total",
    "Attempts of webhook deliveries by why they failed; none: success.",
    ["reason"],
)
PENDING = telemetry.gauge("fiveshot_webhook_pending_deliveries", "Deliveries that wait, counted up to 10,000.")
for _reason in reasons():
    # A counter that begins with its first failure hides that one from rates.
    ATTEMPTS.labels(_reason or _SUCCEEDED)


def attempted(reason: str) -> None:
    """Counts an attempt. reason: "" when it succeeded."""
    ATTEMPTS.labels(reason or _SUCCEEDED).inc()


class Gauges:
    """Measures what waits, at every pause."""

    def __init__(self, store: DeliveryStore, relay: Relay, *, pause_s: float = 5.0) -> None:
        self._store = store
        self._relay = relay
        self._pause_s = pause_s

    async def run(self) -> None:
        """Measures until cancelled."""
        await every(self._pause_s, self._measure, what="metrics of webhooks", at_once=True)

    async def _measure(self) -> None:
        PENDING.set(await self._store.pending())
        await self._relay.measure()
