"""Reading deliveries, sending them again, and tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.chassis import names
from services.chassis.errors import NotFound
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.chassis.signals import Signals
from services.notifier.models.deliveries import DELIVERY_NAME, Delivery, Event
from services.notifier.models.event_types import TEST
from services.notifier.models.webhooks import WEBHOOK_NAME
from services.notifier.ports import DELIVERIES, DeliveryStore, WebhookStore
from services.notifier.use_cases.receiving import DUE
from services.notifier.use_cases.sending import Courier
from services.notifier.use_cases.webhooks import ids_of

log = get_logger(__name__)


class Deliveries:
    """What became of events."""

    def __init__(
        self,
        store: DeliveryStore,
        webhooks: WebhookStore,
        courier: Courier,
        signals: Signals,
        tokens: PageTokens,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._courier = courier
        self._signals = signals
        self._tokens = tokens
        self._clock = clock

    async def get(self, name: str) -> Delivery:
        """With its body. Raises NotFound."""
        return await self._store.get(*_ids(name))

    async def list(self, request: ListRequest) -> tuple[list[Delivery], str, int]:
        """A page of deliveries, the token of the next page ("" on the last), and how many match.

        Raises InvalidArgument, NotFound.
        """
        ids = WEBHOOK_NAME.parse(request.parent, field="parent")
        asked = DELIVERIES.open(request, self._tokens)
        found, total = await self._store.list(ids["project"], ids["webhook"], asked.query)
        return *asked.answer(found), total

    async def redeliver(self, name: str) -> Delivery:
        """Sends an event again, from its first attempt. Raises NotFound, FailedPrecondition(WEBHOOK_DISABLED)."""
        delivery = await self._store.redeliver(*_ids(name))
        self._signals.notify(DUE)
        log.info("webhook_redelivered", delivery=name)
        return delivery

    async def test(self, name: str) -> Delivery:
        """Sends a test now, once, and returns what came of it. Raises NotFound."""
        webhook = await self._webhooks.get(*ids_of(name))
        now, event_id = self._clock(), names.new_uuid()
        data = {
            "eventId": event_id,
            "webhook": webhook.name,
            "createTime": now.isoformat().replace("+00:00", "Z"),
            "test": {"message": "This is a test of the webhook; nothing has happened."},
        }
        event = Event(event_id, TEST, webhook.name, webhook.project, now, data)
        claimed = await self._store.add_test(webhook, event, self._courier.lease)
        delivery = await self._courier.send(claimed)
        if delivery is None:
            raise NotFound(
                f"{webhook.name} was deleted meanwhile",
                field="name",
                reason="WEBHOOK_NOT_FOUND",
                remedy="Create it anew.",
            )
        return delivery


def _ids(name: str) -> tuple[str, str, str]:
    ids = DELIVERY_NAME.parse(name)
    return ids["project"], ids["webhook"], ids["delivery"]
