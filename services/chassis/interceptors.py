"""What happens to every call at the server, whichever of the four rpc kinds it is.

In order: who is calling (request id, projects, token) → checks of each request message → the servicer → a DomainError
becomes a status, anything else becomes INTERNAL with a plain sentence while the traceback stays in the log → metrics.
Health and reflection pass untouched: a probe needs no identity, and `internal_token` guards reflection.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import Message

from services.chassis import call_spans, decoding, errors, grpc_errors, request_context
from services.chassis.audit.calls import Auditing
from services.chassis.callers import Callers
from services.chassis.calls import Call
from services.chassis.further_checks import NONE, FurtherChecks
from services.chassis.internal_token import InternalTokenInterceptor, plain, rebuilt
from services.chassis.request_checks import check_parts, check_projects, faults
from services.chassis.request_context import RequestContext
from services.chassis.settings import BaseServiceSettings
from services.chassis.signals import ENDING, Ending

# Longest pause in a stream that is refused before it has ended, and how many of them its whole rest may take: of
# hundreds of uploads at once none is fast.
DRAIN_S = 2.0
_DRAIN_PAUSES = 10
# A request id goes back in the trailers, which take no other letters and break the call off.
_UNSENDABLE = re.compile(r"[^!-~]")
_UNTOUCHED = ("/grpc.health.", "/grpc.reflection.")
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any]"]]


def server_interceptors(
    settings: BaseServiceSettings,
    audit: Auditing | None = None,
    ending: Ending | None = None,
    *,
    often: Collection[str] = (),
    further: FurtherChecks = NONE,
) -> list[grpc.aio.ServerInterceptor[Any, Any]]:
    """The interceptors of every server: the trace outermost, so that its span covers the checks. ending: of the server,
    for calls that wait. often, further: see `start_server`."""
    reflection = InternalTokenInterceptor(settings, methods="/grpc.reflection.")
    calls = CallInterceptor(settings, audit, ending, often=often, further=further)
    return [reflection, call_spans.interceptor(often), calls]


async def _no_such_method(request: Any, context: Any) -> AsyncIterator[bytes]:
    """Answers a method that nobody registered. It is not counted: who calls chooses its name."""
    error = errors.Unimplemented(
        "The service has no such method",
        reason="METHOD_UNKNOWN",
        remedy="Check the name against the API reference, and that both sides run the same version.",
    )
    status = grpc_errors.to_status(error)
    await context.abort(status.code, status.details, status.trailing_metadata)
    # Never reached: it makes this a stream, which the trace around it expects.
    yield b""


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Identity, checks, errors, metrics, log and audit of each call."""

    def __init__(
        self,
        settings: BaseServiceSettings,
        audit: Auditing | None = None,
        ending: Ending | None = None,
        *,
        often: Collection[str] = (),
        further: FurtherChecks = NONE,
    ) -> None:
        self._often = frozenset(often)
        self._further = further
        self._audit = audit
        self._ending = ending
        self._callers = Callers(settings)
        self._require_projects = settings.require_project_header

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wraps the handler of the called method."""
        # None for a method that nobody registered, whatever the type says.
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(_no_such_method)
        if method.startswith(_UNTOUCHED):
            return rebuilt(handler, decoding.guarded_behavior(handler))
        if handler.response_streaming:
            return rebuilt(handler, self._streaming(handler, method))
        if method in self._often:
            return plain(handler, self._unary(handler, method))
        return rebuilt(handler, self._unary(handler, method))

    def _unary(self, handler: Any, method: str) -> Callable[[Any, Any], Awaitable[Any]]:
        behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def answer(request: Any, context: Any) -> Any:
            call = Call(method, context, self._further, streams=handler.request_streaming)
            try:
                response = await behavior(self._admit(request, context, call), context)
                call.made = getattr(response, "name", "")
                return response
            except BaseException as error:
                if handler.request_streaming and isinstance(error, Exception):
                    await _drain(request)
                await call.fail(error)
                raise
            finally:
                call.finish()

        return answer

    def _streaming(self, handler: Any, method: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
        behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
            call = Call(method, context, self._further, streams=True)
            try:
                async for response in behavior(self._admit(request, context, call), context):
                    call.sent += 1
                    yield response
            except BaseException as error:
                await call.fail(error)
                raise
            finally:
                call.finish()

        return answer

    def _admit(self, request: Any, context: Any, call: Call) -> Any:
        """Opens the request context and checks the request: one message now, those of a stream as they come."""
        metadata = _metadata(context)
        caller = self._identify(context, metadata)
        if call.method in self._often:
            call_spans.join(metadata)
        ENDING.set(self._ending)
        # The server runs each call in a task of its own, so the context ends with the task and needs no reset.
        request_context.enter(caller)
        call_spans.describe_caller(caller)
        context.set_trailing_metadata(((request_context.REQUEST_ID_KEY, caller.request_id),))
        process = self._authorize(caller, metadata, call.method)
        call.own = bool(process) and not caller.principal
        if self._audit is not None:
            call.audited = self._audit.open(call.method, caller, process)
        if request is decoding.UNDECODABLE:
            raise decoding.undecodable()
        if isinstance(request, Message):
            check_parts(request)
            call.begin(request)
            _check(request, caller, call)
            return request
        return _checked_stream(request, caller, call)

    def _identify(self, context: Any, metadata: dict[str, str]) -> RequestContext:
        projects = metadata.get(request_context.PROJECTS_KEY)
        return RequestContext(
            request_id=_UNSENDABLE.sub("-", metadata.get(request_context.REQUEST_ID_KEY, "")[:128]) or uuid.uuid4().hex,
            projects=None if projects is None else request_context.parse_projects(projects),
            principal=metadata.get(request_context.PRINCIPAL_KEY, ""),
            role=metadata.get(request_context.ROLE_KEY, ""),
            address=metadata.get(request_context.ADDRESS_KEY, ""),
            peer=context.peer(),
            deadline=_deadline(context),
        )

    def _authorize(self, caller: RequestContext, metadata: dict[str, str], method: str) -> str:
        """The name of the process that calls."""
        process = self._callers.check(metadata, method)
        if self._require_projects and caller.projects is None:
            raise errors.Unauthenticated(
                "The call does not say which projects it may touch",
                reason="PROJECTS_HEADER_MISSING",
                remedy=f"Call through the gateway, which sets {request_context.PROJECTS_KEY}.",
            )
        return process


def _check(message: Message, caller: RequestContext, call: Call) -> None:
    # What was taken before the rule on directions was comes back in the reports of workers, which must not fail for it.
    errors.refuse_all(faults(message, directions=not call.own))
    check_projects(message, caller)


async def _drain(requests: AsyncIterator[Message]) -> None:
    """Reads on without keeping anything, so that the caller has sent all when it gets its refusal.

    A grpc.aio client that is still writing then reports INTERNAL instead of the status that it got, about one time in
    four (https://github.com/grpc/grpc/issues/36066).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S * _DRAIN_PAUSES):
            while True:
                async with asyncio.timeout(DRAIN_S):
                    if await anext(requests, None) is None:
                        return


async def _checked_stream(requests: AsyncIterator[Any], caller: RequestContext, call: Call) -> AsyncIterator[Message]:
    async for message in requests:
        if message is decoding.UNDECODABLE:
            raise decoding.undecodable()
        check_parts(message)
        if call.request is None:
            call.begin(message)
        _check(message, caller, call)
        yield message


def _deadline(context: Any) -> float | None:
    left_s = context.time_remaining()
    return None if left_s is None else time.monotonic() + float(left_s)


def _metadata(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
