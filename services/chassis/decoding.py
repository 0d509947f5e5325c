"""Bytes that are no message of the method: refused with a status of ours instead of the library's exception."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from services.chassis import grpc_errors
from services.chassis.errors import InvalidArgument


class Undecodable:
    """Stands for a message that could not be read until the call is ready to be refused."""


UNDECODABLE: Final = Undecodable()


def decoder(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that gives UNDECODABLE where the given one raises."""
    if deserialize is None:
        return None

    def decoded(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return UNDECODABLE

    return decoded


def of_first_message(behavior: Callable[[Any, Any], Any], *, streams: bool) -> Callable[[Any, Any], Any]:
    """The behavior of a method with one request message, as one of a stream: UNDECODABLE when no whole message came.

    The library leaves such a call without an answer for as long as its client stays. streams: its answers do.
    """

    async def first(requests: AsyncIterator[Any]) -> Any:
        return await anext(requests, UNDECODABLE)

    async def answered(requests: AsyncIterator[Any], context: Any) -> Any:
        return await behavior(await first(requests), context)

    async def streamed(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for answer in behavior(await first(requests), context):
            yield answer

    return streamed if streams else answered


def undecodable() -> InvalidArgument:
    """The error of such a call."""
    return InvalidArgument(
        "What came is no message of this method",
        reason="MESSAGE_MALFORMED",
        remedy="Send the request message that the protos name for this method, encoded by a protobuf library.",
    )


def guarded_behavior(handler: grpc.RpcMethodHandler[Any, Any]) -> Callable[[Any, Any], Any]:
    """The behavior of a method that no interceptor of ours checks, refusing what could not be read."""
    behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    response_streaming = handler.response_streaming

    async def refuse(context: Any) -> None:
        status = grpc_errors.to_status(undecodable())
        await context.abort(status.code, status.details, status.trailing_metadata)

    async def checked(request: Any, context: Any) -> Any:
        if request is UNDECODABLE:
            await refuse(context)
        if not isinstance(request, AsyncIterator):
            return request
        return each(request, context)

    async def each(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if request is UNDECODABLE:
                await refuse(context)
            yield request

    if not response_streaming:

        async def answered(request: Any, context: Any) -> Any:
            return await behavior(await checked(request, context), context)

        return answered

    async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
        answers = behavior(await checked(request, context), context)
        if inspect.isawaitable(answers):
            # The health service writes by itself; the tracing around us takes generators only.
            await answers
            return
        async for answer in answers:
            yield answer

    return streamed
