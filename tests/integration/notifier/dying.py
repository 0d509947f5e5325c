"""The notifier as a process that kills itself between two steps: `python -m tests.integration.notifier.dying`.

DIES_AT names the step, DIES_FOR the project whose events matter; everything else is the service itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.notifier import app
from services.notifier.adapters.sql_deliveries import SqlDeliveryStore
from services.notifier.models.deliveries import Attempt, Claimed, Delivery, Event
from services.notifier.use_cases import sending

STEPS = ("received", "kept", "claimed", "sent", "recorded")


def _die_at(step: str) -> None:
    if os.environ["DIES_AT"] == step:
        os.kill(os.getpid(), signal.SIGKILL)


class DyingStore(SqlDeliveryStore):
    """Dies after the step of its name."""

    async def keep(self, events: Sequence[Event]) -> int:
        mine = any(event.project == os.environ["DIES_FOR"] for event in events)
        if mine:
            _die_at("received")
        kept = await super().keep(events)
        if mine:
            # In the database, and not confirmed to the stream.
            _die_at("kept")
        return kept

    async def claim(self, limit: int, lease: timedelta, busy: Mapping[str, int], each: int) -> list[Claimed]:
        claimed = await super().claim(limit, lease, busy, each)
        if claimed:
            _die_at("claimed")
        return claimed

    async def record(self, claimed: Claimed, attempt: Attempt) -> Delivery | None:
        _die_at("sent")
        recorded = await super().record(claimed, attempt)
        _die_at("recorded")
        return recorded


if __name__ == "__main__":
    # A claim runs out in two seconds instead of half a minute.
    sending.TO_RECORD_S = 1.0
    setattr(app, "SqlDeliveryStore", DyingStore)  # noqa: B010  (what the composition root builds with)
    app.main()
