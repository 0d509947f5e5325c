"""Structured logs: one JSON object a line, event names that never change, ids instead of objects."""

from __future__ import annotations

import logging as stdlib_logging
import sys
from typing import Any

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor

from services.chassis import request_context
from services.chassis.settings import BaseServiceSettings


def configure(settings: BaseServiceSettings, *, service: str) -> None:
    """Sets up structlog and routes the standard library's loggers (grpc, alembic, asyncio) through it.

    Lines go to stderr: stdout belongs to what a command prints.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service_name(service),
        _call_ids,
        structlog.processors.StackInfoRenderer(),
    ]
    if settings.log_format == "json":
        # Local variables stay out of tracebacks, here and below: they hold picture bytes, tokens and people's captions.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        rendering: list[Processor] = [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    else:
        rendering = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    structlog.configure(
        # First of all a line that nobody will see is dropped, before anything is computed for it.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = stdlib_logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = stdlib_logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # These say at INFO what our own events already say, once a request.
    for chatty in ("alembic.runtime.plugins", "httpx", "urllib3", "nats", "asyncio"):
        stdlib_logging.getLogger(chatty).setLevel(stdlib_logging.WARNING)


def errors_only() -> None:
    """For a program whose output is an answer, as a command's: nothing is logged but errors, and those to stderr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(stdlib_logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `log.info("image_stored", image="…", size_bytes=3)`. The event is a constant, facts are keywords."""
    return structlog.stdlib.get_logger(name)


def _service_name(service: str) -> Processor:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return add


def _call_ids(_logger: Any, _method: str, event: EventDict) -> EventDict:
    context = request_context.current()
    if context.request_id:
        event.setdefault("request_id", context.request_id)
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event
