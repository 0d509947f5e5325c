"""The token that calls from inside the suite carry, and its check where no other interceptor looks at a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.chassis import decoding, grpc_errors
from services.chassis.callers import Callers
from services.chassis.errors import DomainError, PermissionDenied, Unauthenticated
from services.chassis.settings import BaseServiceSettings

_HEALTH = "/grpc.health."


class InternalTokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Lets only calls with the token through, before a message is read. Health stays open: a probe has no token.

    methods: prefix of the methods that are guarded.
    """

    def __init__(self, settings: BaseServiceSettings, *, methods: str = "/") -> None:
        self._callers = Callers(settings)
        self._methods = methods

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of the called method, or one that refuses."""
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(self._methods) or method.startswith(_HEALTH):
            return handler  # type: ignore[no-any-return]
        metadata = {key: value for key, value in handler_call_details.invocation_metadata if isinstance(value, str)}
        try:
            self._callers.check(metadata, method)
        except (Unauthenticated, PermissionDenied) as error:
            return _refusing(handler, error)
        return handler  # type: ignore[no-any-return]


def _refusing(handler: Any, error: DomainError) -> grpc.RpcMethodHandler[Any, Any]:
    status = grpc_errors.to_status(error)

    async def refuse(_request: Any, context: Any) -> None:
        await context.abort(status.code, status.details, status.trailing_metadata)

    async def refuse_stream(request: Any, context: Any) -> AsyncIterator[Any]:
        await refuse(request, context)
        yield

    return rebuilt(handler, refuse_stream if handler.response_streaming else refuse)


def plain(handler: Any, behavior: Any) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler of one message for one around another behavior, for calls that only processes of the suite make: it
    costs less than a stream, and leaves a call whose message never comes without an answer."""
    return grpc.unary_unary_rpc_method_handler(
        behavior,
        request_deserializer=decoding.decoder(handler.request_deserializer),
        response_serializer=handler.response_serializer,
    )


def rebuilt(handler: Any, behavior: Any) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler around another behavior, which takes what that of the given one takes.

    The server sees a stream of requests in each: it would not answer a call of one message that never comes.
    """
    streams = handler.response_streaming
    build: Any = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
    rebuilt: grpc.RpcMethodHandler[Any, Any] = build(
        behavior if handler.request_streaming else decoding.of_first_message(behavior, streams=streams),
        request_deserializer=decoding.decoder(handler.request_deserializer),
        response_serializer=handler.response_serializer,
    )
    return rebuilt
