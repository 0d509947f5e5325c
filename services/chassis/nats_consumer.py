"""A durable consumer of the stream: every event at least once, whoever of the replicas gets it, across restarts of all.

An event is confirmed once `handle` has returned for its batch. One that nobody confirms in time comes again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.chassis.cloud_events import BusEvent
from services.chassis.errors import Unavailable
from services.chassis.nats_events import EventBus, event_in
from services.chassis.patience import patiently

_WAIT_S = 5.0
# Of the events behind the first; what comes later is the next batch.
_GATHER_S = 0.02
_MOST_UNCONFIRMED = 1000


class EventConsumer:
    """Reads all events of a stream from its beginning. name: the consumer's on the server, shared by the replicas.

    ack_wait_s: after which an event comes again; longer than a batch takes. batch: most events handed over at once.
    """

    def __init__(self, bus: EventBus, name: str, *, subject: str, ack_wait_s: float = 30.0, batch: int = 100) -> None:
        self._bus = bus
        self._name = name
        self._subject = subject
        self._batch = batch
        self._ack_wait_s = ack_wait_s
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def run(self, handle: Callable[[Sequence[BusEvent]], Awaitable[object]]) -> NoReturn:
        """Hands over events until cancelled, however often the server or `handle` (Unavailable) is away."""
        while True:
            await patiently(lambda: self._round(handle), what=f"events for {self._name}", patience_s=None)

    async def _round(self, handle: Callable[[Sequence[BusEvent]], Awaitable[object]]) -> None:
        try:
            subscription = await self._subscribed()
            messages = await self._bus.shielded(self._fetched(subscription))
            if not messages:
                return
            await handle([event_in(message) for message in messages])
            for message in messages:
                await self._bus.shielded(message.ack())
            # Acknowledgements are not answered; this is, so they have arrived.
            await self._bus.ping()
        except (NatsError, OSError) as error:
            self._subscription = None
            raise Unavailable(
                "The event bus does not answer", reason="EVENT_BUS_UNAVAILABLE", remedy="Try again in a moment."
            ) from error

    async def _fetched(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        try:
            first: list[Msg] = await subscription.fetch(1, timeout=_WAIT_S)
        except TimeoutError:
            return []
        try:
            return [*first, *(await subscription.fetch(self._batch, timeout=_GATHER_S))]
        except TimeoutError:
            return first

    async def _subscribed(self) -> JetStreamContext.PullSubscription:
        if self._subscription is None:
            jetstream = await self._bus.open()
            try:
                self._subscription = await self._bus.shielded(self._bound(jetstream))
            except NotFoundError:
                await self._bus.restore()
                self._subscription = await self._bus.shielded(self._bound(jetstream))
        return self._subscription

    async def _bound(self, jetstream: JetStreamContext) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            durable_name=self._name,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._ack_wait_s,
            max_ack_pending=_MOST_UNCONFIRMED,
            filter_subject=self._subject,
        )
        # Of one that is there it changes what has another value.
        await jetstream.add_consumer(self._bus.stream, config)
        return await jetstream.pull_subscribe_bind(durable=self._name, stream=self._bus.stream)
