"""The registry as a process: reads settings, opens the stores, builds the verbs, serves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import grpc
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server

from services.chassis import grpc_client, grpc_server, logging, telemetry
from services.chassis.listing.pages import PageTokens
from services.chassis.s3 import ObjectStore
from services.chassis.settings import load
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.registry.adapters.grpc_trainer import GrpcEpochSource
from services.registry.adapters.s3_files import S3FileStore
from services.registry.adapters.sql_models import SqlModelStore
from services.registry.servicer import RegistryServicer
from services.registry.settings import Settings
from services.registry.use_cases.repositories import Repositories
from services.registry.use_cases.save_epoch import SaveEpoch
from services.registry.use_cases.sweeping import Sweeper
from services.registry.use_cases.versions import Versions

MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"
SERVICE_NAME = registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name


class App:
    """Everything that the service is made of, for one set of settings. Open it with `prepare`, end it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._db = Database(settings.database_url)
        self._objects = ObjectStore(settings)
        self._trainer = grpc_client.channel(settings.trainer_target, settings)
        store, files = SqlModelStore(self._db), S3FileStore(self._objects)
        tokens = PageTokens(settings.page_key)
        source = GrpcEpochSource(self._trainer)
        self._servicer = RegistryServicer(
            Repositories(store, files, tokens),
            Versions(store, files, tokens),
            SaveEpoch(store, files, source, max_bytes=settings.max_version_mb * 1024 * 1024),
        )
        sweeper = Sweeper(
            store,
            files,
            age=timedelta(seconds=settings.orphan_age_s),
            interval=timedelta(seconds=settings.sweep_interval_s),
            remember=timedelta(days=settings.remember_requests_days),
        )
        self.service_names = (SERVICE_NAME,)
        self.background = (sweeper.run,)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the servicer."""
        add_RegistryServiceServicer_to_server(self._servicer, server)

    async def prepare(self) -> None:
        """Brings the database up to date and makes sure of the bucket. Raises Unavailable."""
        await upgrade(self._settings.database_url, MIGRATIONS)
        await self._objects.ensure_bucket()

    async def close(self) -> None:
        """Closes connections and threads."""
        await self._trainer.close(None)
        await self._db.dispose()
        self._objects.close()


async def serve() -> int:
    """Serves until it is told to stop; returns the exit code."""
    settings = load(Settings)
    logging.configure(settings, service="registry")
    telemetry.configure(settings, service="registry")
    app = App(settings)
    try:
        return await grpc_server.serve(
            settings, app.register, service_names=app.service_names, ready=app.prepare, background=app.background
        )
    finally:
        await app.close()


def main() -> NoReturn:
    """The process."""
    grpc_server.run(serve)


if __name__ == "__main__":
    main()
