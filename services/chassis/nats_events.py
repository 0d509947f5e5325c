"""Events on NATS JetStream, in the form of `cloud_events`.

The truth is the event log in SQL; the stream is how others hear of it. Publishing is confirmed by the server and an
event id is its `Nats-Msg-Id`, so an event that is sent again within the window is stored once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError

from services.chassis.cloud_events import SUBJECT_ROOT, BusEvent, event_headers
from services.chassis.errors import Unavailable
from services.chassis.logging import get_logger
from services.chassis.names import EVENT_STREAM
from services.chassis.nats_client import EventClient, servers_of
from services.chassis.needs import Need
from services.chassis.store_settings import NatsClientSettings, NatsSettings

log = get_logger(__name__)

STREAM = EVENT_STREAM
DEDUPLICATION_WINDOW = timedelta(minutes=2)
T = TypeVar("T")

_PING_S = 1
_LIMITS = ("num_replicas", "max_age", "max_bytes")
"""What an operator may change of a stream that is there."""


class EventBus:
    """A connection to JetStream that comes up by itself: the first use connects, a loss is repaired in the background.

    Its services therefore start in any order. Every method raises Unavailable while there is no server.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        user: str = "",
        password: str = "",
        credentials: Path | None = None,
        tls: ssl.SSLContext | None = None,
        stream: str = STREAM,
        subject_root: str = SUBJECT_ROOT,
        replicas: int = 1,
        max_age: timedelta | None = None,
        max_bytes: int | None = None,
        timeout_s: float = 5.0,
        sets_limits: bool = True,
    ) -> None:
        """url: of one server, or of several with commas. credentials: file of a user's JWT and key. tls: demanded of
        every server where it is given. max_age, max_bytes: what the stream keeps, its newest events first; None is
        without end. sets_limits: false for one that leaves a stream as it is, because others say what that keeps."""
        self._servers = servers_of(url, secure=tls is not None)
        self._user = user
        self._password = password
        self._credentials = credentials
        self._tls = tls
        self._name = name
        self._timeout_s = timeout_s
        self._root = subject_root
        self._sets_limits = sets_limits
        self._config = StreamConfig(
            name=stream,
            subjects=[f"{subject_root}.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            num_replicas=replicas,
            # The server's own words for no limit are 0 and -1.
            max_age=max_age.total_seconds() if max_age else 0,
            max_bytes=max_bytes or -1,
            duplicate_window=DEDUPLICATION_WINDOW.total_seconds(),
            allow_direct=True,
        )
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._left: set[asyncio.Future[Any]] = set()

    @classmethod
    def of(
        cls,
        settings: NatsClientSettings,
        *,
        name: str,
        stream: str = STREAM,
        subject_root: str = SUBJECT_ROOT,
        timeout_s: float = 5.0,
        sets_limits: bool = True,
    ) -> EventBus:
        """The bus that the settings name. sets_limits: of the stream, where the settings say them."""
        limits: dict[str, Any] = {"sets_limits": False}
        if sets_limits and isinstance(settings, NatsSettings):
            limits = {
                "replicas": settings.nats_replicas,
                "max_age": timedelta(days=settings.nats_max_age_days),
                "max_bytes": settings.nats_max_mb * 1024 * 1024,
            }
        return cls(
            settings.nats_url,
            name=name,
            user=settings.nats_user,
            password=settings.nats_password.get_secret_value(),
            credentials=settings.nats_credentials_file,
            tls=settings.nats_tls(),
            stream=stream,
            subject_root=subject_root,
            timeout_s=timeout_s,
            **limits,
        )

    @classmethod
    async def connect(
        cls, url: str, *, name: str, stream: str = STREAM, subject_root: str = SUBJECT_ROOT, replicas: int = 1
    ) -> EventBus:
        """A bus that is connected already and whose stream exists."""
        bus = cls(url, name=name, stream=stream, subject_root=subject_root, replicas=replicas)
        await bus.open()
        return bus

    async def open(self) -> JetStreamContext:
        """Connects and ensures the stream; does nothing when that is done."""
        async with self._opening:
            if self._client is None:
                client = await self._connected()
                try:
                    await self._ensure_stream(client.jetstream(timeout=self._timeout_s))
                    self._client = client
                except (NatsError, OSError) as error:
                    raise self._unavailable() from error
                finally:
                    if self._client is None:
                        await client.close()
            return self._client.jetstream(timeout=self._timeout_s)

    async def publish(
        self,
        *,
        subject: str,
        event_id: str,
        type: str,
        source: str,
        data: bytes,
        time: datetime | None = None,
        traceparent: str = "",
    ) -> int:
        """Publishes and waits until the server has stored the event; returns its sequence in the stream.

        type: `fiveshot.training_job.state_changed`. source: the resource that it is about. data: JSON. The project in
        the subject becomes the CloudEvents subject, by which meters tell whose the event is. traceparent: goes along as
        CloudEvents' extension for distributed tracing says.
        """
        jetstream = await self.open()
        project = subject.removeprefix(f"{self._root}.").partition(".")[0]
        headers = event_headers(
            id=event_id, type=type, source=source, project=project, time=time, traceparent=traceparent
        )
        try:
            try:
                confirmed = await self.shielded(jetstream.publish(subject, data, stream=self.stream, headers=headers))
            except NoStreamResponseError:
                # The server was replaced by an empty one; the events that follow need their stream again.
                await self._ensure_stream(jetstream)
                confirmed = await self.shielded(jetstream.publish(subject, data, stream=self.stream, headers=headers))
        except (NatsError, OSError) as error:
            raise self._unavailable() from error
        return confirmed.seq

    async def subscribe(self, subject: str, *, after_sequence: int | None = None) -> AsyncIterator[BusEvent]:
        """Events in stream order: those to come, or all after `after_sequence` first (0 is from the beginning)."""
        jetstream = await self.open()
        config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
        if after_sequence is not None:
            config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=after_sequence + 1)
        try:
            subscription = await jetstream.subscribe(
                subject, stream=self._config.name, ordered_consumer=True, config=config
            )
        except (NatsError, OSError) as error:
            raise self._unavailable() from error
        try:
            async for message in subscription.messages:
                yield event_in(message)
        finally:
            await subscription.unsubscribe()

    def need(self) -> Need:
        """The bus as something that a service misses but can do without: events wait in its log meanwhile."""
        return Need("event bus", _nothing, self.ping, self.close, vital=False)

    async def ping(self) -> None:
        """Asks the server for a sign of life. Raises Unavailable; it does not connect, for whoever publishes does."""
        if self._client is None or not self._client.is_connected:
            raise self._unavailable()
        try:
            await self.shielded(self._client.flush(timeout=_PING_S))
        except (NatsError, OSError) as error:
            raise self._unavailable() from error

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self._config.name or STREAM

    async def restore(self) -> None:
        """Makes the stream anew where the server was replaced by an empty one."""
        try:
            await self._ensure_stream(await self.open())
        except (NatsError, OSError) as error:
            raise self._unavailable() from error

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        return self._client is not None and self._client.is_connected

    async def signal(self, subject: str, data: bytes) -> None:
        """Tells whoever listens at this moment, at most once and unconfirmed: a hint, outside of every stream."""
        await self.open()
        assert self._client is not None
        try:
            await self.shielded(self._client.publish(subject, data))
        except (NatsError, OSError) as error:
            raise self._unavailable() from error

    async def on_signal(self, subject: str, heard: Callable[[bytes], None]) -> None:
        """Calls `heard` for every signal from now on, also after a lost connection was repaired."""
        await self.open()
        assert self._client is not None

        async def call(message: Msg) -> None:
            heard(message.data)

        try:
            await self.shielded(self._client.subscribe(subject, cb=call))
            await self.shielded(self._client.flush())
        except (NatsError, OSError) as error:
            raise self._unavailable() from error

    async def close(self) -> None:
        """Closes the connection. Confirmed events are safe; nothing is pending."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        for task in (left := list(self._left)):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_PING_S)

    async def shielded(self, call: Awaitable[T]) -> T:
        """The call's result. A cancellation reaches the caller at once; nats-py swallows one during a flush, and may
        lose count of the server's answers by it. So the call goes on, until its end or that of the connection."""
        task = asyncio.ensure_future(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._left.add(task)
            task.add_done_callback(self._leave)
            raise

    def _leave(self, done: asyncio.Future[Any]) -> None:
        self._left.discard(done)
        # Marks the exception as seen: nobody waits for it any more.
        done.cancelled() or done.exception()

    async def _connected(self) -> Client:
        client = EventClient(demands_tls=self._tls is not None)
        try:
            await client.come_up(
                self._servers,
                name=self._name,
                user=self._user,
                password=self._password,
                credentials=self._credentials,
                tls=self._tls,
                timeout_s=self._timeout_s,
            )
        except (NatsError, OSError, TimeoutError) as error:
            raise self._unavailable(client.last_error) from error
        return client

    async def _ensure_stream(self, jetstream: JetStreamContext) -> None:
        try:
            found = (await jetstream.stream_info(self.stream)).config
        except NotFoundError:
            await jetstream.add_stream(self._config)
            return
        changed = {name: getattr(self._config, name) for name in _LIMITS}
        if self._sets_limits and changed != {name: getattr(found, name) for name in _LIMITS}:
            await jetstream.update_stream(found.evolve(**changed))
            log.info("event_stream_changed", **changed)

    def _unavailable(self, cause: Exception | None = None) -> Unavailable:
        """cause: what a server said when it refused the connection."""
        why = f" ({' '.join(str(cause).split())})" if cause is not None and str(cause) else ""
        return Unavailable(
            f"The event bus does not answer{why}",
            reason="EVENT_BUS_UNAVAILABLE",
            remedy="Check that NATS runs with JetStream, speaks the TLS that this process wants, and takes its user.",
        )


def event_in(message: Msg) -> BusEvent:
    """The event in a message of the stream."""
    return BusEvent.of(message.metadata.sequence.stream, message.subject, message.headers or {}, message.data)


async def _nothing() -> None:
    """A bus that is away at start holds nobody up."""
