"""The stream of events as a source. What is no event is confirmed and left out: it would come again for ever."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from services.chassis import tracing
from services.chassis.cloud_events import SUBJECT_ROOT, BusEvent
from services.chassis.logging import get_logger
from services.chassis.nats_consumer import EventConsumer
from services.chassis.nats_events import EventBus
from services.notifier.models.deliveries import Event
from services.notifier.ports import Handle

log = get_logger(__name__)
_LONGEST_ID, _LONGEST_TYPE = 64, 128


class NatsEventSource:
    """Implements ports.EventSource. name: of the consumer on the server, which all replicas share."""

    def __init__(
        self, bus: EventBus, *, ack_wait_s: float, name: str = "notifier", subject_root: str = SUBJECT_ROOT
    ) -> None:
        self._root = subject_root
        self._consumer = EventConsumer(bus, name, subject=f"{subject_root}.>", ack_wait_s=ack_wait_s)

    async def run(self, handle: Handle) -> None:
        """See ports.EventSource."""

        async def take(found: Sequence[BusEvent]) -> None:
            events = [event for event in map(self._event, found) if event is not None]
            if events:
                await handle(events)

        await self._consumer.run(take)

    def _event(self, found: BusEvent) -> Event | None:
        project = found.subject.removeprefix(f"{self._root}.").partition(".")[0]
        try:
            if not 0 < len(found.id) <= _LONGEST_ID or not 0 < len(found.type) <= _LONGEST_TYPE:
                raise ValueError("an id or a type is missing or too long")
            # Python reads no Z before 3.11's own, and other publishers may leave the zone out.
            moment = datetime.fromisoformat(found.time) if found.time else datetime.now(UTC)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            traceparent = tracing.checked(found.traceparent)
            return Event(found.id, found.type, found.source, project, moment, json.loads(found.data), traceparent)
        except (ValueError, OverflowError, RecursionError) as error:
            log.warning("event_unreadable", sequence=found.sequence, subject=found.subject, why=str(error)[:200])
            return None
