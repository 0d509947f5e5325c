"""The dataset service as a process: reads settings, opens the stores, builds the verbs, serves."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import grpc
from fiveshot.dataset.v1 import dataset_service_pb2, dataset_service_pb2_grpc

from services.chassis import grpc_server, logging, telemetry
from services.chassis.listing.pages import PageTokens
from services.chassis.s3 import ObjectStore
from services.chassis.settings import load
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.dataset.adapters.s3_pictures import S3PictureStore
from services.dataset.adapters.sql_datasets import SqlDatasetStore
from services.dataset.servicer import DatasetServicer
from services.dataset.settings import Settings
from services.dataset.use_cases.datasets import DatasetVerbs
from services.dataset.use_cases.images import ImageVerbs
from services.dataset.use_cases.intake import Intake
from services.dataset.use_cases.tags import TagVerbs
from services.dataset.use_cases.upkeep import Upkeep
from services.dataset.use_cases.uploads import UploadVerb
from services.dataset.use_cases.versions import VersionVerbs

MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"
SERVICE_NAME = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"].full_name


class App:
    """Everything that the service is made of, for one set of settings. Open it with `prepare`, end it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._db = Database(settings.database_url)
        self._objects = ObjectStore(settings)
        store, pictures = SqlDatasetStore(self._db), S3PictureStore(self._objects)
        tokens = PageTokens(settings.page_key)
        self._upkeep = Upkeep(
            store, pictures, utcnow, remember_requests=timedelta(days=settings.remember_requests_days)
        )
        self._servicer = DatasetServicer(
            datasets=DatasetVerbs(store, self._upkeep, utcnow, tokens),
            uploads=UploadVerb(
                store,
                pictures,
                Intake(settings.limits, threads=settings.decode_threads),
                self._upkeep,
                utcnow,
                limits=settings.limits,
                idle_s=settings.upload_idle_s,
                reservation=timedelta(seconds=settings.reservation_s),
            ),
            images=ImageVerbs(store, pictures, self._upkeep, utcnow, tokens),
            tags=TagVerbs(store, utcnow),
            versions=VersionVerbs(store, utcnow, tokens),
        )
        self.service_names = (SERVICE_NAME,)
        self.background = (partial(self._upkeep.run, interval_s=settings.sweep_interval_s),)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the servicer."""
        dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(self._servicer, server)

    async def prepare(self) -> None:
        """Brings the database up to date and makes sure of the bucket. Raises Unavailable."""
        await upgrade(self._settings.database_url, MIGRATIONS)
        await self._objects.ensure_bucket()

    async def close(self) -> None:
        """Closes connections and threads."""
        await self._db.dispose()
        self._objects.close()


async def serve() -> int:
    """Serves until it is told to stop; returns the exit code."""
    settings = load(Settings)
    logging.configure(settings, service="dataset")
    telemetry.configure(settings, service="dataset")
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
