"""The registry as a process: `python -m services.registry.app`, settings from `REGISTRY_…`."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import grpc
from fiveshot.audit.v1 import audit_service_pb2
from fiveshot.audit.v1.audit_service_pb2_grpc import (
    add_AuditIntakeServiceServicer_to_server,
    add_AuditServiceServicer_to_server,
)
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server

from services.chassis import grpc_client
from services.chassis.audit.calls import Auditing
from services.chassis.audit.outbox import AuditOutbox
from services.chassis.budget_policy import project_budgets
from services.chassis.budgets import DOWNLOADS, AtOnce
from services.chassis.file_check import FileCheck
from services.chassis.listing.pages import PageTokens
from services.chassis.names import AUDIT_STREAM, AUDIT_SUBJECTS
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.chassis.service import Service, run
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import migrated
from services.registry.adapters.grpc_trainer import GrpcEpochSource
from services.registry.adapters.s3_files import PREFIX, S3FileStore
from services.registry.adapters.sql_audit import AuditStream, SqlAuditStore
from services.registry.adapters.sql_models import SqlModelStore
from services.registry.adapters.sql_named_files import named_files
from services.registry.adapters.sql_tables import AUDIT_OUTBOX, EVENTS
from services.registry.proto_mapping.checks import further_checks
from services.registry.servicer import AuditServicer, RegistryServicer
from services.registry.settings import Settings
from services.registry.use_cases.audit_log import AuditLog
from services.registry.use_cases.budgeting import KeepBudgets, UsageReading
from services.registry.use_cases.import_version import ImportVersion
from services.registry.use_cases.repositories import Repositories
from services.registry.use_cases.save_epoch import SaveEpoch
from services.registry.use_cases.sweeping import Sweeper
from services.registry.use_cases.versions import Versions

_REGISTRY = registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name
_AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name
_INTAKE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditIntakeService"].full_name
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"


def build(settings: Settings) -> Service:
    """Everything that the service is made of. The trainer may be away: only saving an epoch needs it."""
    db = Database(settings.database_address, pool_size=settings.database_pool_size)
    objects = ObjectStore(settings)
    trainer = grpc_client.channel(settings.trainer_target, settings)
    events = EventBus.of(settings, name="registry-events", sets_limits=False) if settings.nats_url else None
    outbox = Outbox(EVENTS)
    store = SqlModelStore(db, outbox, published_only=events is not None)
    files, tokens = S3FileStore(objects), PageTokens(settings.page_key)
    source = GrpcEpochSource(trainer)
    limits = project_budgets(settings)
    budgets, max_bytes = KeepBudgets(limits), settings.max_version_mb * 1024 * 1024
    servicer = RegistryServicer(
        Repositories(store, files, tokens, budgets),
        Versions(store, files, tokens, AtOnce(limits, DOWNLOADS)),
        SaveEpoch(store, files, source, max_bytes=max_bytes, budgets=budgets),
        ImportVersion(store, files, source, max_bytes=max_bytes, idle_s=settings.upload_idle_s, budgets=budgets),
        UsageReading(store, budgets),
    )
    sweeper = Sweeper(
        store,
        files,
        age=timedelta(seconds=settings.orphan_age_s),
        interval=timedelta(seconds=settings.sweep_interval_s),
        remember=timedelta(days=settings.remember_requests_days),
        events=timedelta(days=settings.event_days),
    )
    relay = Relay(db, outbox, events)
    bus = EventBus.of(settings, name="registry", stream=AUDIT_STREAM, subject_root=AUDIT_SUBJECTS)
    stream = AuditStream(db, bus) if settings.nats_url else None
    audit = AuditLog(
        SqlAuditStore(db),
        tokens,
        utcnow,
        keep=timedelta(days=settings.audit_keep_days),
        most=settings.audit_max_records,
        told=stream.notify if stream else lambda: None,
    )
    return Service(
        files=FileCheck(objects, PREFIX, partial(named_files, db)),
        names=(_REGISTRY, _AUDIT, _INTAKE),
        register=partial(_register, servicer, AuditServicer(audit)),
        further=further_checks(tokens),
        needs=(migrated(db, MIGRATIONS, settings), objects.need(), *((bus.need(),) if stream else ())),
        background=(
            sweeper.run,
            relay.run,
            relay.watch,
            partial(audit.forget, settings.sweep_interval_s),
            *((stream.run, partial(patiently, bus.open, what="event bus", patience_s=None)) if stream else ()),
        ),
        close=(partial(trainer.close, None), *((events.close,) if events else ())),
        audit=Auditing(AuditOutbox(db, AUDIT_OUTBOX, audit.take), (_REGISTRY, _AUDIT)),
    )


def _register(models: RegistryServicer, audit: AuditServicer, server: grpc.aio.Server) -> None:
    add_RegistryServiceServicer_to_server(models, server)
    add_AuditServiceServicer_to_server(audit, server)
    add_AuditIntakeServiceServicer_to_server(audit, server)


def main() -> NoReturn:
    """The process."""
    run("registry", Settings, build)


if __name__ == "__main__":
    main()
