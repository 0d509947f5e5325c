"""What a worker asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fiveshot.trainer.v1 import training_job_pb2

from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.worker import runner
from services.trainer.worker.settings import WorkerSettings
from services.trainer.worker.wire import Assignment

JOB = training_job_pb2.TrainingJob(name="projects/acme/trainingJobs/job-1", base_model="baseModels/fiveshot-tiny")


class _Trainer:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.warm: list[str] = []

    async def acquire(self, base_models: list[str], *, warm: str, wait_s: float) -> None:
        self.asked.append(tuple(base_models))
        self.warm.append(warm)


class _Attempt:
    """Done at once."""

    def __init__(self, *_: Any) -> None:
        pass

    async def run(self) -> None:
        return None


async def test_it_asks_for_what_it_can_load_and_prefers_the_model_that_it_worked_with_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = WorkerSettings(
        s3_endpoint="127.0.0.1:1", s3_access_key="k", s3_secret_key="s", s3_bucket="bucket", scratch_dir=tmp_path
    )
    worker = runner.Worker(settings, load_catalogue(settings.catalogue))
    trainer: Any = _Trainer()
    monkeypatch.setattr(worker, "_trainer", trainer)
    monkeypatch.setattr(runner, "Attempt", _Attempt)
    await worker._next()
    await worker._work_on(Assignment(JOB, "t", 1, "p/", ()))
    await worker._next()
    assert trainer.warm == ["", "baseModels/fiveshot-tiny"]
    assert all("baseModels/fiveshot-tiny" in asked for asked in trainer.asked)
