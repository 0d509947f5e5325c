"""Records as messages, on their way to whoever keeps them for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from google.protobuf.message import Message

from services.chassis import telemetry, tracing
from services.chassis.audit.records import AuditRecord

Deliver = Callable[[Sequence[AuditRecord]], Awaitable[None]]
"""Hands records to whoever keeps them; may hand the same ones over again. Raises Unavailable."""

LOST = telemetry.counter("fiveshot_audit_lost_records_total", "Refusals that memory had no room to record.")
MAX_WAITING = 10_000
"""Records that memory holds at most."""
GATHER_S = 0.2
"""Records of one moment travel together."""


def over_grpc(call: Callable[[Any], Awaitable[object]], request: type[Message]) -> Deliver:
    """Delivery by a method whose request has `records` with the fields of AuditRecord."""

    async def deliver(records: Sequence[AuditRecord]) -> None:
        message: Any = request()
        for record in records:
            values = asdict(record)
            moment = values.pop("time")
            message.records.add(**values).time.FromDatetime(moment)
        # Of many calls, and so of no one's trace.
        with tracing.unrecorded():
            await call(message)

    return deliver
