"""The tagger as a process: `python -m services.tagger.app`, settings from `TAGGER_…`. It serves and runs jobs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from fiveshot.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from fiveshot.tagger.v1 import tagger_service_pb2
from fiveshot.tagger.v1.tagger_service_pb2_grpc import add_TaggerServiceServicer_to_server

from services.chassis import grpc_client
from services.chassis.audit.delivery import audited
from services.chassis.listing.pages import PageTokens
from services.chassis.memory import few_heaps, trim_now_and_then
from services.chassis.names import new_id
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.patience import patiently
from services.chassis.picture_decoding.pool import DecodePool
from services.chassis.service import Service, run
from services.chassis.signals import Signals
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import migrated
from services.tagger.adapters.decoded_pictures import DecodedPictures
from services.tagger.adapters.grpc_datasets import GrpcDatasets
from services.tagger.adapters.installed import InstalledTaggers
from services.tagger.adapters.sql_kept_scores import SqlKeptScores
from services.tagger.adapters.sql_tag_jobs import SqlTagJobs
from services.tagger.adapters.tag_job_spans import tag_job_span
from services.tagger.adapters.tag_job_tables import audit_outbox, events
from services.tagger.adapters.written_text import PpOcrTextFinder
from services.tagger.proto_mapping.checks import further_checks
from services.tagger.servicer import TaggerServicer
from services.tagger.settings import Settings
from services.tagger.use_cases.crops import CropVerb
from services.tagger.use_cases.image_access import ImageAccess
from services.tagger.use_cases.masks import MaskVerb
from services.tagger.use_cases.run_tag_jobs import RunnerLimits, TagJobRunner
from services.tagger.use_cases.subject import SubjectVerb
from services.tagger.use_cases.tag_images import ImageTagger
from services.tagger.use_cases.tag_jobs import TagJobVerbs
from services.tagger.use_cases.tag_picture import TagPicture
from services.tagger.use_cases.taggers import Taggers

NAMES = (tagger_service_pb2.DESCRIPTOR.services_by_name["TaggerService"].full_name,)
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"


def build(settings: Settings) -> Service:
    """Everything that the service is made of. Dataset service and event bus may be away: jobs and events wait."""
    db = Database(settings.database_address, pool_size=settings.database_pool_size)
    dataset = grpc_client.channel(settings.dataset_target, settings)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="tagger")
    taggers = Taggers(
        InstalledTaggers(
            wd_model_dir=settings.wd_model_dir,
            photo=settings.photo,
            threads=settings.threads,
            folder=settings.taggers_dir,
            api_key=settings.captioner_api_key.get_secret_value(),
        )
    )
    pool = DecodePool(settings.decode_limits, processes=settings.decode_processes)
    decoder = DecodedPictures(pool, max_pixels=settings.max_pixels)
    bus, outbox = EventBus.of(settings, name="tagger", sets_limits=False) if settings.nats_url else None, Outbox(events)
    relay = Relay(db, outbox, bus)
    jobs = SqlTagJobs(db, outbox, published_only=bus is not None)
    datasets, changes, tokens = GrpcDatasets(dataset), Signals(), PageTokens(settings.page_key)
    servicer = TaggerServicer(
        taggers,
        TagJobVerbs(jobs, datasets, taggers, changes, utcnow, tokens),
        TagPicture(taggers, decoder, executor, max_bytes=settings.max_image_bytes, budget=settings.picture_budget),
        SubjectVerb(datasets, taggers, decoder, executor),
        CropVerb(datasets, taggers, decoder, executor),
        MaskVerb(datasets, taggers, decoder, executor),
    )
    kept = SqlKeptScores(db)
    access = ImageAccess(datasets, decoder, patience_s=settings.outage_patience_s)
    finder = PpOcrTextFinder(threads=settings.threads)
    text = finder if settings.text and finder.available() else None
    images = ImageTagger(jobs, access, taggers, kept, executor, utcnow, text)
    limits = RunnerLimits(
        parallel_jobs=settings.parallel_jobs,
        parallel_images=settings.parallel_images,
        lease=timedelta(seconds=settings.lease_s),
        keep=timedelta(days=settings.keep_jobs_days),
    )
    owner = new_id("tagger")
    runner = TagJobRunner(jobs, images, kept, changes, utcnow, owner=owner, limits=limits, around=tag_job_span)
    intake = audit_service_pb2_grpc.AuditIntakeServiceStub, audit_service_pb2.RecordCallsRequest
    return Service(
        names=NAMES,
        register=partial(add_TaggerServiceServicer_to_server, servicer),
        further=further_checks(taggers, tokens),
        needs=(migrated(db, MIGRATIONS, settings), pool.need(), *((bus.need(),) if bus else ())),
        background=(
            runner.run,
            relay.run,
            relay.watch,
            trim_now_and_then,
            *((partial(patiently, bus.open, what="event bus", patience_s=None),) if bus else ()),
        ),
        # It tags a picture that the call brings along, and keeps nothing.
        audit=audited(settings, db, audit_outbox, intake, NAMES, looks=("TagImage",)),
        close=(
            partial(dataset.close, None),
            partial(asyncio.to_thread, executor.shutdown, wait=True, cancel_futures=True),
        ),
    )


def main() -> NoReturn:
    """The process."""
    few_heaps()
    run("tagger", Settings, build)


if __name__ == "__main__":
    main()
