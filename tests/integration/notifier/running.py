"""The notifier on real servers, served, and what a test asks it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb
from fiveshot.notifier.v1 import webhook_pb2 as pb
from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceStub
from google.protobuf.field_mask_pb2 import FieldMask

from services.chassis import service
from services.chassis.cloud_events import event_subject
from services.chassis.grpc_client import channel
from services.chassis.nats_events import EventBus
from services.notifier.app import build
from services.notifier.settings import Settings
from tests.fixtures.patience import until

if TYPE_CHECKING:
    from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceAsyncStub

State = pb.WebhookDelivery.State
LOCAL = ["127.0.0.0/8"]


@dataclass
class Running:
    """A running notifier with its client, a bus to publish on, and a project of the test's own."""

    stub: NotifierServiceAsyncStub
    bus: EventBus
    project: str

    @property
    def parent(self) -> str:
        return f"projects/{self.project}"

    async def create(self, url: str, webhook_id: str = "mine", **fields: Any) -> pb.Webhook:
        webhook = pb.Webhook(url=url, **fields)
        request = service_pb.CreateWebhookRequest(parent=self.parent, webhook_id=webhook_id, webhook=webhook)
        return await self.stub.CreateWebhook(request)

    async def get(self, webhook_id: str = "mine") -> pb.Webhook:
        return await self.stub.GetWebhook(service_pb.GetWebhookRequest(name=f"{self.parent}/webhooks/{webhook_id}"))

    async def update(self, mask: list[str], webhook_id: str = "mine", **fields: Any) -> pb.Webhook:
        request = service_pb.UpdateWebhookRequest(
            webhook=pb.Webhook(name=f"{self.parent}/webhooks/{webhook_id}", **fields), update_mask=FieldMask(paths=mask)
        )
        return await self.stub.UpdateWebhook(request)

    async def publish(self, kind: str = "created", number: int = 1, project: str = "") -> str:
        """An event of a training job; its id."""
        event_id = str(uuid.uuid4())
        owner = project or self.project
        await self.bus.publish(
            subject=event_subject(owner, "trainingJobs", f"job-{number}", kind),
            event_id=event_id,
            type=f"fiveshot.training_job.{kind}",
            source=f"projects/{owner}/trainingJobs/job-{number}",
            data=json.dumps({"eventId": event_id, "sequence": str(number), "note": "größer ✓"}).encode(),
        )
        return event_id

    async def deliveries(self, webhook_id: str = "mine", filter: str = "") -> list[pb.WebhookDelivery]:
        request = service_pb.ListWebhookDeliveriesRequest(
            parent=f"{self.parent}/webhooks/{webhook_id}", filter=filter, page_size=1000
        )
        return list((await self.stub.ListWebhookDeliveries(request)).deliveries)

    async def ended(self, state: State.ValueType, count: int = 1, webhook_id: str = "mine") -> list[pb.WebhookDelivery]:
        """The deliveries of a webhook once so many have come to this state."""

        async def some() -> list[pb.WebhookDelivery]:
            found = [each for each in await self.deliveries(webhook_id) if each.state == state]
            return found if len(found) >= count else []

        return await until(some, what=f"{count} deliveries in state {state}")

    async def attempted(self, count: int = 1, webhook_id: str = "mine") -> pb.WebhookDelivery:
        """The one delivery of a webhook once it was tried so often."""

        async def tried() -> pb.WebhookDelivery | None:
            found = await self.deliveries(webhook_id)
            return found[0] if found and found[0].attempt_count >= count else None

        found = await until(tried, what=f"{count} attempts")
        assert found is not None
        return found


HURRIED = ("retry_first_s", "give_up_hours", "disable_after_hours")


@asynccontextmanager
async def serving(nats_url: str, database_url: str, bus: EventBus, **given: Any) -> AsyncIterator[Running]:
    """A notifier in this process that may call this machine. given: settings, of HURRIED below what an operator may."""
    hurried = {"retry_first_s": 0.05} | {name: given.pop(name) for name in HURRIED if name in given}
    where = {"database_url": database_url, "nats_url": nats_url}
    values: dict[str, Any] = {**where, "allowed_networks": LOCAL, "attempt_timeout_s": 20, **given}
    settings = Settings(**values).model_copy(update=hurried)
    async with service.serving(settings, build(settings)) as server:
        connection = channel(server.target)
        yield Running(NotifierServiceStub(connection), bus, f"p-{uuid.uuid4().hex[:12]}")
        await connection.close(None)
