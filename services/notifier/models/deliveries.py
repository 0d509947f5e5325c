"""An event on its way to a webhook: its attempts, the pauses between them, and what an attempt changes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.chassis.names import ResourceName
from services.notifier.models.event_types import TEST
from services.notifier.models.webhooks import WEBHOOK_NAME, Webhook

DELIVERY_NAME = ResourceName("projects/{project}/webhooks/{webhook}/deliveries/{delivery}")
KEPT_ATTEMPTS = 20
GONE = "GONE"
_STATUS_GONE = 410
_GROWTH = 4
_MOST_DOUBLINGS = 12


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it came from the stream. data: its JSON, read. project: whose it is. traceparent: of what caused it,
    as W3C Trace Context spells it; "" where nobody said."""

    id: str
    type: str
    source: str
    project: str
    time: datetime
    data: Any
    traceparent: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """What a receiver gets: a CloudEvent whose `type`, `timestamp` and `data` are those of Standard Webhooks."""
        moment = self.time.isoformat().replace("+00:00", "Z")
        return {
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.project,
            "time": moment,
            "timestamp": moment,
            "datacontenttype": "application/json",
            # CloudEvents' extension for distributed tracing.
            **({"traceparent": self.traceparent} if self.traceparent else {}),
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. status: of the answer, 0 for none. reason: "" when it succeeded. retry_after_s: what the receiver
    asked for; not kept."""

    start_time: datetime
    duration_s: float
    status: int
    reason: str = ""
    message: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it is kept. attempts: the newest. attempt_count: of all. tries: since it was last begun anew.

    give_up_time: no attempt is due after it. next_attempt_time: None when none is to come.
    """

    project: str
    webhook_id: str
    delivery_id: str
    event_id: str
    event_type: str
    state: DeliveryState
    attempts: tuple[Attempt, ...]
    attempt_count: int
    tries: int
    create_time: datetime
    give_up_time: datetime
    next_attempt_time: datetime | None
    end_time: datetime | None
    body: str = ""

    @property
    def name(self) -> str:
        """Its resource name."""
        return DELIVERY_NAME.format(project=self.project, webhook=self.webhook_id, delivery=self.delivery_id)

    @property
    def traceparent(self) -> str:
        """Of what caused its event; "" where that is not known."""
        return str(json.loads(self.body).get("traceparent", "")) if self.body else ""

    @property
    def webhook(self) -> str:
        """The name of its webhook."""
        return WEBHOOK_NAME.format(project=self.project, webhook=self.webhook_id)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process sends now. token: tells its claim from a later one of the same delivery."""

    delivery: Delivery
    webhook: Webhook
    token: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """first, longest: pauses. give_up_after: of a delivery, from its first attempt. disable_after: of a webhook, from
    when it began to fail."""

    first: timedelta = timedelta(seconds=5)
    longest: timedelta = timedelta(hours=2)
    give_up_after: timedelta = timedelta(days=1)
    disable_after: timedelta = timedelta(days=3)

    def pause(self, delivery: Delivery, tries: int, asked_s: float = 0.0) -> timedelta:
        """The pause after so many tries: four times the one before, up to the longest; and what the receiver asked for.

        Up to a tenth longer, by the delivery: what failed together does not come back together.
        """
        grown: timedelta = min(self.first * _GROWTH ** min(tries - 1, _MOST_DOUBLINGS), self.longest)
        share = int.from_bytes(hashlib.sha256(f"{delivery.delivery_id}|{tries}".encode()).digest()[:4], "big") / 2**32
        return max(grown * (1 + share / 10), timedelta(seconds=min(asked_s, self.longest.total_seconds())))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt leaves. webhook: None where it stays as it is. disabled: it has just been."""

    delivery: Delivery
    webhook: Webhook | None = None
    disabled: bool = False


def new_delivery(webhook: Webhook, event: Event, delivery_id: str, now: datetime, policy: RetryPolicy) -> Delivery:
    """A delivery that is due at once."""
    return Delivery(
        webhook.project, webhook.webhook_id, delivery_id, event.id, event.type, DeliveryState.PENDING, (), 0, 0,
        create_time=now, give_up_time=now + policy.give_up_after, next_attempt_time=now, end_time=None,
    )  # fmt: skip


def begun_anew(delivery: Delivery, now: datetime, policy: RetryPolicy) -> Delivery:
    """The delivery with its first attempt due at once, and all the time for those after it."""
    return replace(
        delivery, state=DeliveryState.PENDING, tries=0, next_attempt_time=now, end_time=None,
        give_up_time=now + policy.give_up_after,
    )  # fmt: skip


def after(delivery: Delivery, webhook: Webhook, attempt: Attempt, now: datetime, policy: RetryPolicy) -> Outcome:
    """What an attempt changes. A test is one attempt and says nothing of the webhook."""
    tried = replace(
        delivery,
        attempts=(*delivery.attempts, attempt)[-KEPT_ATTEMPTS:],
        attempt_count=delivery.attempt_count + 1,
        tries=delivery.tries + 1,
    )
    test = delivery.event_type == TEST
    if not attempt.reason:
        done = replace(tried, state=DeliveryState.SUCCEEDED, next_attempt_time=None, end_time=now)
        return Outcome(done, None if test else replace(webhook, failing_since=None, last_success_time=now))
    following = now + policy.pause(delivery, tried.tries, attempt.retry_after_s)
    gone = attempt.status == _STATUS_GONE
    if test or gone or following > delivery.give_up_time:
        tried = replace(tried, state=DeliveryState.FAILED, next_attempt_time=None, end_time=now)
    else:
        tried = replace(tried, next_attempt_time=following)
    if test:
        return Outcome(tried)
    since = webhook.failing_since or attempt.start_time
    failing = replace(webhook, failing_since=since)
    why = ""
    if gone:
        why = "The receiver answered 410: it is gone for good."
    elif tried.state is DeliveryState.FAILED and now - since >= policy.disable_after:
        why = f"Every attempt since {since:%Y-%m-%d %H:%M} UTC has failed; the last: {attempt.message}"
    if not why or webhook.disabled:
        return Outcome(tried, failing)
    return Outcome(tried, replace(failing, disabled=True, disabled_reason=why, revision=webhook.revision + 1), True)


def attempt_values(attempt: Attempt) -> Mapping[str, object]:
    """An attempt as plain JSON, for stores."""
    return {
        "start": attempt.start_time.isoformat(), "s": round(attempt.duration_s, 3), "status": attempt.status,
        "reason": attempt.reason, "message": attempt.message,
    }  # fmt: skip


def attempt_of(values: Mapping[str, Any]) -> Attempt:
    """The same back."""
    start = datetime.fromisoformat(values["start"])
    return Attempt(start, values["s"], values["status"], values["reason"], values["message"])
