"""The trainer's control plane as a process: `python -m services.trainer.app`, settings from `TRAINER_…`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from fiveshot.audit.v1 import audit_service_pb2, audit_service_pb2_grpc

from services.chassis import grpc_client
from services.chassis.audit.delivery import audited
from services.chassis.budget_policy import project_budgets
from services.chassis.budgets import DOWNLOADS, UPLOADS, AtOnce
from services.chassis.file_check import FileCheck
from services.chassis.listing.pages import PageTokens
from services.chassis.names import new_id, new_uuid
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.s3 import ObjectStore
from services.chassis.service import Service, run
from services.chassis.setting_loading import blaming
from services.chassis.shared_signals import SharedSignals
from services.chassis.signals import Signals
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import migrated
from services.trainer.adapters import job_metrics
from services.trainer.adapters.grpc_datasets import GrpcDatasets
from services.trainer.adapters.grpc_registry import GrpcModelVersions, GrpcSavedModels
from services.trainer.adapters.job_metrics import QueueGauges
from services.trainer.adapters.s3_artifacts import S3Artifacts
from services.trainer.adapters.s3_base_models import S3BaseModelFiles
from services.trainer.adapters.sql_base_models import SqlBaseModelStore
from services.trainer.adapters.sql_deletes import SqlDeletions
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_leftovers import SqlLeftovers
from services.trainer.adapters.sql_measurements import SqlMeasurements
from services.trainer.adapters.sql_named_files import named_files
from services.trainer.adapters.sql_previews import SqlPreviewStore
from services.trainer.adapters.sql_tables import audit_outbox, events
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.adapters.sql_workers import SqlWorkforce
from services.trainer.models.lifetimes import Found
from services.trainer.models.pulse import Pulse
from services.trainer.proto_mapping.checks import further_checks
from services.trainer.recipe.catalogue import InvalidCatalogue, load_catalogue
from services.trainer.servicer import SERVICE_NAMES, add_to_server
from services.trainer.servicer.training import TrainingServicer, TrainingUseCases
from services.trainer.servicer.worker import WorkerServicer
from services.trainer.settings import Settings
from services.trainer.use_cases.auditing import Auditor
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.budgeting import JobBudgets, UsageReading
from services.trainer.use_cases.checking_base_models import BaseModelChecks, BaseModelKeeper
from services.trainer.use_cases.cleaning import CleanUp
from services.trainer.use_cases.continuing import EarlierLoras
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.deleting import JobDeleting
from services.trainer.use_cases.drawing import PreviewWork
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.offering import Offering
from services.trainer.use_cases.operating import Operating
from services.trainer.use_cases.own_base_models import OwnBaseModels
from services.trainer.use_cases.placing import WORKER_MEMORY, Placing
from services.trainer.use_cases.planning import Planner
from services.trainer.use_cases.previewing import TrainingPreview
from services.trainer.use_cases.previews import PreviewKeeper, PreviewReading
from services.trainer.use_cases.reading import JobReading
from services.trainer.use_cases.requesting_previews import PreviewRequesting
from services.trainer.use_cases.steering import JobSteering
from services.trainer.use_cases.upkeep import Reaper, Sweeper, Thinner
from services.trainer.use_cases.uploading_base_models import BaseModelUploading
from services.trainer.use_cases.watching import JobWatch
from services.trainer.use_cases.working import JobWork

HEARTBEAT_METHOD = "/fiveshot.trainer.v1.WorkerService/Heartbeat"
CLEAN_UP_METHOD = f"{SERVICE_NAMES[0]}.CleanUpTrainingJobs"
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"


def build(settings: Settings) -> Service:
    """Everything that the service is made of. The dataset service and the event bus may be away: creating a job needs
    the one, and events wait for the other."""
    with blaming("catalogue", InvalidCatalogue):
        catalogue = load_catalogue(settings.catalogue)
    job_metrics.begin(catalogue)
    db = Database(settings.database_address, pool_size=settings.database_pool_size)
    objects = ObjectStore(settings)
    dataset = grpc_client.channel(settings.dataset_target, settings)
    registry = grpc_client.channel(settings.registry_target, settings)
    bus = EventBus.of(settings, name="trainer") if settings.nats_url else None
    signals = SharedSignals(bus, service="trainer") if bus else Signals()
    outbox, artifacts = Outbox(events), S3Artifacts(objects)
    store, workforce, relay = SqlJobStore(db, outbox, signals), SqlWorkforce(db), Relay(db, outbox, bus)
    window = timedelta(hours=settings.budget_window_hours)
    limits = project_budgets(settings)
    budgets, downloads = JobBudgets(limits, window), AtOnce(limits, DOWNLOADS)
    previews, keep = SqlPreviewStore(db, outbox, signals), timedelta(hours=settings.preview_hours)
    lease, pause_s = timedelta(seconds=settings.lease_seconds), settings.sweep_seconds

    datasets = GrpcDatasets(dataset)
    own, parts = SqlBaseModelStore(db, outbox, signals), S3BaseModelFiles(objects, new_id)
    base_models = BaseModels(catalogue, own)
    versions = GrpcModelVersions(registry)
    earlier = EarlierLoras(store, versions, base_models)
    planner = Planner(base_models, datasets, min_images=settings.min_images, earlier=earlier)
    estimator = JobEstimator(store, SqlMeasurements(db), planner, catalogue, clock=utcnow)
    tokens = PageTokens(settings.page_key)
    placing = Placing(workforce, clock=utcnow)
    reading = JobReading(
        store, artifacts, base_models, tokens, clock=utcnow, placing=placing, budgets=budgets, at_once=downloads
    )
    intake = audit_service_pb2_grpc.AuditIntakeServiceStub, audit_service_pb2.RecordCallsRequest
    # What workers report is in the events of their jobs.
    audit = audited(settings, db, audit_outbox, intake, SERVICE_NAMES[:1])

    def cleaned_up(project: str, found: Sequence[Found]) -> None:
        if audit is not None:
            audit.note(CLEAN_UP_METHOD, project=project, count=sum(one.count for one in found))

    deleting = JobDeleting(SqlDeletions(db, outbox), artifacts, clock=utcnow)
    cleaning = CleanUp(
        SqlLeftovers(db),
        deleting,
        settings.lifetimes,
        clock=utcnow,
        pause_s=pause_s,
        count=job_metrics.cleaned_up,
        tell=cleaned_up,
    )
    training = TrainingUseCases(
        creator=JobCreator(
            store, planner, reading, clock=utcnow, new_id=new_id, memory=estimator.memory, budgets=budgets
        ),
        estimator=estimator,
        previewing=TrainingPreview(planner, datasets),
        auditing=Auditor(planner),
        steering=JobSteering(store, base_models, clock=utcnow, budgets=budgets),
        reading=reading,
        watch=JobWatch(store, signals, reading),
        deleting=deleting,
        cleaning=cleaning,
        operating=Operating(store, workforce, clock=utcnow),
        usage=UsageReading(store, budgets, clock=utcnow),
        requesting=PreviewRequesting(
            previews,
            store,
            versions,
            base_models,
            clock=utcnow,
            new_id=new_id,
            cells=settings.preview_cells,
            keep=keep,
            budgets=budgets,
        ),
        previews=PreviewReading(previews, artifacts, signals, tokens, clock=utcnow, keep=keep),
        base_models=OwnBaseModels(
            own,
            parts,
            base_models,
            GrpcSavedModels(registry),
            reading.loadable,
            tokens,
            clock=utcnow,
            new_id=new_id,
            max_bytes=settings.max_base_model_mib * 2**20,
            budgets=limits,
            why_unchecked=placing.why_unchecked,
        ),
        uploading=BaseModelUploading(
            own, parts, clock=utcnow, idle_s=settings.upload_idle_s, at_once=AtOnce(limits, UPLOADS)
        ),
    )
    drawing = PreviewWork(
        previews,
        store,
        artifacts,
        signals,
        clock=utcnow,
        new_token=new_uuid,
        lease=lease,
        keep=keep,
        budgets=budgets,
        base_models=own,
    )
    checks = BaseModelChecks(own, parts, catalogue, clock=utcnow, new_token=new_uuid, lease=lease)
    work = JobWork(
        store,
        signals,
        artifacts,
        clock=utcnow,
        new_token=new_uuid,
        lease=lease,
        max_failures=settings.max_failures,
        placing=placing,
        pulse=Pulse(lease, most_per_second=settings.heartbeats_per_second),
        budgets=budgets,
        previews=drawing,
        base_models=own,
        checks=checks,
    )
    offering = Offering(work, estimator)
    servicers = TrainingServicer(training), WorkerServicer(work, offering, estimator, drawing, checks, clock=utcnow)

    keeper = PreviewKeeper(previews, store, artifacts, clock=utcnow, lease=lease, keep=keep)
    unfinished = timedelta(days=settings.unfinished_upload_days)
    tending = BaseModelKeeper(own, parts, clock=utcnow, lease=lease, idle=unfinished)
    reaper = Reaper(store, clock=utcnow, lease=lease, max_losses=settings.max_losses)
    age = timedelta(seconds=settings.sweep_age_seconds)
    sweeper = Sweeper(store, artifacts, previews, own, clock=utcnow, pause_s=pause_s, age=age)
    thinner = Thinner(
        SqlHistory(db, published_only=bus is not None),
        clock=utcnow,
        pause_s=pause_s,
        age=timedelta(seconds=settings.progress_age_seconds),
        remember=timedelta(days=settings.remember_requests_days),
        usage=window + timedelta(days=settings.usage_days),
        workforce=workforce,
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
    return Service(
        files=FileCheck(objects, "trainer/", partial(named_files, db)),
        names=SERVICE_NAMES,
        register=partial(add_to_server, *servicers),
        further=further_checks(planner, training.steering, training.requesting, training.base_models, tokens),
        needs=(migrated(db, MIGRATIONS, settings), objects.need(), *((bus.need(),) if bus else ())),
        background=(
            relay.run,
            reaper.run,
            keeper.run,
            tending.run,
            cleaning.run,
            sweeper.run,
            thinner.run,
            signals.run,
            *measuring,
        ),
        close=(partial(dataset.close, None), partial(registry.close, None)),
        audit=audit,
        often=(HEARTBEAT_METHOD,),
    )


def main() -> NoReturn:
    """The process."""
    run("trainer", Settings, build)


if __name__ == "__main__":
    main()
