"""The spans of the calls that a server answers: which calls have one, and what it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_server_interceptor

from services.chassis import tracing
from services.chassis.request_checks import resource_names
from services.chassis.request_context import RequestContext

_UNTRACED = ("/grpc.health.", "/grpc.reflection.")
_JOBS = "/trainingJobs/"


def interceptor(often: Collection[str] = ()) -> grpc.aio.ServerInterceptor[Any, Any]:
    """Opens a span for each call, a stream's from its first to its last message. Probes and reflection have none:
    nobody looks for them, and OpenTelemetry cannot wrap the former's Watch. often: methods that have none either."""
    found: grpc.aio.ServerInterceptor[Any, Any] = aio_server_interceptor(  # type: ignore[no-untyped-call]
        filter_=lambda details: not details.method.startswith(_UNTRACED) and details.method not in often
    )
    return found


def join(metadata: Mapping[str, str]) -> None:
    """Makes the caller's trace the running one until the task ends, for the logs of a call that has no span."""
    traceparent = metadata.get(tracing.TRACEPARENT, "")
    if traceparent:
        tracing.enter(traceparent)


def describe_caller(caller: RequestContext) -> None:
    """Adds to the running span by which id the logs know the call."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute("fiveshot.request_id", caller.request_id)


def describe_request(request: Message) -> None:
    """Adds to the running span what the call is about: the first resource that it names, and its job."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    names = [name for _, name in resource_names(request)]
    if names:
        span.set_attribute("fiveshot.resource", names[0])
    job = next((name for name in names if _JOBS in name), "")
    if job:
        span.set_attribute("fiveshot.training_job", "/".join(job.split("/")[:4]))


def describe_end(reason: str, messages: int | None = None) -> None:
    """Adds to the running span why a call was refused, and how many messages a stream sent."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    if reason:
        span.set_attribute("fiveshot.reason", reason)
    if messages is not None:
        span.set_attribute("fiveshot.messages_sent", messages)
