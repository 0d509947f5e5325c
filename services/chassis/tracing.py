"""Traces of what a process does (OpenTelemetry), and the form in which a trace goes on elsewhere.

A trace is handed on as a W3C `traceparent` (https://www.w3.org/TR/trace-context/): in the metadata of a call, beside an
event in the log, beside a job in the queue. Spans are exported in batches and only where a collector is named; without
one the ids still go on, so that the lines of all logs name the trace that a caller brought.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.chassis.release import release
from services.chassis.settings import BaseServiceSettings

if TYPE_CHECKING:
    from opentelemetry.context import Context

TRACEPARENT = "traceparent"
LONGEST = 55
"""Characters of a traceparent."""

_SPELLING = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
Attributes = Mapping[str, Any]
"""Texts, numbers and truths."""
# The trace alone: what else a caller might send along, such as `baggage`, is not for the processes inside.
_form = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("fiveshot")
# At its end a process hands on what it has left; a collector that is away must not hold it up.
_LAST_BATCH_S = 2.0
_EXPORT_S = 5.0


def configure(settings: BaseServiceSettings, *, service: str) -> Callable[[], None] | None:
    """Starts exporting spans to `settings.otlp_endpoint`; None, and no cost, when that is empty.

    A trace that begins in this process is recorded by chance, `settings.trace_share` of all; one that was begun
    elsewhere goes on as it came. The provider is process-wide. What it returns sends the last spans, for as long as a
    process that ends may wait.
    """
    if not settings.otlp_endpoint:
        return None
    # Imported here, because most processes export nothing and these are a tenth of what they load.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import (
        SERVICE_INSTANCE_ID,
        SERVICE_NAME,
        SERVICE_NAMESPACE,
        SERVICE_VERSION,
        Resource,
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(
        resource=Resource.create(
            {
                SERVICE_NAME: service,
                SERVICE_NAMESPACE: "fiveshot",
                SERVICE_VERSION: release(),
                SERVICE_INSTANCE_ID: f"{socket.gethostname()}-{os.getpid()}",
            }
        ),
        sampler=ParentBased(TraceIdRatioBased(settings.trace_share)),
        # It would wait half a minute for a collector that is away.
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(
        endpoint=settings.otlp_endpoint,
        insecure=not settings.otlp_secure,
        credentials=_credentials(settings) if settings.otlp_secure else None,
        headers=settings.otlp_header_pairs,
        timeout=_EXPORT_S,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def end() -> None:
        # Its own limit for this is not kept: https://github.com/open-telemetry/opentelemetry-python/issues/4568
        last = threading.Thread(target=provider.force_flush, name="last spans", daemon=True)
        last.start()
        last.join(_LAST_BATCH_S)
        exporter.shutdown()

    return end


def _credentials(settings: BaseServiceSettings) -> grpc.ChannelCredentials:
    files = settings.otlp_ca_file, settings.otlp_key_file, settings.otlp_cert_file
    return grpc.ssl_channel_credentials(*(file.read_bytes() if file else None for file in files))


def current() -> str:
    """The traceparent of the running span; "" where there is none."""
    carrier: dict[str, str] = {}
    _form.inject(carrier)
    return carrier.get(TRACEPARENT, "")


def recorded() -> bool:
    """Whether the running span is one that is kept, here or where it was begun."""
    return trace.get_current_span().get_span_context().trace_flags.sampled


def add_to(metadata: MutableMapping[str, str]) -> None:
    """Adds the running span to the metadata of a call."""
    _form.inject(metadata)


def enter(traceparent: str) -> None:
    """Makes that span, begun elsewhere, the running one until the running task ends."""
    contexts.attach(_after(traceparent))


def checked(traceparent: str) -> str:
    """What others hand over as one, if it is; else ""."""
    return traceparent if _SPELLING.fullmatch(traceparent) else ""


@contextmanager
def span(
    name: str,
    *,
    parent: str = "",
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    since: datetime | None = None,
) -> Iterator[Span]:
    """A span around the block, which an exception marks as failed.

    parent: the traceparent that it belongs to; "" is the running span. since: when it began, if before now.
    """
    with _tracer.start_as_current_span(
        name,
        context=_after(parent) if parent else None,
        kind=kind,
        attributes=attributes,
        start_time=_ns(since) if since else None,
        # The words of an exception may hold what nobody outside should read; its kind is enough, the log has the rest.
        record_exception=False,
        set_status_on_exception=False,
    ) as running:
        try:
            yield running
        except Exception as error:
            failed(running, getattr(error, "reason", "") or type(error).__name__)
            raise


def failed(running: Span, reason: str) -> None:
    """Marks a span as failed. reason: a word."""
    running.set_status(Status(StatusCode.ERROR, reason))


def passed(name: str, *, parent: str, since: datetime, until: datetime, attributes: Attributes | None = None) -> None:
    """Records a span of time that is over, such as a wait, as part of the trace `parent`; none where that is ""."""
    if parent:
        found = _tracer.start_span(name, context=_after(parent), start_time=_ns(since), attributes=attributes)
        found.end(_ns(until))


@contextmanager
def unrecorded() -> Iterator[None]:
    """Calls in the block belong to the running trace, for the logs, but no process records a span of them: for what a
    process does twice a second, or while it waits for work."""
    running = trace.get_current_span().get_span_context()
    if not running.is_valid:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        ids = RandomIdGenerator()
        running = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False)
    silent = SpanContext(running.trace_id, running.span_id, is_remote=False, trace_flags=TraceFlags(0))
    token = contexts.attach(trace.set_span_in_context(NonRecordingSpan(silent)))
    try:
        yield
    finally:
        contexts.detach(token)


def _after(traceparent: str) -> Context:
    """The context in which a span belongs to that one; what is no traceparent is none, and a new trace begins."""
    return _form.extract({TRACEPARENT: traceparent}, contexts.Context())


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1_000
