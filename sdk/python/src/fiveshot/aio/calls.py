"""Calls as every method makes them: key, deadline, request id, repetition, typed errors, pages, streams that resume."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, Generic, TypeVar

import grpc
from fiveshot import errors
from fiveshot.aio import platform
from fiveshot.connection import Endpoint, Patience, trace_metadata, with_request_id

T = TypeVar("T")
R = TypeVar("R")
_MAX_PAGE = 1000
# Connecting fails sooner (see CHANNEL_OPTIONS), so a stream that lived longer had a connection.
CONNECTED_S = 10.0


class Channel:
    """A connection on which the generated stubs make their calls.

    Calls with one request and one answer get a deadline of `timeout` seconds over all their attempts and are repeated;
    answers that are streams get neither. Every failure is raised as a FiveshotError.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = 60.0, patience: Patience | None = None) -> None:
        self.endpoint = endpoint
        self.patience = patience or Patience()
        self._timeout = timeout
        self._inner = platform.open_channel(endpoint)

    async def close(self) -> None:
        """Ends the connection and the calls on it."""
        await platform.close(self._inner)

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Callable[..., Awaitable[Any]]:
        """A method with one request and one answer; generated stubs ask for it."""
        call: Any = self._inner.unary_unary(method, request_serializer, response_deserializer)

        async def answer(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            asked = with_request_id(request)

            async def once(left: float | None) -> Any:
                return await call(asked, timeout=left, metadata=self._metadata(metadata))

            return await self.repeated(once, self._timeout if timeout is None else timeout)

        return answer

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Callable[..., AsyncIterator[Any]]:
        """A method whose answer is a stream."""
        call: Any = self._inner.unary_stream(method, request_serializer, response_deserializer)

        async def answers(request: Any, timeout: float | None = None, metadata: Any = ()) -> AsyncIterator[Any]:
            running = call(request, timeout=timeout, metadata=self._metadata(metadata))
            try:
                async for message in running:
                    yield message
            except grpc.RpcError as error:
                raise errors.from_rpc_error(error) from None
            finally:
                # A caller that stops listening must not keep the server talking.
                running.cancel()

        return answers

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Callable[..., Awaitable[Any]]:
        """A method whose request is a stream. One attempt: a stream is gone once it was sent."""
        call: Any = self._inner.stream_unary(method, request_serializer, response_deserializer)

        async def answer(requests: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            try:
                return await call(requests, timeout=timeout, metadata=self._metadata(metadata))
            except grpc.RpcError as error:
                raise errors.from_rpc_error(error) from None

        return answer

    async def repeated(self, once: Callable[[float | None], Awaitable[T]], timeout: float | None = None) -> T:
        """What a call answers, made again while that may help. It must be one that may be made twice.

        once: takes the seconds that are left, None without a deadline.
        """
        ends = None if timeout is None else monotonic() + timeout
        attempt = 0
        while True:
            attempt += 1
            left = None if ends is None else ends - monotonic()
            try:
                return await once(left)
            except grpc.RpcError as error:
                failure = errors.from_rpc_error(error)
            except errors.FiveshotError as error:
                failure = error
            pause = self.patience.pause(failure, attempt, None if ends is None else ends - monotonic())
            if pause is None:
                raise failure from None
            await platform.sleep(pause)

    async def resumed(self, start: Callable[[], AsyncIterable[T]]) -> AsyncIterator[T]:
        """The messages of a stream that is begun again when its connection is lost.

        start: begins where the last message ended.
        """
        lost_since, attempt = 0.0, 0
        while True:
            began = monotonic()
            try:
                async for message in start():
                    attempt = 0
                    yield message
                return
            except errors.FiveshotError as error:
                # A watch of a job that waits hears nothing for long: whoever was connected is lost anew.
                attempt = 1 if monotonic() - began > CONNECTED_S else attempt + 1
                now = monotonic()
                lost_since = now if attempt == 1 else lost_since
                pause = self.patience.reconnect(error, attempt, now - lost_since)
                if pause is None:
                    raise
            await platform.sleep(pause)

    def _metadata(self, more: Any) -> tuple[tuple[str, str], ...]:
        sent = (*self.endpoint.metadata, *(more or ()))
        return sent if any(name == "traceparent" for name, _ in sent) else (*sent, *trace_metadata())


class Stubs:
    """The generated stubs of every service on one channel, for what the methods of the client do not cover."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        # It has those methods of a gRPC channel that stubs use.
        on: Any = channel
        self.dataset: platform.DatasetStub = platform.DatasetStub(on)
        self.tagger: platform.TaggerStub = platform.TaggerStub(on)
        self.trainer: platform.TrainingStub = platform.TrainingStub(on)
        self.registry: platform.RegistryStub = platform.RegistryStub(on)
        self.notifier: platform.NotifierStub = platform.NotifierStub(on)
        self.audit: platform.AuditStub = platform.AuditStub(on)


async def pages(call: Callable[[Any], Awaitable[Any]], request: Any, items: str, limit: int = 0) -> AsyncIterator[Any]:
    """All items of a List method over its pages, at most `limit` (0: all). items: the field that holds them."""
    left = limit or None
    while True:
        if left is not None and hasattr(request, "page_size"):
            request.page_size = min(left, _MAX_PAGE)
        answer = await call(request)
        for item in getattr(answer, items):
            if left == 0:
                return
            yield item
            left = None if left is None else left - 1
        if not answer.next_page_token or left == 0:
            return
        request.page_token = answer.next_page_token


class Listing(Generic[R]):
    """What a List method finds, fetched page by page while it is iterated; each iteration asks anew."""

    def __init__(
        self, call: Callable[[Any], Awaitable[Any]], request: Any, items: str, wrap: Callable[[Any], R]
    ) -> None:
        self._call, self._request, self._items, self._wrap = call, request, items, wrap

    async def __aiter__(self) -> AsyncIterator[R]:
        async for message in pages(self._call, self._asked(), self._items):
            yield self._wrap(message)

    async def first(self, count: int) -> list[R]:
        """At most so many; of none nobody is asked."""
        if count < 1:
            return []
        return [self._wrap(message) async for message in pages(self._call, self._asked(), self._items, count)]

    async def all(self) -> list[R]:
        """Every one."""
        return [self._wrap(message) async for message in pages(self._call, self._asked(), self._items)]

    def _asked(self) -> Any:
        asked = type(self._request)()
        asked.CopyFrom(self._request)
        return asked
