"""The tagger as a process: reads settings, opens its database, builds taggers and verbs, serves, runs jobs."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import grpc
from fiveshot.tagger.v1 import tagger_service_pb2
from fiveshot.tagger.v1.tagger_service_pb2_grpc import add_TaggerServiceServicer_to_server

from services.chassis import grpc_client, grpc_server, logging, telemetry
from services.chassis.names import new_id
from services.chassis.pagination import PageTokens
from services.chassis.settings import load
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.tagger.adapters.grpc_datasets import GrpcDatasets
from services.tagger.adapters.measured import MeasuredTagger
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.pillow_pictures import PillowPictures
from services.tagger.adapters.sql_tag_jobs import SqlTagJobs
from services.tagger.adapters.wd_onnx import WdOnnxTagger
from services.tagger.ports import Tagger
from services.tagger.servicer import TaggerServicer
from services.tagger.settings import Settings
from services.tagger.use_cases.job_changes import JobChanges
from services.tagger.use_cases.run_tag_jobs import RunnerLimits, TagJobRunner
from services.tagger.use_cases.subject import SubjectVerb
from services.tagger.use_cases.tag_images import ImageTagger
from services.tagger.use_cases.tag_jobs import TagJobVerbs
from services.tagger.use_cases.tag_picture import TagPicture
from services.tagger.use_cases.taggers import CombinedTagger, Taggers

MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"
SERVICE_NAME = tagger_service_pb2.DESCRIPTOR.services_by_name["TaggerService"].full_name


class App:
    """Everything that the service is made of, for one set of settings. Open it with `prepare`, end it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.database_url)
        self._channel = grpc_client.channel(settings.dataset_target, settings)
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="tagger")
        taggers = Taggers(build_taggers(settings))
        decoder = PillowPictures(max_pixels=settings.max_pixels)
        datasets = GrpcDatasets(self._channel)
        jobs = SqlTagJobs(self._database)
        changes = JobChanges()
        images = ImageTagger(
            jobs, datasets, taggers, decoder, self._executor, patience_s=settings.outage_patience_s
        )
        self._servicer = TaggerServicer(
            taggers,
            TagJobVerbs(jobs, datasets, taggers, changes, utcnow),
            TagPicture(taggers, decoder, self._executor, max_bytes=settings.max_image_bytes),
            SubjectVerb(datasets, taggers, decoder, self._executor),
            PageTokens(),
        )
        limits = RunnerLimits(
            parallel_jobs=settings.parallel_jobs,
            parallel_images=settings.parallel_images,
            lease=timedelta(seconds=settings.lease_s),
            keep=timedelta(days=settings.keep_jobs_days),
        )
        runner = TagJobRunner(jobs, images, changes, utcnow, owner=new_id("tagger"), limits=limits)
        self.service_names = (SERVICE_NAME,)
        self.background = (runner.run,)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        add_TaggerServiceServicer_to_server(self._servicer, server)

    async def prepare(self) -> None:
        """Brings the schema up to date. The dataset service may come later."""
        await upgrade(self._settings.database_url, MIGRATIONS)

    async def close(self) -> None:
        """Releases connections and threads."""
        await self._channel.close(grace=None)
        await self._database.dispose()
        self._executor.shutdown(wait=True, cancel_futures=True)


def build_taggers(settings: Settings) -> list[Tagger]:
    """The default first: everything that works here, in one. Exits with 2 when a configured model cannot be used."""
    measured = MeasuredTagger()
    models: list[Tagger] = []
    if settings.wd_model_dir is not None:
        models.append(_wd_tagger(settings.wd_model_dir, settings.threads))
    if settings.photo:
        models.append(PhotoOnnxTagger(threads=settings.threads))
    default = CombinedTagger(
        "default",
        "Default",
        "All taggers of this deployment together. Labels of models come first, measured ones after them.",
        [*models, measured],
    )
    return [default, *models, measured]


def _wd_tagger(folder: Path, threads: int) -> Tagger:
    try:
        tagger = WdOnnxTagger(folder, threads=threads)
    except (OSError, ValueError) as error:
        print(f"The settings are wrong:\n  TAGGER_WD_MODEL_DIR: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if not tagger.available():
        print("The settings are wrong:\n  TAGGER_WD_MODEL_DIR: needs the package onnxruntime", file=sys.stderr)
        raise SystemExit(2)
    return tagger


async def serve() -> int:
    """Serves until it is told to stop; returns the exit code."""
    settings = load(Settings)
    logging.configure(settings, service="tagger")
    telemetry.configure(settings, service="tagger")
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
