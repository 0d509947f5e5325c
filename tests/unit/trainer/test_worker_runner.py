"""What a worker asks for."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, cast

from fiveshot.trainer.v1 import training_job_pb2

from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.worker.pretending import PretendedEngine
from services.trainer.worker.runner import Worker
from services.trainer.worker.settings import WorkerSettings
from services.trainer.worker.trainer_client import NoJob
from services.trainer.worker.wire import Assignment
from tests.fixtures.patience import within

JOB = training_job_pb2.TrainingJob(name="projects/acme/trainingJobs/job-1", base_model="baseModels/fiveshot-tiny")


class _Trainer:
    """Gives out one job, and remembers what it was asked for. idle: set when it has none any more."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.warm: list[str] = []
        self.idle = asyncio.Event()

    async def acquire(self, base_models: list[str], *, warm: str, wait_s: float, drew: bool = False) -> Assignment:
        self.asked.append(tuple(base_models))
        self.warm.append(warm)
        if len(self.asked) > 1:
            self.idle.set()
            await asyncio.Event().wait()
        return Assignment(JOB, "t", 1, "p/", ())


class _Attempt:
    """Done at once."""

    def __init__(self, assignment: Assignment, *_: Any) -> None:
        assert assignment.job == JOB

    async def run(self) -> None:
        return None


async def test_it_asks_for_what_it_can_load_and_prefers_the_model_that_it_worked_with_last(tmp_path: Path) -> None:
    settings = WorkerSettings(
        s3_endpoint="127.0.0.1:1", s3_access_key="k", s3_secret_key="s", s3_bucket="bucket", scratch_dir=tmp_path
    )
    trainer: Any = _Trainer()
    begin: Any = _Attempt
    catalogue = load_catalogue(settings.catalogue)
    worker = Worker(settings, catalogue, engine=PretendedEngine(catalogue, 0), trainer=trainer, begin=begin)
    running = asyncio.create_task(worker.run())
    async with within():
        await trainer.idle.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert trainer.warm == ["", "baseModels/fiveshot-tiny"]
    assert all("baseModels/fiveshot-tiny" in asked for asked in trainer.asked)


async def test_it_ends_when_it_has_idled_for_as_long_as_the_settings_say(tmp_path: Path) -> None:
    settings = WorkerSettings(
        s3_endpoint="127.0.0.1:1", s3_access_key="k", s3_secret_key="s", s3_bucket="bucket", scratch_dir=tmp_path,
        idle_exit_seconds=1e-9, probe=False,
    )  # fmt: skip
    trainer = _Emptying()
    begin: Any = _Attempt
    catalogue = load_catalogue(settings.catalogue)
    engine = PretendedEngine(catalogue, 0)
    worker = Worker(settings, catalogue, engine=engine, trainer=cast(Any, trainer), begin=begin)
    async with within():
        await worker.run()
    # It asked again after the job that was there.
    assert trainer.asked == 2


class _Emptying:
    """Gives out one job, then says that there is none."""

    def __init__(self) -> None:
        self.asked = 0

    async def acquire(
        self, base_models: list[str], *, warm: str, wait_s: float, drew: bool = False
    ) -> Assignment | NoJob:
        self.asked += 1
        return Assignment(JOB, "t", 1, "p/", ()) if self.asked == 1 else NoJob()


class _Idle:
    """Never gives out a job. idle: set when it was asked twice."""

    def __init__(self) -> None:
        self.asked = 0
        self.idle = asyncio.Event()

    async def acquire(self, base_models: list[str], *, warm: str, wait_s: float, drew: bool = False) -> NoJob:
        self.asked += 1
        if self.asked > 1:
            self.idle.set()
            await asyncio.Event().wait()
        return NoJob()


async def test_an_idle_worker_keeps_nothing_of_photos_beyond_its_days(tmp_path: Path) -> None:
    settings = WorkerSettings(
        s3_endpoint="127.0.0.1:1", s3_access_key="k", s3_secret_key="s", s3_bucket="bucket", scratch_dir=tmp_path,
        latent_cache_days=2, probe=False,
    )  # fmt: skip
    old, new = (tmp_path / "latents" / "aa" / name for name in ("old", "new"))
    for path, days in ((old, 3), (new, 1)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"latents")
        read_at = time.time() - days * 24 * 3600
        os.utime(path, (read_at, read_at))
    trainer, catalogue = _Idle(), load_catalogue(settings.catalogue)
    engine = PretendedEngine(catalogue, 0)
    running = asyncio.create_task(Worker(settings, catalogue, engine=engine, trainer=cast(Any, trainer)).run())
    async with within():
        await trainer.idle.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (old.exists(), new.exists()) == (False, True)
