"""The bookkeeping of one call at the server: metrics, log line, audit, and the status that an error becomes."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import cache
from typing import Any

import grpc
from google.protobuf.message import Message
from prometheus_client import Counter, Gauge, Histogram

from services.chassis import call_spans, errors, grpc_errors, request_context, telemetry
from services.chassis.audit.calls import AuditedCall
from services.chassis.further_checks import FurtherChecks
from services.chassis.logging import get_logger
from services.chassis.request_checks import check_projects, field_naming, is_long
from services.chassis.signals import WAITED

log = get_logger(__name__)
# A line that nobody will see costs the structured logger more than the rest of the bookkeeping of a call.
_lines = logging.getLogger(__name__)

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

# Faults of the server, which someone must look at; the rest are answers.
_FAULTS = (errors.Internal, errors.DataLoss)


class Call:
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

    def __init__(self, method: str, context: Any, further: FurtherChecks, *, streams: bool) -> None:
        self.method = method
        self._further = further
        self._streams = streams
        self._seconds, self._running = _of_method(method, streams=streams)
        # The call has a task of its own, and with it a context.
        self._waited: list[float] = []
        WAITED.set(None if streams else self._waited)
        self._context = context
        self._started = time.perf_counter()
        self._code = grpc.StatusCode.OK
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
        domain_error = await self._completed(self._translate(error))
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
        _calls(self.method, self._code.name).inc()
        self._seconds.observe(max(0.0, seconds))
        if _lines.isEnabledFor(logging.DEBUG):
            log.debug("call_answered", method=self.method, code=self._code.name, duration_ms=round(seconds * 1e3, 2))

    async def _completed(self, error: errors.DomainError) -> errors.DomainError:
        """The error with what else is wrong with the request; nobody corrects a request one field at a time."""
        if not isinstance(error, errors.InvalidArgument) or self.request is None or is_long(self.request):
            return error
        with suppress(errors.PermissionDenied):
            # Of projects that it may not touch a caller learns nothing.
            check_projects(self.request, request_context.current())
            try:
                return await self._further.completed(error, self.request)
            except Exception as crash:
                # The first refusal is right all the same.
                log.error("further_check_crashed", method=self.method, exc_info=crash)
        return error

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


# A look-up of a metric by its labels costs more than its counting. Both are as few as the methods that are registered.
@cache
def _of_method(method: str, *, streams: bool) -> tuple[Histogram, Gauge]:
    return (STREAM_SECONDS if streams else CALL_SECONDS).labels(method), RUNNING_CALLS.labels(method)


@cache
def _calls(method: str, code: str) -> Counter:
    return CALLS.labels(method, code)


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
