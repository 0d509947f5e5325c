"""A service with one method of each rpc kind, for tests of the transport. Messages are google.protobuf.EnumValue.

The name says what the servicer does: raise an error of the tree, crash, wait, or answer with what it sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.type_pb2 import EnumValue
from opentelemetry import trace

from services.chassis import request_context
from services.chassis.errors import Aborted, NotFound, Unavailable
from services.chassis.signals import wait

NAME = "test.Echo"


class Echo:
    """The servicer. `calls` counts unary ones, `attempts` those that say "flaky".

    `cancelled` is set when a waiting call is given up.

    `trace_id` is the trace of the last unary call, `left_s` the time that it had.
    """

    def __init__(self) -> None:
        self.attempts = 0
        self.calls = 0
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.forward: Any = None
        self.trace_id = 0
        self.left_s = 0.0

    async def unary(self, request: EnumValue, context: Any) -> EnumValue:
        """Answers the request, or acts as its message says."""
        self.calls += 1
        self.trace_id = trace.get_current_span().get_span_context().trace_id
        self.left_s = context.time_remaining() or 0.0
        await self._act(request.name)
        return EnumValue(number=request.number + 1, name=self._seen())

    async def responses(self, request: EnumValue, context: Any) -> AsyncIterator[EnumValue]:
        """Counts from 0 to `code`, then acts."""
        for number in range(request.number):
            yield EnumValue(number=number)
        await self._act(request.name)

    async def requests(self, requests: AsyncIterator[EnumValue], context: Any) -> EnumValue:
        """Adds up the codes; acts at each message."""
        total = 0
        async for request in requests:
            await self._act(request.name)
            total += request.number
        return EnumValue(number=total)

    async def both(self, requests: AsyncIterator[EnumValue], context: Any) -> AsyncIterator[EnumValue]:
        """Answers each message with the next number."""
        async for request in requests:
            await self._act(request.name)
            yield EnumValue(number=request.number + 1)

    async def _act(self, what: str) -> None:
        if what == "missing":
            raise NotFound("No such thing", field="name", reason="THING_GONE", remedy="Look.", metadata={"id": "7"})
        if what.startswith("things/"):
            raise NotFound("No such thing", metadata={"name": what})
        if what == "crash":
            raise RuntimeError("a secret detail")
        if what == "flaky":
            self.attempts += 1
            if self.attempts < 3:
                raise Unavailable("Not now")
        if what == "late":
            raise Aborted("Too late", reason="LEASE_LOST")
        if what == "news":
            self.waiting.set()
            await wait(asyncio.Event(), 3600)
        if what == "forward":
            await self.forward(EnumValue(name="missing"))
        if what == "wait":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    def _seen(self) -> str:
        context = request_context.current()
        projects = None if context.projects is None else sorted(context.projects)
        return f"{context.request_id}|{projects}|{context.principal}"

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the servicer to a server."""
        codec: dict[str, Any] = {
            "request_deserializer": EnumValue.FromString,
            "response_serializer": EnumValue.SerializeToString,
        }
        handlers: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary, **codec),
            "Responses": grpc.unary_stream_rpc_method_handler(self.responses, **codec),
            "Requests": grpc.stream_unary_rpc_method_handler(self.requests, **codec),
            "Both": grpc.stream_stream_rpc_method_handler(self.both, **codec),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))


class EchoStub:
    """The client's side."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        codec: dict[str, Any] = {
            "request_serializer": EnumValue.SerializeToString,
            "response_deserializer": EnumValue.FromString,
        }
        self.unary: Any = channel.unary_unary(f"/{NAME}/Unary", **codec)
        self.responses: Any = channel.unary_stream(f"/{NAME}/Responses", **codec)
        self.requests: Any = channel.stream_unary(f"/{NAME}/Requests", **codec)
        self.both: Any = channel.stream_stream(f"/{NAME}/Both", **codec)
        self.missing: Any = channel.unary_unary(f"/{NAME}/Missing", **codec)
