"""The audit of a service that hands its records over gRPC to the one that keeps them for all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import grpc
from google.protobuf.message import Message
from sqlalchemy import Table

from services.chassis import grpc_client
from services.chassis.audit.calls import Auditing
from services.chassis.audit.outbox import AuditOutbox
from services.chassis.audit.wire import over_grpc
from services.chassis.logging import get_logger
from services.chassis.settings import BaseServiceSettings
from services.chassis.sql import Database

log = get_logger(__name__)

Intake = tuple[Callable[[grpc.aio.Channel], Any], type[Message]]
"""The stub of the service that takes records by `RecordCalls`, and that method's request."""


def audited(
    settings: BaseServiceSettings,
    db: Database,
    table: Table,
    intake: Intake,
    services: Collection[str],
    *,
    looks: Collection[str] = (),
) -> Auditing | None:
    """The audit as the settings want it (`audit_target`); None, and a warning, when nobody keeps the records.

    services, looks: see Auditing.
    """
    target: str = getattr(settings, "audit_target", "")
    if not target:
        log.warning("audit_off", remedy="name the registry as AUDIT_TARGET")
        return None
    stub, request = intake
    channel = grpc_client.channel(target, settings)
    outbox = AuditOutbox(db, table, over_grpc(stub(channel).RecordCalls, request))

    async def close() -> None:
        await channel.close(None)

    return Auditing(outbox, services, looks=looks, close=close)
