"""What happens to every outgoing call: the caller's facts go along, and a failure comes out as a DomainError.

Requests are streamed by passing an iterator; the `call.write()` style is not supported, because grpc.aio cannot
combine it with an interceptor that waits for the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from services.chassis import grpc_errors, request_context, tracing
from services.chassis.callers import OwnToken
from services.chassis.settings import BaseServiceSettings

# What of the time of a call stays for the way back.
_HOP_S = 0.1
_HOP_SHARE = 0.1

_Continue = Callable[[Any, Any], Any]


def client_interceptors(settings: BaseServiceSettings | None) -> list[Any]:
    """One interceptor for each rpc kind (grpc.aio looks at the class to find its kind)."""
    token = OwnToken(settings)
    return [_UnaryUnary(token), _UnaryStream(token), _StreamUnary(token), _StreamStream(token)]


class _Interceptor:
    def __init__(self, token: OwnToken) -> None:
        self._token = token

    def _details(self, details: Any) -> grpc.aio.ClientCallDetails:
        """The call's details with our metadata added; what the caller set itself stays."""
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        context = request_context.current()
        ours = {
            request_context.REQUEST_ID_KEY: context.request_id,
            request_context.PRINCIPAL_KEY: context.principal,
            request_context.ROLE_KEY: context.role,
            request_context.ADDRESS_KEY: context.address,
            request_context.INTERNAL_TOKEN_KEY: self._token.current(),
        }
        if context.projects is not None:
            ours[request_context.PROJECTS_KEY] = request_context.format_projects(context.projects)
        tracing.add_to(ours)
        for key, value in ours.items():
            if value and key not in metadata:
                metadata.add(key, value)
        return grpc.aio.ClientCallDetails(
            details.method,
            _within(details.timeout, context.deadline),
            metadata,
            details.credentials,
            details.wait_for_ready,
        )


def _within(timeout_s: float | None, deadline: float | None) -> float | None:
    """Seconds that a call may take: its own, but less than whoever waits for it, so that this one hears first what
    became of the call."""
    if deadline is None:
        return timeout_s
    left_s = deadline - time.monotonic()
    left_s = max(0.0, left_s - min(_HOP_S, left_s * _HOP_SHARE))
    return left_s if timeout_s is None else min(timeout_s, left_s)


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_unary(self, continuation: _Continue, client_call_details: Any, request: Any) -> Any:
        call = await continuation(self._details(client_call_details), request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise grpc_errors.from_rpc_error(error) from error
        return call


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_stream(self, continuation: _Continue, client_call_details: Any, request: Any) -> Any:
        call = await continuation(self._details(client_call_details), request)
        return _translated(call, None)


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_unary(
        self, continuation: _Continue, client_call_details: Any, request_iterator: Any
    ) -> Any:
        requests = _Requests(request_iterator)
        call = await continuation(self._details(client_call_details), aiter(requests))
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise grpc_errors.from_rpc_error(error) from error
        except asyncio.CancelledError:
            requests.reraise()
            raise
        return call


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_stream(
        self, continuation: _Continue, client_call_details: Any, request_iterator: Any
    ) -> Any:
        requests = _Requests(request_iterator)
        call = await continuation(self._details(client_call_details), aiter(requests))
        return _translated(call, requests)


class _Requests:
    """Iterates over the caller's requests and remembers an error of theirs.

    grpc.aio turns an exception of the request iterator into a cancellation; the caller wants the exception.
    """

    def __init__(self, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._requests = requests
        self._error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            if isinstance(self._requests, AsyncIterable):
                async for request in self._requests:
                    yield request
            else:
                for request in self._requests:
                    yield request
        except Exception as error:
            self._error = error
            raise

    def reraise(self) -> None:
        """Raises what the request iterator raised, if it did."""
        if self._error is not None:
            raise self._error


async def _translated(call: Any, requests: _Requests | None) -> AsyncIterator[Any]:
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise grpc_errors.from_rpc_error(error) from error
    except asyncio.CancelledError:
        if requests is not None:
            requests.reraise()
        raise
