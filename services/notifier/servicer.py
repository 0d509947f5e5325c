"""NotifierService: parse, call, map. Field rules and the project check are done before a method is reached."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb
from fiveshot.notifier.v1 import webhook_pb2 as pb
from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceServicer
from fiveshot.usage.v1 import usage_pb2
from google.protobuf.empty_pb2 import Empty

from services.chassis.names import project_of
from services.notifier.proto_mapping import messages as mapping
from services.notifier.use_cases.deliveries import Deliveries
from services.notifier.use_cases.webhooks import Webhooks


class NotifierServicer(NotifierServiceServicer):
    """One method a call."""

    def __init__(self, webhooks: Webhooks, deliveries: Deliveries, *, clock: Callable[[], datetime]) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._clock = clock

    async def CreateWebhook(self, request: service_pb.CreateWebhookRequest, context: Any) -> pb.Webhook:
        """See notifier_service.proto, here and below."""
        made = await self._webhooks.create(mapping.new_webhook(request), mapping.request_key(request))
        return mapping.webhook(made, now=self._clock(), secret=True)

    async def GetWebhook(self, request: service_pb.GetWebhookRequest, context: Any) -> pb.Webhook:
        return mapping.webhook(await self._webhooks.get(request.name), now=self._clock())

    async def ListWebhooks(
        self, request: service_pb.ListWebhooksRequest, context: Any
    ) -> service_pb.ListWebhooksResponse:
        found, token, total = await self._webhooks.list(mapping.list_request(request))
        shown = [mapping.webhook(each, now=self._clock()) for each in found]
        return service_pb.ListWebhooksResponse(webhooks=shown, next_page_token=token, total_size=total)

    async def UpdateWebhook(self, request: service_pb.UpdateWebhookRequest, context: Any) -> pb.Webhook:
        given = mapping.given_webhook(request.webhook)
        updated = await self._webhooks.update(given, request.update_mask.paths, request.webhook.etag)
        return mapping.webhook(updated, now=self._clock())

    async def DeleteWebhook(self, request: service_pb.DeleteWebhookRequest, context: Any) -> Empty:
        await self._webhooks.delete(request.name, etag=request.etag)
        return Empty()

    async def RotateWebhookSecret(self, request: service_pb.RotateWebhookSecretRequest, context: Any) -> pb.Webhook:
        key = mapping.request_key(request)
        rotated = await self._webhooks.rotate(request.name, mapping.overlap(request), key)
        return mapping.webhook(rotated, now=self._clock(), secret=True)

    async def TestWebhook(self, request: service_pb.TestWebhookRequest, context: Any) -> pb.WebhookDelivery:
        return mapping.delivery(await self._deliveries.test(request.name))

    async def GetWebhookDelivery(
        self, request: service_pb.GetWebhookDeliveryRequest, context: Any
    ) -> pb.WebhookDelivery:
        return mapping.delivery(await self._deliveries.get(request.name), body=True)

    async def ListWebhookDeliveries(
        self, request: service_pb.ListWebhookDeliveriesRequest, context: Any
    ) -> service_pb.ListWebhookDeliveriesResponse:
        found, token, total = await self._deliveries.list(mapping.list_request(request))
        shown = [mapping.delivery(each) for each in found]
        return service_pb.ListWebhookDeliveriesResponse(deliveries=shown, next_page_token=token, total_size=total)

    async def RedeliverWebhookDelivery(
        self, request: service_pb.RedeliverWebhookDeliveryRequest, context: Any
    ) -> pb.WebhookDelivery:
        return mapping.delivery(await self._deliveries.redeliver(request.name))

    async def GetUsage(self, request: service_pb.GetUsageRequest, context: Any) -> usage_pb2.Usage:
        return mapping.usage(request.name, await self._webhooks.usage(project_of(request.name)))
