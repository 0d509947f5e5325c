"""The notifier as a process: `python -m services.notifier.app`, settings from `NOTIFIER_…`."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from fiveshot.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from fiveshot.notifier.v1 import notifier_service_pb2
from fiveshot.notifier.v1.notifier_service_pb2_grpc import add_NotifierServiceServicer_to_server

from services.chassis.audit.delivery import audited
from services.chassis.budget_policy import project_budgets
from services.chassis.listing.pages import PageTokens
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.service import Service, run
from services.chassis.signals import Signals
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import migrated
from services.notifier.adapters import metrics
from services.notifier.adapters.http_sender import HttpSender
from services.notifier.adapters.nats_source import NatsEventSource
from services.notifier.adapters.sql_deliveries import SqlDeliveryStore
from services.notifier.adapters.sql_tables import AUDIT_OUTBOX, EVENTS
from services.notifier.adapters.sql_webhooks import SqlWebhookStore
from services.notifier.models.addresses import parse_networks
from services.notifier.models.deliveries import RetryPolicy
from services.notifier.proto_mapping.checks import further_checks
from services.notifier.servicer import NotifierServicer
from services.notifier.settings import Settings
from services.notifier.use_cases.deliveries import Deliveries
from services.notifier.use_cases.receiving import Receiver
from services.notifier.use_cases.sending import Courier
from services.notifier.use_cases.upkeep import Sweeper
from services.notifier.use_cases.webhooks import Webhooks

NAMES = (notifier_service_pb2.DESCRIPTOR.services_by_name["NotifierService"].full_name,)
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"


def build(settings: Settings) -> Service:
    """Everything that the service is made of. The event bus may be away: events wait in it, and in the logs of those
    that publish."""
    db = Database(settings.database_address, pool_size=settings.database_pool_size)
    bus = EventBus.of(settings, name="notifier", sets_limits=False) if settings.nats_url else None
    outbox, signals, tokens = Outbox(EVENTS), Signals(), PageTokens(settings.page_key)
    policy = RetryPolicy(
        first=timedelta(seconds=settings.retry_first_s),
        longest=timedelta(seconds=settings.retry_longest_s),
        give_up_after=timedelta(hours=settings.give_up_hours),
        disable_after=timedelta(hours=settings.disable_after_hours),
    )
    webhooks, store = SqlWebhookStore(db), SqlDeliveryStore(db, outbox, policy)
    relay = Relay(db, outbox, bus)
    sender = HttpSender(
        parse_networks(settings.allowed_networks), timeout_s=settings.attempt_timeout_s, ca_file=settings.ca_file
    )
    courier = Courier(
        store,
        sender,
        signals,
        clock=utcnow,
        attempt_s=settings.attempt_timeout_s,
        at_once=settings.attempts_at_once,
        each=settings.attempts_per_webhook,
        attempted=metrics.attempted,
    )
    verbs = Webhooks(webhooks, sender, tokens, clock=utcnow, budgets=project_budgets(settings))
    servicer = NotifierServicer(
        verbs,
        Deliveries(store, webhooks, courier, signals, tokens, clock=utcnow),
        clock=utcnow,
    )
    sweeper = Sweeper(
        store,
        webhooks,
        keep=timedelta(days=settings.keep_deliveries_days),
        remember=timedelta(days=settings.remember_requests_days),
        interval=timedelta(seconds=settings.sweep_interval_s),
    )
    source = NatsEventSource(bus, ack_wait_s=settings.ack_wait_s) if bus else None
    receiving = (Receiver(source, store, signals).run,) if source else ()
    # Nobody reads them where no metrics are served.
    measuring = (metrics.Gauges(store, relay).run,) if settings.metrics_listen else ()
    intake = audit_service_pb2_grpc.AuditIntakeServiceStub, audit_service_pb2.RecordCallsRequest
    return Service(
        names=NAMES,
        register=partial(add_NotifierServiceServicer_to_server, servicer),
        further=further_checks(verbs, tokens),
        needs=(migrated(db, MIGRATIONS, settings), *((bus.need(),) if bus else ())),
        audit=audited(settings, db, AUDIT_OUTBOX, intake, NAMES),
        background=(courier.run, relay.run, sweeper.run, *receiving, *measuring),
    )


def main() -> NoReturn:
    """The process."""
    run("notifier", Settings, build)


if __name__ == "__main__":
    main()
