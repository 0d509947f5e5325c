"""Rows of the notifier as models, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from services.notifier.models.deliveries import Delivery, DeliveryState, attempt_of, attempt_values
from services.notifier.models.webhooks import Webhook

_WEBHOOK = tuple(Webhook.__dataclass_fields__)
_DELIVERY = tuple(name for name in Delivery.__dataclass_fields__ if name != "body")


def webhook_of(row: Row[Any]) -> Webhook:
    """A webhook."""
    values = {name: row._mapping[name] for name in _WEBHOOK}
    return Webhook(**(values | {"event_types": tuple(values["event_types"])}))


def webhook_values(webhook: Webhook) -> dict[str, Any]:
    """The columns of a webhook."""
    values = {name: getattr(webhook, name) for name in _WEBHOOK}
    return values | {
        "search_name": webhook.display_name.casefold(),
        "event_types": list(webhook.event_types),
        "labels": dict(webhook.labels),
    }


def delivery_of(row: Row[Any], body: str = "") -> Delivery:
    """A delivery. body: where it was asked for."""
    values: Mapping[str, Any] = {name: row._mapping[name] for name in _DELIVERY}
    read = {
        "state": DeliveryState(values["state"]),
        "attempts": tuple(attempt_of(each) for each in values["attempts"]),
    }
    return Delivery(**{**values, **read, "body": body})


def delivery_values(delivery: Delivery) -> dict[str, Any]:
    """The columns of a delivery, without its claim."""
    values = {name: getattr(delivery, name) for name in _DELIVERY}
    return values | {
        "state": delivery.state.value,
        "attempts": [attempt_values(each) for each in delivery.attempts],
    }
