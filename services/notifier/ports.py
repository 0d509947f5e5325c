"""What the use cases need from outside: the lifecycle and the errors of each, not only the signatures.

Every method may raise Unavailable when the server behind it cannot be reached; nothing has changed then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.chassis.listing.fields import choice, flag, moment, number, text, text_map
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.requests.keys import RequestKey
from services.notifier.models.deliveries import Attempt, Claimed, Delivery, DeliveryState, Event
from services.notifier.models.webhooks import NewWebhook, Webhook, WebhookChanges

WEBHOOKS: Listing[Webhook] = Listing(
    "ListWebhooks",
    fields={
        "display_name": text(fold=str.casefold),
        "url": text(),
        "disabled": flag(),
        "labels": text_map(),
        "create_time": moment(),
        "update_time": moment(),
    },
    sortable={"create_time": datetime, "update_time": datetime, "display_name": str},
    key=("webhook_id", str),
    default_order=[Order("create_time", descending=True)],
)
DELIVERIES: Listing[Delivery] = Listing(
    "ListWebhookDeliveries",
    fields={
        "state": choice([state.value for state in DeliveryState], prefix="STATE_"),
        "event_type": text(),
        "event_id": text(),
        "attempt_count": number(),
        "create_time": moment(),
    },
    sortable={"create_time": datetime},
    key=("delivery_id", str),
    default_order=[Order("create_time", descending=True)],
)

Admit = Callable[[int], None]
"""Is told how many webhooks the project has and raises when one more is too many. Nobody adds one in between."""


class WebhookStore(Protocol):
    """Webhooks: each method is one transaction."""

    async def recall(self, key: RequestKey) -> str | None:
        """The webhook that this request made or changed; None when it is new or has no request_id.

        Raises InvalidArgument(REQUEST_ID_REUSED) when the id belongs to a request of other content.
        """
        ...

    async def create(self, new: NewWebhook, secret: str, key: RequestKey, admit: Admit | None = None) -> Webhook:
        """Adds a webhook. Of two equal requests the second gets the first one's.

        Raises what `admit` raises, AlreadyExists(WEBHOOK_EXISTS), InvalidArgument(REQUEST_ID_REUSED).
        """
        ...

    async def get(self, project: str, webhook_id: str) -> Webhook:
        """Raises NotFound(WEBHOOK_NOT_FOUND)."""
        ...

    async def list(self, project: str, query: Query) -> tuple[list[Webhook], int]:
        """A page of a project's webhooks (see `WEBHOOKS`), and how many match in all."""
        ...

    async def update(self, project: str, webhook_id: str, changes: WebhookChanges, etag: str) -> Webhook:
        """Changes what is not None; one that is enabled again begins without failures.

        Raises NotFound(WEBHOOK_NOT_FOUND), Aborted(ETAG_MISMATCH) unless etag is "".
        """
        ...

    async def delete(self, project: str, webhook_id: str, etag: str) -> None:
        """Removes a webhook with its deliveries. Raises NotFound(WEBHOOK_NOT_FOUND), Aborted(ETAG_MISMATCH)."""
        ...

    async def rotate(
        self, project: str, webhook_id: str, secret: str, previous_until: datetime | None, key: RequestKey
    ) -> Webhook:
        """Gives a webhook another secret; the one before signs until then, None for no longer.

        Of two equal requests the second changes nothing. Raises NotFound(WEBHOOK_NOT_FOUND).
        """
        ...

    async def count(self, project: str) -> int:
        """How many webhooks the project has."""
        ...

    async def forget_requests(self, age: timedelta) -> int:
        """Forgets the request_ids that are older than `age` and returns how many that were."""
        ...


class DeliveryStore(Protocol):
    """Events and their deliveries: each method is one transaction."""

    async def keep(self, events: Sequence[Event]) -> int:
        """Keeps the events that some enabled webhook of their project wants, each with a delivery for each of those,
        due at once; how many deliveries that are.

        An event that is kept already is left alone, so a repeat does no harm. A webhook gets no event of long before it
        was made.
        """
        ...

    async def add_test(self, webhook: Webhook, event: Event, lease: timedelta) -> Claimed:
        """Keeps an event for one webhook, with a delivery that the caller has claimed. Raises NotFound."""
        ...

    async def claim(self, limit: int, lease: timedelta, busy: Mapping[str, int], each: int) -> list[Claimed]:
        """Takes at most `limit` deliveries that are due, with their bodies; nobody else gets one of them for `lease`.

        busy: how many of a webhook (by name) the caller sends already; `each` is the most of one webhook.
        """
        ...

    async def record(self, claimed: Claimed, attempt: Attempt) -> Delivery | None:
        """Writes down what came of a claim, on the delivery and its webhook, with the event of a webhook that is
        disabled by it.

        None, and nothing is written, when the claim has passed to somebody else or the delivery is gone.
        """
        ...

    async def give_up_late(self, limit: int = 500) -> int:
        """Ends deliveries that wait for a disabled webhook and whose time has passed; how many that were."""
        ...

    async def get(self, project: str, webhook_id: str, delivery_id: str) -> Delivery:
        """With its body. Raises NotFound (WEBHOOK_NOT_FOUND, DELIVERY_NOT_FOUND)."""
        ...

    async def list(self, project: str, webhook_id: str, query: Query) -> tuple[list[Delivery], int]:
        """A page of a webhook's deliveries (see `DELIVERIES`), and how many match. Raises NotFound."""
        ...

    async def redeliver(self, project: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Begins a delivery anew. Raises NotFound, FailedPrecondition(WEBHOOK_DISABLED)."""
        ...

    async def next_due(self) -> datetime | None:
        """When the next delivery of an enabled webhook is due; None when none waits."""
        ...

    async def pending(self) -> int:
        """How many deliveries wait, counted up to 10,000."""
        ...

    async def forget(self, age: timedelta, limit: int = 500) -> int:
        """Removes deliveries that ended longer ago than `age`, and events that no delivery has any more; how many
        deliveries that were."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. status: of HTTP. retry_after_s: what the receiver asked for, 0 for nothing."""

    status: int
    retry_after_s: float = 0.0


class SendError(Exception):
    """No answer came. reason: UPPER_SNAKE word. The text is a sentence for the webhook's owner."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Sender(Protocol):
    """HTTP to receivers, of whom nothing is believed."""

    async def check(self, url: str) -> None:
        """Asks where a URL leads. Raises InvalidArgument (WEBHOOK_URL_INVALID, WEBHOOK_ADDRESS_REFUSED,
        WEBHOOK_HOST_UNKNOWN)."""
        ...

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One POST, within a bounded time and without following redirects. Raises SendError."""
        ...


Handle = Callable[[Sequence[Event]], Awaitable[object]]


class EventSource(Protocol):
    """The stream of events."""

    async def run(self, handle: Handle) -> None:
        """Hands every event to `handle` until cancelled, at least once: one is confirmed to the stream when `handle`
        has returned, so that it comes again when this process dies before that."""
        ...
