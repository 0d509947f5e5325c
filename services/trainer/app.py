"""The trainer's control plane as a process: `python -m services.trainer.app`, settings from `TRAINER_…`."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from fiveshot.audit.v1 import audit_service_pb2, audit_service_pb2_grpc

from services.chassis import grpc_client
from services.chassis.audit.delivery import audited
from services.chassis.budget_policy import project_budgets
from services.chassis.file_check import FileCheck
from services.chassis.listing.pages import PageTokens
from services.chassis.names import new_id, new_uuid
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.s3 import ObjectStore
from services.chassis.service import Service, run
from services.chassis.settings import blaming
from services.chassis.shared_signals import SharedSignals
from services.chassis.signals import Signals
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import migrated
from services.trainer.adapters.grpc_datasets import GrpcDatasets
from services.trainer.adapters.job_metrics import QueueGauges
from services.trainer.adapters.s3_artifacts import S3Artifacts
from services.trainer.adapters.sql_deletes import SqlDeletions
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_measurements import SqlMeasurements
from services.trainer.adapters.sql_named_files import named_files
from services.trainer.adapters.sql_tables import audit_outbox, events
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.adapters.sql_workers import SqlWorkforce
from services.trainer.recipe.catalogue import InvalidCatalogue, load_catalogue
from services.trainer.servicer import SERVICE_NAMES, add_to_server
from services.trainer.servicer.training import TrainingServicer, TrainingUseCases
from services.trainer.servicer.worker import WorkerServicer
from services.trainer.settings import Settings
from services.trainer.use_cases.auditing import Auditor
from services.trainer.use_cases.budgeting import JobBudgets, UsageReading
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.deleting import JobDeleting
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.offering import Offering
from services.trainer.use_cases.operating import Operating
from services.trainer.use_cases.planning import Planner
from services.trainer.use_cases.previewing import TrainingPreview
from services.trainer.use_cases.reading import WORKER_MEMORY, JobReading
from services.trainer.use_cases.steering import JobSteering
from services.trainer.use_cases.upkeep import Reaper, Sweeper, Thinner
from services.trainer.use_cases.watching import JobWatch
from services.trainer.use_cases.working import JobWork

MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"


def build(settings: Settings) -> Service:
    """Everything that the service is made of. The dataset service and the event bus may be away: creating a job needs
    the one, and events wait for the other."""
    with blaming("catalogue", InvalidCatalogue):
        catalogue = load_catalogue(settings.catalogue)
    db = Database(settings.database_url, pool_size=settings.database_pool_size)
    objects = ObjectStore(settings)
    dataset = grpc_client.channel(settings.dataset_target, settings)
    bus = EventBus.of(settings, name="trainer") if settings.nats_url else None
    signals = SharedSignals(bus, service="trainer") if bus else Signals()
    outbox, artifacts = Outbox(events), S3Artifacts(objects)
    store, workforce, relay = SqlJobStore(db, outbox, signals), SqlWorkforce(db), Relay(db, outbox, bus)
    window = timedelta(hours=settings.budget_window_hours)
    budgets = JobBudgets(project_budgets(settings), window)
    lease, pause_s = timedelta(seconds=settings.lease_seconds), settings.sweep_seconds

    datasets = GrpcDatasets(dataset)
    planner = Planner(catalogue, datasets, min_images=settings.min_images)
    estimator = JobEstimator(store, SqlMeasurements(db), planner, catalogue, clock=utcnow)
    tokens = PageTokens(settings.page_key)
    reading = JobReading(store, artifacts, catalogue, planner, tokens, clock=utcnow, budgets=budgets)
    training = TrainingUseCases(
        creator=JobCreator(store, planner, reading, clock=utcnow, new_id=new_id, budgets=budgets),
        estimator=estimator,
        previewing=TrainingPreview(planner, datasets),
        auditing=Auditor(planner),
        steering=JobSteering(store, catalogue, clock=utcnow, budgets=budgets),
        reading=reading,
        watch=JobWatch(store, signals, reading),
        deleting=JobDeleting(SqlDeletions(db), artifacts, clock=utcnow),
        operating=Operating(store, workforce, clock=utcnow),
        usage=UsageReading(store, budgets, clock=utcnow),
    )
    work = JobWork(
        store,
        signals,
        artifacts,
        clock=utcnow,
        new_token=new_uuid,
        lease=lease,
        max_failures=settings.max_failures,
        budgets=budgets,
    )
    servicers = TrainingServicer(training), WorkerServicer(work, Offering(work, estimator), estimator, clock=utcnow)

    reaper = Reaper(store, clock=utcnow, lease=lease, max_losses=settings.max_losses)
    age = timedelta(seconds=settings.sweep_age_seconds)
    sweeper = Sweeper(store, artifacts, clock=utcnow, pause_s=pause_s, age=age)
    thinner = Thinner(
        SqlHistory(db, published_only=bus is not None),
        clock=utcnow,
        pause_s=pause_s,
        age=timedelta(seconds=settings.progress_age_seconds),
        remember=timedelta(days=settings.remember_requests_days),
        usage=window + timedelta(days=settings.usage_days),
    )
    gauges = QueueGauges(
        db,
        workforce,
        relay,
        catalogue,
        memory=WORKER_MEMORY,
        pause_s=settings.metrics_pause_seconds,
    )
    # Nobody reads them where no metrics are served.
    measuring = (gauges.run,) if settings.metrics_listen else ()
    intake = audit_service_pb2_grpc.AuditIntakeServiceStub, audit_service_pb2.RecordCallsRequest
    return Service(
        files=FileCheck(objects, "trainer/", partial(named_files, db)),
        names=SERVICE_NAMES,
        register=partial(add_to_server, *servicers),
        needs=(migrated(db, MIGRATIONS, settings), objects.need(), *((bus.need(),) if bus else ())),
        background=(relay.run, reaper.run, sweeper.run, thinner.run, signals.run, *measuring),
        close=(partial(dataset.close, None),),
        # What workers report is in the events of their jobs.
        audit=audited(settings, db, audit_outbox, intake, SERVICE_NAMES[:1]),
    )


def main() -> NoReturn:
    """The process."""
    run("trainer", Settings, build)


if __name__ == "__main__":
    main()
