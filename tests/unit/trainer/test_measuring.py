"""What a run takes: the clock's parts, and probes that make way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.trainer.engine.job import PhaseProgress, RunStatus, TrainJobSpec, TrainResult
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.phases import Phase
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.planning import Planner
from services.trainer.worker import probing
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.probing import Probes, probe_spec
from tests.fakes.measurements import FakeMeasurements
from tests.fixtures.patience import within
from tests.unit.trainer.measured import MODEL, NAME, NOW, measurement, parameters


class _Time:
    """A clock that is told how much time passes."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_belongs_to_what_was_at_work() -> None:
    time = _Time()
    clock = RunClock(time)

    def after(seconds: float, name: str, done: int = 0) -> None:
        time.now += seconds
        clock.phase(PhaseProgress(Phase(name), done, 3))

    def step(seconds: float) -> None:
        time.now += seconds
        clock.step()

    after(0.5, "loading base model")
    after(4.0, "caching latents")
    after(1.0, "caching latents", 1)
    after(2.0, "sampling the base model", 1)
    after(2.0, "measuring the base model")
    after(3.0, "adding the adapter")
    for seconds in (1.5, 1.0, 1.0):
        step(seconds)
    after(6.0, "sampling previews", 1)
    after(6.0, "evaluating")
    after(2.5, "writing files")
    after(0.25, "saving a checkpoint")
    time.now += 0.25
    clock.epoch()
    step(1.0)
    assert clock.seconds == {
        "start": 0.5 + 4.0 + 1.5,
        "encoding": 1.0,
        "sampling": 2.0 + 2.0 + 6.0 + 6.0,
        "evaluation": 3.0 + 2.5,
        "training": 1.0 + 1.0 + 1.0,
        "epoch end": 0.5,
    }
    # The first step warms up and is none of these three.
    assert (clock.steps, clock.epochs) == (3, 1)


def test_a_probe_is_short_and_keeps_the_models_own_settings(tmp_path: Path) -> None:
    spec = probe_spec(MODEL, 8, tmp_path, "cpu")
    assert sum(item.repeats or 0 for item in spec.items) == probing.STEPS * 8
    assert (spec.parameters.num_epochs, spec.parameters.preview_steps) == (1, probing.PREVIEW_STEPS)
    assert spec.parameters.target_modules == parameters().target_modules
    assert all(item.image_path.is_file() for item in spec.items)


class _Thread:
    """An engine that trains until it is told to let go."""

    started: list[TrainJobSpec]
    running: asyncio.Event

    def __init__(self, spec: TrainJobSpec, _: object, *, train: object) -> None:
        self.started.append(spec)
        self._let_go = asyncio.Event()
        self.clock = RunClock()

    async def run(self, *, stall_s: float) -> TrainResult:
        self.running.set()
        await self._let_go.wait()
        return TrainResult(RunStatus.CANCELLED, 0, None, None)

    def let_go(self) -> None:
        self._let_go.set()


async def test_a_probe_makes_way_for_a_job_and_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _Thread.started, _Thread.running = [], asyncio.Event()
    monkeypatch.setattr(probing, "TrainingThread", _Thread)
    reported: list[Measurement] = []
    trainer: Any = type("Trainer", (), {"report_measurement": reported.append})()
    probes = Probes({MODEL.id: MODEL}, trainer, tmp_path / "probe", "cpu", "cpu 1 threads", 60.0)
    probes.begin([NAME])
    probes.begin([NAME])
    async with within():
        await _Thread.running.wait()
        await probes.stop()
    assert len(_Thread.started) == 1
    assert reported == []
    assert not (tmp_path / "probe").exists()
    probes.begin([NAME])
    await probes.stop()
    assert len(_Thread.started) == 1


async def test_only_base_models_that_were_counted_are_kept_and_asked_for() -> None:
    kept = FakeMeasurements()
    nothing: Any = None
    catalogue = {MODEL.id: MODEL, "uncounted": replace(MODEL, id="uncounted", costs=None)}
    planner = Planner(BaseModels(catalogue), nothing, min_images=1)
    estimator = JobEstimator(nothing, kept, planner, catalogue, clock=lambda: NOW)
    await estimator.learn(measurement(parameters(), base_model="baseModels/uncounted"))
    assert list(await kept.read(None, 10)) == []
    names = [NAME, "baseModels/uncounted"]
    assert list(await estimator.unmeasured("cpu 2 threads", names)) == [NAME]
    await estimator.learn(measurement(parameters()))
    assert list(await estimator.unmeasured("cpu 2 threads", names)) == []
