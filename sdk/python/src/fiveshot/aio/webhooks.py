"""Webhooks: addresses that a project's events are sent to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fiveshot.aio.calls import Listing, Stubs
from fiveshot.notifier.v1 import notifier_service_pb2 as pb
from fiveshot.notifier.v1 import webhook_pb2
from fiveshot.records import WebhookDeliveryRecord, WebhookRecord
from fiveshot.words import labelled, several
from google.protobuf.field_mask_pb2 import FieldMask

_ATTEMPT_S = 150.0
"""A test is answered after its attempt, of which the server says how long it may take: two minutes at most."""


class WebhookDelivery(WebhookDeliveryRecord):
    """An event on its way to a webhook."""

    def __init__(self, stubs: Stubs, message: webhook_pb2.WebhookDelivery) -> None:
        super().__init__(message)
        self._stubs = stubs

    async def redeliver(self) -> None:
        """Sends the event again, whatever became of it. Raises FailedPrecondition while the webhook is disabled."""
        request = pb.RedeliverWebhookDeliveryRequest(name=self.name)
        self.message = await self._stubs.notifier.RedeliverWebhookDelivery(request)

    async def refresh(self) -> None:
        """Reads it again, with its body."""
        request = pb.GetWebhookDeliveryRequest(name=self.name)
        self.message = await self._stubs.notifier.GetWebhookDelivery(request)


class Webhook(WebhookRecord):
    """An address that events are sent to."""

    def __init__(self, stubs: Stubs, message: webhook_pb2.Webhook) -> None:
        super().__init__(message)
        self._stubs = stubs

    @property
    def deliveries(self) -> Listing[WebhookDelivery]:
        """What became of its events, the newest first."""
        return self.find_deliveries()

    def find_deliveries(self, filter: str = "") -> Listing[WebhookDelivery]:
        """Those that match an AIP-160 filter, such as `state = FAILED`."""
        request = pb.ListWebhookDeliveriesRequest(parent=self.name, filter=filter)
        call = self._stubs.notifier.ListWebhookDeliveries
        return Listing(call, request, "deliveries", lambda message: WebhookDelivery(self._stubs, message))

    async def test(self) -> WebhookDelivery:
        """Sends a test event now, once; what came of it."""
        request = pb.TestWebhookRequest(name=self.name)
        return WebhookDelivery(self._stubs, await self._stubs.notifier.TestWebhook(request, timeout=_ATTEMPT_S))

    async def rotate_secret(self, *, overlap_hours: int = 24) -> str:
        """Gives it a new secret, which is returned; the one before signs as well for so many hours."""
        request = pb.RotateWebhookSecretRequest(name=self.name, overlap_hours=overlap_hours)
        self.message = await self._stubs.notifier.RotateWebhookSecret(request)
        return self.secret

    async def update(
        self,
        *,
        url: str | None = None,
        event_types: str | Sequence[str] | None = None,
        disabled: bool | None = None,
        display_name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Changes what is given. Raises Aborted when it has changed since it was read."""
        fields = webhook_pb2.Webhook(
            name=self.name, etag=self.message.etag, url=url or "", event_types=several(event_types or []),
            disabled=bool(disabled), display_name=display_name or "", labels=labelled(labels),
        )  # fmt: skip
        given = {
            "url": url, "event_types": event_types, "disabled": disabled, "display_name": display_name,
            "labels": labelled(labels),
        }  # fmt: skip
        mask = FieldMask(paths=[name for name, value in given.items() if value is not None])
        request = pb.UpdateWebhookRequest(webhook=fields, update_mask=mask)
        self.message = await self._stubs.notifier.UpdateWebhook(request)

    async def delete(self) -> None:
        """Deletes it with its deliveries."""
        await self._stubs.notifier.DeleteWebhook(pb.DeleteWebhookRequest(name=self.name))


class Webhooks:
    """The webhooks of a project."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._endpoint = stubs.channel.endpoint

    async def create(
        self,
        url: str,
        *,
        id: str = "",
        event_types: str | Sequence[str] = (),
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Webhook:
        """A webhook; its `secret` is there now and never again. id: chosen by the server when empty.

        event_types: `fiveshot.training_job.state_changed`, `fiveshot.training_job.*`; empty for all but progress.
        """
        fields = webhook_pb2.Webhook(
            url=url, event_types=several(event_types), display_name=display_name, labels=labelled(labels)
        )  # fmt: skip
        request = pb.CreateWebhookRequest(parent=self._endpoint.parent, webhook_id=id, webhook=fields)
        return Webhook(self._stubs, await self._stubs.notifier.CreateWebhook(request))

    async def get(self, webhook: str) -> Webhook:
        """One by id or full name. Raises NotFound."""
        request = pb.GetWebhookRequest(name=self._endpoint.resource("webhooks", webhook))
        return Webhook(self._stubs, await self._stubs.notifier.GetWebhook(request))

    def list(self, filter: str = "", *, order_by: str = "") -> Listing[Webhook]:
        """Those that match an AIP-160 filter."""
        request = pb.ListWebhooksRequest(parent=self._endpoint.parent, filter=filter, order_by=order_by)
        call = self._stubs.notifier.ListWebhooks
        return Listing(call, request, "webhooks", lambda message: Webhook(self._stubs, message))
