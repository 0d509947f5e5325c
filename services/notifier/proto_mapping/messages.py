"""Messages of the API to models, and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb
from fiveshot.notifier.v1 import webhook_event_pb2 as event_pb
from fiveshot.notifier.v1 import webhook_pb2 as pb
from fiveshot.usage.v1 import usage_pb2
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.budgets import BudgetUse
from services.chassis.listing.pages import ListRequest
from services.chassis.names import project_of
from services.chassis.requests.keys import RequestKey, digest_of_bytes
from services.notifier.models.deliveries import Attempt, Delivery
from services.notifier.models.webhooks import OVERLAP_HOURS, PROJECT_NAME, WEBHOOK_NAME, NewWebhook, Webhook


def request_key(request: service_pb.CreateWebhookRequest | service_pb.RotateWebhookSecretRequest) -> RequestKey:
    """What makes a repeated request recognisable: its id, and a digest of the rest of it."""
    rest: Message = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    method = type(request).__name__.removesuffix("Request")
    project = project_of(getattr(request, "parent", "") or getattr(request, "name", ""))
    return RequestKey(
        project, method, request.request_id, digest_of_bytes(rest.SerializeToString(deterministic=True))
    )  # fmt: skip


def list_request(
    request: service_pb.ListWebhooksRequest | service_pb.ListWebhookDeliveriesRequest,
) -> ListRequest:
    """A list call."""
    return ListRequest(
        parent=request.parent,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
    )


def new_webhook(request: service_pb.CreateWebhookRequest) -> NewWebhook:
    """The webhook that a create asks for."""
    project = PROJECT_NAME.parse(request.parent, field="parent")["project"]
    return _new_webhook(project, request.webhook_id, request.webhook)


def given_webhook(message: pb.Webhook) -> NewWebhook:
    """The values of an update. Raises InvalidArgument for a wrong name."""
    ids = WEBHOOK_NAME.parse(message.name, field="webhook.name")
    return _new_webhook(ids["project"], ids["webhook"], message)


def _new_webhook(project: str, webhook_id: str, given: pb.Webhook) -> NewWebhook:
    return NewWebhook(
        project,
        webhook_id,
        given.display_name,
        given.url.strip(),
        tuple(given.event_types),
        given.disabled,
        dict(given.labels),
    )


def overlap(request: service_pb.RotateWebhookSecretRequest) -> timedelta:
    """For how long the secret of now signs as well."""
    return timedelta(hours=request.overlap_hours if request.HasField("overlap_hours") else OVERLAP_HOURS)


def webhook(value: Webhook, *, now: datetime, secret: bool = False) -> pb.Webhook:
    """A webhook as callers see it. secret: whether this answer carries it."""
    rotating = len(value.secrets(now)) > 1
    return pb.Webhook(
        name=value.name,
        display_name=value.display_name,
        url=value.url,
        event_types=value.event_types,
        disabled=value.disabled,
        disabled_reason=value.disabled_reason,
        failing_since=timestamp(value.failing_since),
        last_success_time=timestamp(value.last_success_time),
        secret=value.secret if secret else "",
        previous_secret_expire_time=timestamp(value.previous_until) if rotating else None,
        labels=dict(value.labels),
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        etag=value.etag,
    )


def delivery(value: Delivery, *, body: bool = False) -> pb.WebhookDelivery:
    """A delivery as callers see it. body: whether this answer carries it."""
    return pb.WebhookDelivery(
        name=value.name,
        event_id=value.event_id,
        event_type=value.event_type,
        state=pb.WebhookDelivery.State.Value(f"STATE_{value.state.value}"),
        attempt_count=value.attempt_count,
        attempts=[_attempt(each) for each in value.attempts],
        create_time=timestamp(value.create_time),
        next_attempt_time=timestamp(value.next_attempt_time),
        end_time=timestamp(value.end_time),
        body=value.body if body else "",
    )


def _attempt(value: Attempt) -> pb.WebhookAttempt:
    made = pb.WebhookAttempt(
        start_time=timestamp(value.start_time), status_code=value.status, reason=value.reason, message=value.message
    )
    made.duration.FromTimedelta(timedelta(seconds=value.duration_s))
    return made


def disabled_event(value: Webhook, *, event_id: str, sequence: int, moment: datetime) -> str:
    """The event of a webhook that the service has disabled, as JSON."""
    disabled = event_pb.WebhookDisabled(reason=value.disabled_reason, failing_since=timestamp(value.failing_since))
    event = event_pb.WebhookEvent(
        event_id=event_id,
        webhook=value.name,
        sequence=sequence,
        create_time=timestamp(moment),
        disabled=disabled,
    )
    return MessageToJson(event, indent=None)


def usage(name: str, uses: Iterable[BudgetUse]) -> usage_pb2.Usage:
    """The use of each budget."""
    return usage_pb2.Usage(
        name=name,
        budgets=[
            usage_pb2.BudgetUse(budget=use.budget.name, unit=use.budget.unit, used=use.used, limit=use.limit)
            for use in uses
        ],
    )


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A protobuf timestamp of an aware datetime; None for none."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
