"""What happens to every call at the server, whichever of the four rpc kinds it is.

In order: who is calling (request id, projects, token) → checks of each request message → the servicer → a DomainError
becomes a status, anything else becomes INTERNAL with a plain sentence while the traceback stays in the log → metrics.
Health and reflection pass untouched: a probe needs no identity, and `internal_token` guards reflection.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import Message

from services.chassis import call_spans, decoding, errors, grpc_errors, request_context, telemetry
from services.chassis.audit.calls import AuditedCall, Auditing
from services.chassis.callers import Callers
from services.chassis.internal_token import InternalTokenInterceptor, rebuilt
from services.chassis.logging import get_logger
from services.chassis.request_checks import check_projects, check_rules, check_text, field_naming
from services.chassis.request_context import RequestContext
from services.chassis.settings import BaseServiceSettings
from services.chassis.signals import ENDING, WAITED, Ending

log = get_logger(__name__)

CALLS = telemetry.counter("fiveshot_grpc_calls_total", "Calls answered, by method and status code.", ("method", "code"))
CALL_SECONDS = telemetry.histogram(
    "fiveshot_grpc_call_seconds", "Seconds of a unary call, without those that it waited for news.", ("method",)
)
STREAM_SECONDS = telemetry.histogram(
    "fiveshot_grpc_stream_seconds",
    "Seconds from the first to the last message of a stream; how fast its client is counts as well.",
    ("method",),
    buckets=telemetry.LONG_BUCKETS_S,
)
RUNNING_CALLS = telemetry.gauge("fiveshot_grpc_running_calls", "Calls being answered now.", ("method",))

# Longest pause in a stream that is refused before it has ended, and how many of them its whole rest may take: of
# hundreds of uploads at once none is fast.
DRAIN_S = 2.0
_DRAIN_PAUSES = 10
_UNTOUCHED = ("/grpc.health.", "/grpc.reflection.")
# Faults of the server, which someone must look at; the rest are answers.
_FAULTS = (errors.Internal, errors.DataLoss)

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any]"]]


def server_interceptors(
    settings: BaseServiceSettings, audit: Auditing | None = None, ending: Ending | None = None
) -> list[grpc.aio.ServerInterceptor[Any, Any]]:
    """The interceptors of every server: the trace outermost, so that its span covers the checks. ending: of the server,
    for calls that wait."""
    reflection = InternalTokenInterceptor(settings, methods="/grpc.reflection.")
    return [reflection, call_spans.interceptor(), CallInterceptor(settings, audit, ending)]


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
        self, settings: BaseServiceSettings, audit: Auditing | None = None, ending: Ending | None = None
    ) -> None:
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
        return rebuilt(handler, self._unary(handler, method))

    def _unary(self, handler: Any, method: str) -> Callable[[Any, Any], Awaitable[Any]]:
        behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def answer(request: Any, context: Any) -> Any:
            call = _Call(method, context, streams=handler.request_streaming)
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
            call = _Call(method, context, streams=True)
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

    def _admit(self, request: Any, context: Any, call: _Call) -> Any:
        """Opens the request context and checks the request: one message now, those of a stream as they come."""
        caller = self._identify(context)
        ENDING.set(self._ending)
        # The server runs each call in a task of its own, so the context ends with the task and needs no reset.
        request_context.enter(caller)
        call_spans.describe_caller(caller)
        context.set_trailing_metadata(((request_context.REQUEST_ID_KEY, caller.request_id),))
        process = self._authorize(caller, _metadata(context), call.method)
        call.own = bool(process) and not caller.principal
        if self._audit is not None:
            call.audited = self._audit.open(call.method, caller, process)
        if request is decoding.UNDECODABLE:
            raise decoding.undecodable()
        if isinstance(request, Message):
            call.begin(request)
            _check(request, caller, call)
            return request
        return _checked_stream(request, caller, call)

    def _identify(self, context: Any) -> RequestContext:
        metadata = _metadata(context)
        projects = metadata.get(request_context.PROJECTS_KEY)
        return RequestContext(
            request_id=metadata.get(request_context.REQUEST_ID_KEY, "")[:128] or uuid.uuid4().hex,
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


class _Call:
    """The bookkeeping of one call: start, outcome, end.

    request: its first message, once that is there. audited: what its audit record grows from. made: name in its answer.
    sent: messages of a stream so far. own: another process of the suite calls, in nobody's name.
    """

    own = False
    request: Message | None = None
    audited: AuditedCall | None = None
    made = ""
    sent = 0
    _reason = ""

    def __init__(self, method: str, context: Any, *, streams: bool) -> None:
        self.method = method
        self._streams = streams
        self._seconds = (STREAM_SECONDS if streams else CALL_SECONDS).labels(method)
        # The call has a task of its own, and with it a context.
        self._waited: list[float] = []
        WAITED.set(None if streams else self._waited)
        self._context = context
        self._started = time.perf_counter()
        self._code = grpc.StatusCode.OK
        self._running = RUNNING_CALLS.labels(method)
        self._running.inc()

    def begin(self, request: Message) -> None:
        """Takes the first message."""
        self.request = request
        call_spans.describe_request(request)
        if self.audited is not None:
            self.audited.about(request)

    async def fail(self, error: BaseException) -> None:
        """Answers with the status of the error; returns only when the error must be raised as it is."""
        if isinstance(error, grpc.aio.AbortError):
            self._code = self._context.code() or grpc.StatusCode.UNKNOWN
            return
        if not isinstance(error, Exception):
            # Cancellation, or a stream that the client closed early: nobody is left to answer.
            self._code = grpc.StatusCode.CANCELLED
            return
        domain_error = self._translate(error)
        self._code, self._reason = grpc_errors.status_code(domain_error), domain_error.reason
        status = grpc_errors.to_status(domain_error)
        caller = request_context.current()
        trailers = (*status.trailing_metadata, (request_context.REQUEST_ID_KEY, caller.request_id))
        await self._context.abort(status.code, status.details, trailers)

    def finish(self) -> None:
        """Counts and logs the call."""
        seconds = time.perf_counter() - self._started - sum(self._waited)
        self._running.dec()
        call_spans.describe_end(self._reason, self.sent if self._streams else None)
        if self.audited is not None:
            self.audited.close(self._code.name, self._reason, self.made)
        CALLS.labels(self.method, self._code.name).inc()
        self._seconds.observe(max(0.0, seconds))
        log.debug("call_answered", method=self.method, code=self._code.name, duration_ms=round(seconds * 1e3, 2))

    def _translate(self, error: Exception) -> errors.DomainError:
        if isinstance(error, grpc.aio.AioRpcError):
            error = grpc_errors.from_rpc_error(error)
        if isinstance(error, NotImplementedError) and self._context.code() == grpc.StatusCode.UNIMPLEMENTED:
            error = errors.Unimplemented(
                f"This server does not offer {self.method}",
                remedy="Check that the address is this service's and that both sides run the same version.",
            )
        if isinstance(error, errors.DomainError):
            error = _located(error, self.request)
            if isinstance(error, _FAULTS):
                log.error("call_failed", method=self.method, reason=error.reason, exc_info=error)
            else:
                log.info("call_refused", method=self.method, reason=error.reason, message=error.message)
            return error
        log.error("call_crashed", method=self.method, exc_info=error)
        request_id = request_context.current().request_id
        return errors.Internal(
            "The service failed in a way that it did not expect",
            remedy=f"Try again; if it persists, report request {request_id} to the operator.",
            metadata={"request_id": request_id},
        )


def _check(message: Message, caller: RequestContext, call: _Call) -> None:
    check_rules(message)
    # What was taken before this rule was comes back in the reports of workers, which must not fail for it.
    check_text(message, directions=not call.own)
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


def _located(error: errors.DomainError, request: Message | None) -> errors.DomainError:
    """The error with the field of the request that names what was not found: the rooms inside know the thing only."""
    name = error.metadata.get("name", "")
    if not isinstance(error, errors.NotFound) or error.violations or not name or request is None:
        return error
    return type(error)(
        error.message,
        field=field_naming(request, name),
        reason=error.reason,
        remedy=error.remedy,
        metadata=error.metadata,
    )


async def _checked_stream(requests: AsyncIterator[Any], caller: RequestContext, call: _Call) -> AsyncIterator[Message]:
    async for message in requests:
        if message is decoding.UNDECODABLE:
            raise decoding.undecodable()
        if call.request is None:
            call.begin(message)
        _check(message, caller, call)
        yield message


def _deadline(context: Any) -> float | None:
    left_s = context.time_remaining()
    return None if left_s is None else time.monotonic() + float(left_s)


def _metadata(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
