"""Starts the trainer's control plane: `python -m services.trainer.app`, settings from `TRAINER_…`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
from fiveshot.trainer.v1 import (
    training_service_pb2,
    training_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)

from services.chassis import grpc_server, logging, telemetry
from services.chassis.errors import Unavailable
from services.chassis.grpc_client import channel
from services.chassis.names import new_id, new_uuid
from services.chassis.nats_events import EventBus
from services.chassis.outbox import Outbox, Relay
from services.chassis.s3 import ObjectStore
from services.chassis.settings import load
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.grpc_datasets import GrpcDatasets
from services.trainer.adapters.s3_artifacts import S3Artifacts
from services.trainer.adapters.sql_jobs import SqlJobStore
from services.trainer.adapters.sql_measurements import SqlMeasurements
from services.trainer.adapters.sql_tables import events
from services.trainer.adapters.sql_thinning import SqlHistory
from services.trainer.adapters.wakeups import ProcessWakeups, SharedWakeups
from services.trainer.recipe.catalogue import BaseModel, InvalidCatalogue, load_catalogue
from services.trainer.servicer.training import TrainingServicer, TrainingUseCases
from services.trainer.servicer.worker import WorkerServicer
from services.trainer.settings import Settings
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.measuring import Measuring
from services.trainer.use_cases.planning import Planner
from services.trainer.use_cases.reading import JobReading
from services.trainer.use_cases.steering import JobSteering
from services.trainer.use_cases.upkeep import Reaper, Sweeper, Thinner
from services.trainer.use_cases.watching import JobWatch
from services.trainer.use_cases.working import JobWork

MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"
SERVICE_NAMES = (
    training_service_pb2.DESCRIPTOR.services_by_name["TrainingService"].full_name,
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name,
)
log = logging.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a server needs of the trainer."""

    register: Callable[[grpc.aio.Server], None]
    ready: Callable[[], Awaitable[None]]
    background: tuple[Callable[[], Awaitable[None]], ...]


@asynccontextmanager
async def assemble(settings: Settings, catalogue: Mapping[str, BaseModel]) -> AsyncIterator[Parts]:
    """Builds the service and closes its connections at the end. Nothing is contacted before `ready`."""
    db = Database(settings.database_url, pool_size=settings.database_pool_size)
    objects = ObjectStore(settings)
    dataset_channel = channel(settings.dataset_target, settings)
    bus = EventBus(settings.nats_url, name="trainer") if settings.nats_url else None

    outbox = Outbox(events)
    wakeups = ProcessWakeups() if bus is None else SharedWakeups(bus)
    store = SqlJobStore(db, outbox, wakeups)
    measurements = SqlMeasurements(db)
    measuring = Measuring(measurements, [f"baseModels/{name}" for name, model in catalogue.items() if model.costs])
    artifacts = S3Artifacts(objects)
    planner = Planner(catalogue, GrpcDatasets(dataset_channel), min_images=settings.min_images)
    lease = timedelta(seconds=settings.lease_seconds)
    reading = JobReading(store, artifacts, catalogue, planner, clock=utcnow)
    training = TrainingUseCases(
        creator=JobCreator(store, planner, clock=utcnow, new_id=new_id),
        estimator=JobEstimator(store, measurements, planner, clock=utcnow),
        steering=JobSteering(store, catalogue, clock=utcnow),
        reading=reading,
        watch=JobWatch(store, wakeups, reading),
    )
    work = JobWork(
        store,
        wakeups,
        artifacts,
        clock=utcnow,
        new_token=new_uuid,
        lease=lease,
        max_failures=settings.max_failures,
    )
    reaper = Reaper(store, clock=utcnow, lease=lease, max_losses=settings.max_losses)
    sweeper = Sweeper(
        store,
        artifacts,
        clock=utcnow,
        pause_s=settings.sweep_seconds,
        age=timedelta(seconds=settings.sweep_age_seconds),
    )

    thinner = Thinner(
        SqlHistory(db, published_only=bus is not None),
        clock=utcnow,
        pause_s=settings.sweep_seconds,
        age=timedelta(seconds=settings.progress_age_seconds),
        remember=timedelta(days=settings.remember_requests_days),
    )

    def register(server: grpc.aio.Server) -> None:
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server(TrainingServicer(training), server)
        working = WorkerServicer(work, measuring, clock=utcnow)
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(working, server)

    async def ready() -> None:
        await _until_available(lambda: upgrade(settings.database_url, MIGRATIONS))
        await _until_available(objects.ensure_bucket)

    background = [Relay(db, outbox, bus).run, reaper.run, sweeper.run, thinner.run]
    if isinstance(wakeups, SharedWakeups):
        background.append(wakeups.run)
    try:
        yield Parts(register, ready, tuple(background))
    finally:
        await dataset_channel.close(None)
        if bus is not None:
            await bus.close()
        objects.close()
        await db.dispose()


async def _until_available(task: Callable[[], Awaitable[None]]) -> None:
    """Services start in any order: waits for the server behind the task instead of giving up."""
    while True:
        try:
            return await task()
        except Unavailable as error:
            log.warning("start_waits", reason=error.reason)
            await asyncio.sleep(0.5)


async def _serve() -> int:
    settings = load(Settings)
    logging.configure(settings, service="trainer")
    tracing = telemetry.configure(settings, service="trainer")
    try:
        catalogue = load_catalogue(settings.catalogue)
    except InvalidCatalogue as error:
        print(f"TRAINER_CATALOGUE: {error}", file=sys.stderr)
        return 2
    async with assemble(settings, catalogue) as parts:
        code = await grpc_server.serve(
            settings,
            parts.register,
            service_names=SERVICE_NAMES,
            ready=parts.ready,
            background=parts.background,
        )
    if tracing is not None:
        tracing.shutdown()
    return code


def main() -> None:
    """Runs the process until SIGTERM or SIGINT."""
    grpc_server.run(_serve)


if __name__ == "__main__":
    main()
