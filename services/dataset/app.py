"""The dataset service as a process: `python -m services.dataset.app`, settings from `DATASET_…`."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from fiveshot.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import add_DatasetServiceServicer_to_server

from services.chassis.audit.delivery import audited
from services.chassis.budget_policy import project_budgets
from services.chassis.budgets import DOWNLOADS, UPLOADS, AtOnce
from services.chassis.byte_budget import MIB
from services.chassis.file_check import FileCheck
from services.chassis.listing.pages import PageTokens
from services.chassis.memory import give_memory_back, trim_now_and_then
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.patience import patiently
from services.chassis.picture_decoding.pool import DecodePool
from services.chassis.s3 import ObjectStore
from services.chassis.service import Service, run
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import migrated
from services.dataset.adapters.s3_pictures import S3PictureStore
from services.dataset.adapters.sql_datasets import SqlDatasetStore
from services.dataset.adapters.sql_named_files import named_files
from services.dataset.adapters.sql_tables import audit_outbox, events
from services.dataset.adapters.sql_usage import SqlMeter
from services.dataset.proto_mapping.checks import further_checks
from services.dataset.servicer import DatasetServicer
from services.dataset.settings import Settings
from services.dataset.use_cases.datasets import DatasetVerbs
from services.dataset.use_cases.direct_uploads import DirectUploads
from services.dataset.use_cases.edits import EditVerbs
from services.dataset.use_cases.exports import ExportVerb
from services.dataset.use_cases.image_batches import ImageBatches
from services.dataset.use_cases.image_events import ImageEvents
from services.dataset.use_cases.images import ImageVerbs
from services.dataset.use_cases.imports import ImportVerb
from services.dataset.use_cases.intake import Intake
from services.dataset.use_cases.mask_intake import MaskIntake
from services.dataset.use_cases.masks import MaskVerbs
from services.dataset.use_cases.projects import ProjectVerbs
from services.dataset.use_cases.tags import TagVerbs
from services.dataset.use_cases.trained_pictures import TrainedPictures
from services.dataset.use_cases.upkeep import Upkeep
from services.dataset.use_cases.uploads import UploadVerb
from services.dataset.use_cases.usage import Metering, UsageVerbs
from services.dataset.use_cases.versions import VersionVerbs

NAMES = (dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"].full_name,)
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"


def build(settings: Settings) -> Service:
    """Everything that the service is made of. The event bus may be away: events wait for it."""
    budgets = project_budgets(settings)
    uploading, downloading = AtOnce(budgets, UPLOADS), AtOnce(budgets, DOWNLOADS)
    db = Database(settings.database_address, pool_size=settings.database_pool_size)
    objects = ObjectStore(settings)
    decoder = DecodePool(settings.decode_limits, processes=settings.decode_processes)
    bus = EventBus.of(settings, name="dataset") if settings.nats_url else None
    outbox, tokens = Outbox(events), PageTokens(settings.page_key)
    store, pictures = SqlDatasetStore(db, outbox), S3PictureStore(objects)
    told = ImageEvents(
        store,
        quiet=timedelta(seconds=settings.image_events_quiet_s),
        longest=timedelta(seconds=settings.image_events_longest_s),
    )
    relay = Relay(db, outbox, bus)
    meter = SqlMeter(db, outbox, published_only=bus is not None)
    metering = Metering(meter, utcnow, keep=timedelta(days=settings.usage_days))
    upkeep = Upkeep(store, pictures, utcnow, remember_requests=timedelta(days=settings.remember_requests_days))
    reservation = timedelta(seconds=settings.reservation_s)
    budget = settings.upload_budget
    uploads = UploadVerb(
        store,
        pictures,
        Intake(settings.limits, decoder),
        upkeep,
        utcnow,
        budget,
        budgets,
        at_once=uploading,
        limits=settings.limits,
        idle_s=settings.upload_idle_s,
        reservation=reservation,
    )
    masks = MaskVerbs(
        store,
        pictures,
        MaskIntake(settings.limits, decoder),
        upkeep,
        utcnow,
        budget,
        budgets,
        at_once=uploading,
        limits=settings.limits,
        idle_s=settings.upload_idle_s,
        reservation=reservation,
    )
    images = ImageVerbs(store, pictures, upkeep, utcnow, tokens)
    versions = VersionVerbs(store, upkeep, utcnow, tokens)
    imports = ImportVerb(
        store,
        uploads,
        masks,
        settings.archive_budget,
        settings.archive_limits,
        utcnow,
        max_bytes=settings.max_archive_mib * MIB,
        idle_s=settings.upload_idle_s,
    )
    servicer = DatasetServicer(
        datasets=DatasetVerbs(store, upkeep, utcnow, tokens, budgets),
        uploads=uploads,
        images=images,
        trained=TrainedPictures(images, decoder, budget, limits=settings.limits, at_once=downloading),
        batches=ImageBatches(store, upkeep, utcnow),
        direct=DirectUploads(store, pictures, uploads, images, utcnow, validity=reservation),
        tags=TagVerbs(store, utcnow),
        versions=versions,
        imports=imports,
        exports=ExportVerb(versions, images, downloading),
        usage=UsageVerbs(store, budgets, uploading, downloading),
        masks=masks,
        edits=EditVerbs(store, utcnow),
        project_verbs=ProjectVerbs(store, tokens),
    )
    intake = audit_service_pb2_grpc.AuditIntakeServiceStub, audit_service_pb2.RecordCallsRequest
    return Service(
        files=FileCheck(objects, "datasets/", partial(named_files, db)),
        names=NAMES,
        register=partial(add_DatasetServiceServicer_to_server, servicer),
        further=further_checks(uploads, tokens),
        needs=(migrated(db, MIGRATIONS, settings), objects.need(), decoder.need(), *((bus.need(),) if bus else ())),
        background=(
            partial(upkeep.run, interval_s=settings.sweep_interval_s),
            partial(metering.run, interval_s=settings.sweep_interval_s),
            told.run,
            relay.run,
            relay.watch,
            # Also while nothing is to be told: only who is connected can say that the bus is there.
            *((partial(patiently, bus.open, what="event bus", patience_s=None),) if bus else ()),
            trim_now_and_then,
        ),
        audit=audited(settings, db, audit_outbox, intake, NAMES),
    )


def main() -> NoReturn:
    """The process."""
    give_memory_back()
    run("dataset", Settings, build)


if __name__ == "__main__":
    main()
