"""The engine's callbacks as the event loop sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import (
    Command,
    EpochResult,
    Evaluation,
    Hooks,
    Notice,
    PhaseProgress,
    Recommendation,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.recipe.phases import Phase
from services.trainer.worker import training
from services.trainer.worker.delivery import kept
from services.trainer.worker.training import Finished, Stalled, TrainingThread
from tests.fixtures.patience import scaled, turns

Engine = Callable[[TrainJobSpec, Hooks], TrainResult]
DONE = TrainResult(RunStatus.COMPLETED, 2, None, None)


@pytest.fixture
def make() -> Callable[[Engine], tuple[TrainingThread, list[Finished]]]:
    """A thread that runs this engine, and what it finished."""

    def build(engine: Engine) -> tuple[TrainingThread, list[Finished]]:
        finished: list[Finished] = []
        spec: Any = None
        return TrainingThread(spec, finished.append, train=engine), finished

    return build


def _step(number: int) -> StepMetrics:
    return StepMetrics(number, 2, 1, 0.5 / number, 1e-4, 8.0, 3.0)


async def test_steps_become_progress_and_points_that_are_taken_once(make: Any) -> None:
    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        hooks.on_phase(PhaseProgress(Phase.LOADING, 0, 1))
        hooks.on_step(_step(1))
        hooks.on_step(_step(2))
        hooks.on_base_previews(())
        return DONE

    thread, finished = make(engine)
    assert await thread.run(stall_s=scaled(30)) == DONE
    report = thread.take_report()
    assert report.running
    assert (report.progress.step, report.progress.loss, report.progress.phase) == (2, 0.25, "training")
    assert [(point.step, point.value) for point in report.metrics if point.key == "loss"] == [(1, 0.5), (2, 0.25)]
    assert thread.take_report().metrics == ()
    await turns(1)
    assert finished == [()]


async def test_a_run_that_goes_back_takes_its_later_points_back(make: Any) -> None:
    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        hooks.on_step(_step(1))
        hooks.on_step(_step(2))
        hooks.on_notice(Notice("It went back.", back_to_step=1))
        hooks.on_step(_step(2))
        hooks.on_notice(Notice("It goes on."))
        return DONE

    thread, _ = make(engine)
    await thread.run(stall_s=scaled(30))
    report = thread.take_report()
    assert (report.notices, report.back_to_step) == (("It went back.", "It goes on."), 1)
    assert [point.step for point in report.metrics if point.key == "loss"] == [1, 2]
    after = thread.take_report()
    assert (after.notices, after.back_to_step) == ((), None)


async def test_a_phase_tells_how_far_it_is(make: Any) -> None:
    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        hooks.on_phase(PhaseProgress(Phase.ENCODING, 3, 8))
        return DONE

    thread, _ = make(engine)
    await thread.run(stall_s=scaled(30))
    report = thread.take_report()
    assert (report.progress.phase, report.running) == ("caching latents 3/8", False)


async def test_the_time_left_goes_on_falling_while_an_epoch_ends(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    told = []

    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        hooks.on_step(_step(2))
        for done in range(3):
            now[0] += 2.0
            hooks.on_phase(PhaseProgress(Phase.PREVIEWS, done, 3))
            told.append(thread.take_report().progress.eta_seconds)
        return DONE

    thread, _ = make(engine)
    await thread.run(stall_s=scaled(30))
    assert told == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("in_phase", [True, False])
async def test_letting_go_ends_a_step_and_a_long_phase(make: Any, in_phase: bool) -> None:
    began = threading.Event()

    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        while True:
            began.set()
            if in_phase:
                hooks.on_phase(PhaseProgress(Phase.ENCODING, 1, 8))
            elif hooks.control() is Command.CANCEL:
                return TrainResult(RunStatus.CANCELLED, 1, None, None)

    thread, _ = make(engine)
    run = asyncio.create_task(thread.run(stall_s=scaled(30)))
    await asyncio.to_thread(began.wait)
    thread.let_go()
    assert (await run).status is RunStatus.CANCELLED


async def test_stopping_is_said_at_the_next_step(make: Any) -> None:
    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        while hooks.control() is not Command.STOP:
            pass
        return TrainResult(RunStatus.STOPPED, 1, None, None)

    thread, _ = make(engine)
    run = asyncio.create_task(thread.run(stall_s=scaled(30)))
    await turns(1)
    thread.stop_after_epoch()
    assert (await run).status is RunStatus.STOPPED


async def test_an_error_of_the_engine_comes_through(make: Any) -> None:
    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        raise EngineError("LOSS_NOT_FINITE", "The loss is not a number.", "Lower the learning rate.")

    thread, _ = make(engine)
    with pytest.raises(EngineError):
        await thread.run(stall_s=scaled(30))


async def test_an_engine_that_hangs_is_noticed(make: Any) -> None:
    release = threading.Event()

    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        hooks.on_step(_step(1))
        release.wait(30)
        return DONE

    thread, _ = make(engine)
    try:
        with pytest.raises(Stalled):
            await thread.run(stall_s=0.2)
    finally:
        release.set()


def test_a_thread_that_outlives_its_loop_ends_quietly(make: Any) -> None:
    release = threading.Event()

    def engine(spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        release.wait(30)
        return DONE

    async def abandon() -> None:
        thread, _ = make(engine)
        with pytest.raises(Stalled):
            await thread.run(stall_s=0.01)

    asyncio.run(abandon())
    release.set()
    for thread in threading.enumerate():
        if thread.name == "training":
            thread.join(30)  # an exception in it would be a warning, and warnings are errors


def test_what_waits_for_its_delivery_survives_the_end_of_the_next_epoch(tmp_path: Path) -> None:
    checkpoint, sheet, newer = tmp_path / "checkpoint", tmp_path / "contact_sheet.png", tmp_path / "newer.png"
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text("{}")
    sheet.write_bytes(b"one epoch")
    result = EpochResult(
        1, 10, 0.5, (), (), checkpoint, Evaluation(0.1, 0.2, None, None, 0.0, 0.0), 0.0, Recommendation(1, ""), sheet
    )
    waiting = kept(result, tmp_path / "kept")
    (checkpoint / "state.json").unlink()
    newer.write_bytes(b"two epochs")
    newer.replace(sheet)
    assert (waiting.checkpoint_dir / "state.json").read_text() == "{}"
    assert waiting.contact_sheet.read_bytes() == b"one epoch"
