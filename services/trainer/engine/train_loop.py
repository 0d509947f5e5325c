"""The run from top to bottom: prepare, then epochs of steps; after each epoch its files, previews and evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from services.trainer.engine.acceleration import uncompiled
from services.trainer.engine.batches import epoch_steps
from services.trainer.engine.devices import free_unused_memory
from services.trainer.engine.drawing import draw_now
from services.trainer.engine.epoch_end import finish_epoch, recommended, write_checkpoint
from services.trainer.engine.job import (
    Command,
    Hooks,
    Recommendation,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.engine.not_finite import NotFinite, all_finite
from services.trainer.engine.optimizer_step import train_step
from services.trainer.engine.optimizers import set_mode
from services.trainer.engine.out_of_memory import out_of_memory_named
from services.trainer.engine.precision import choose_device, reproducible
from services.trainer.engine.preparation import Run, prepare
from services.trainer.engine.processes import Processes, joined_processes
from services.trainer.engine.warm import Warm
from services.trainer.recipe.advice import after_out_of_memory

READ_LOSS_EVERY_S = 0.25
"""Reading a loss waits for the accelerator, so it is done a few times a second instead of at every step."""


def train(spec: TrainJobSpec, hooks: Hooks | None = None, warm: Warm | None = None) -> TrainResult:
    """Train one job to its end, or until ``hooks.control`` says otherwise. Blocks; call it from a thread of its own.

    The same spec gives bitwise the same files on the same machine, also when the run was paused or died in between and
    is resumed from its last checkpoint. A loss that is not a number sends the run back to its last checkpoint, once,
    at half the learning rate.

    Args:
        warm: what an earlier job of this process has left loaded, and this one leaves; None loads and lets go.

    Raises:
        EngineError: with a reason for the user; finished epochs keep their files.
    """
    hooks = hooks or Hooks()
    with (
        _reproducible(spec),
        nullcontext(warm) if warm is not None else closing(Warm()) as loaded,
    ):
        while True:
            try:
                with joined_processes(spec, loaded.helpers) as processes, out_of_memory_named(_less(spec, processes)):
                    return _train(spec, hooks, processes, loaded)
            except NotFinite as failure:
                if failure.final:
                    raise failure.named(spec.parameters) from None
                spec, notice = failure.slower(spec)
            # Only here has the run, with the model that it holds, gone out of reach.
            free_unused_memory()
            hooks.on_notice(notice)
            hooks = replace(hooks, on_base_previews=lambda _: None)


def train_share(spec: TrainJobSpec, processes: Processes, warm: Warm) -> None:
    """The part of a helper process: the same steps as the main one, on its share of each batch."""
    _train(spec, Hooks(), processes, warm)


def _train(spec: TrainJobSpec, hooks: Hooks, processes: Processes, warm: Warm) -> TrainResult:
    run = prepare(spec, hooks, processes, warm)
    processes.meet()
    result = _train_epochs(run)
    if not run.acceleration.compiled:
        warm.give_back(run.family, run.carriers)
    return result


def _less(spec: TrainJobSpec, processes: Processes) -> str:
    """What helps against too little memory. A process that is alone has computed its batches in parts by then."""
    return after_out_of_memory(spec.parameters, spec.offers, batches=processes.count > 1)


def _reproducible(spec: TrainJobSpec) -> AbstractContextManager[None]:
    wanted = spec.acceleration is None or spec.acceleration.reproducible
    return reproducible(choose_device(spec.device)) if wanted else nullcontext()


def _train_epochs(run: Run) -> TrainResult:
    place, hooks = run.place, run.hooks
    meter = _Meter(run)
    # Of a run that goes on, all epochs count: also when none of them is left to train.
    finished = place.epoch >= run.spec.parameters.num_epochs
    recommendation = recommended(run, finished=finished) if run.evaluations else None
    stopping = False
    set_mode(run.state.optimizer, training=True)
    while place.epoch < run.spec.parameters.num_epochs and not stopping:
        steps = epoch_steps(run.plan.buckets, run.spec.parameters, place.epoch)
        began = time.monotonic()
        for step in steps[place.step_in_epoch :]:
            rate = meter.rate()
            loss, samples = train_step(run, step)
            place.step += 1
            place.step_in_epoch += 1
            meter.add(loss, samples, rate)
            match run.processes.agree(hooks.control()):
                case Command.CANCEL:
                    return _result(run, RunStatus.CANCELLED, recommendation)
                case Command.PAUSE:
                    meter.read_all()
                    place.picture_losses.append(run.picture_losses.counted(run.processes))
                    if run.processes.is_main:
                        write_checkpoint(run, f"step-{place.step:06d}")
                    return _result(run, RunStatus.PAUSED, recommendation)
                case Command.STOP:
                    stopping = meter.stopping = True
                case Command.DRAW:
                    if run.processes.is_main:
                        with meter.aside(), run.processes.alone():
                            draw_now(run)
                    run.processes.wait_for_all()
        meter.read_all()
        trained = time.monotonic() - began - meter.take_aside()
        place.epoch, place.step_in_epoch = place.epoch + 1, 0
        place.picture_losses.append(run.picture_losses.counted(run.processes))
        run.picture_losses.start()
        if run.processes.is_main:
            with meter.paused(), run.processes.alone(), uncompiled(run.acceleration):
                last = stopping or place.epoch >= run.spec.parameters.num_epochs
                result = replace(finish_epoch(run, place.epoch, last=last), train_seconds=trained)
            recommendation = result.recommendation
            hooks.on_epoch(result)
        run.processes.wait_for_all()
    early = place.epoch < run.spec.parameters.num_epochs
    return _result(run, RunStatus.STOPPED if early else RunStatus.COMPLETED, recommendation)


def _result(run: Run, status: RunStatus, recommendation: Recommendation | None) -> TrainResult:
    return TrainResult(status, run.place.step, run.checkpoint, recommendation, tuple(run.evaluations))


@dataclass(slots=True)
class _Waiting:
    """A step whose loss is still on the device."""

    loss: Tensor
    step: int
    epoch: int
    learning_rate: float | Tensor


class _Meter:
    """Losses, speed and the time left. stopping: the epoch at hand is the last."""

    def __init__(self, run: Run) -> None:
        self.stopping = False
        self._run = run
        self._waiting: list[_Waiting] = []
        self._read_at = time.monotonic()
        self._started = time.monotonic()
        self._first_step = run.place.step
        self._samples = 0
        self._epoch_end_seconds = 0.0
        self._epoch_ends = 0
        self._aside_seconds = 0.0
        self._aside_of_epoch = 0.0

    def rate(self) -> float | Tensor:
        """The learning rate of the step that comes; afterwards the schedule has moved on to the next one's."""
        rate: float | Tensor = self._run.state.optimizer.param_groups[0]["lr"]
        return rate.clone() if isinstance(rate, Tensor) else rate

    def add(self, loss: Tensor, samples: int, rate: float | Tensor) -> None:
        """Note a step; call after ``place`` counts it."""
        self._samples += samples
        place = self._run.place
        self._waiting.append(_Waiting(loss, place.step, place.epoch + 1, rate))
        if time.monotonic() - self._read_at >= READ_LOSS_EVERY_S:
            self.read()

    def read(self) -> None:
        """Fetch the waiting losses, report them, and stop the run if one is not a number."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = torch.stack([one.loss for one in waiting]).tolist()
        self._read_at = time.monotonic()
        plan, total = self._run.plan.steps, self._run.plan.steps.total_steps
        elapsed = max(1e-6, self._read_at - self._started - self._epoch_end_seconds - self._aside_seconds)
        per_step = elapsed / (waiting[-1].step - self._first_step)
        per_epoch_end = self._epoch_end_seconds / self._epoch_ends if self._epoch_ends else self._run.base_seconds
        for one, loss in zip(waiting, losses, strict=True):
            # Helpers have the same loss; one that ended first would look like a process that died.
            if self._run.processes.is_main and not math.isfinite(loss):
                raise self._not_finite(one.step)
            self._run.place.losses.append(loss)
            done = (one.step - 1) // plan.steps_per_epoch
            epochs = done + 1 if self.stopping else plan.num_epochs
            left = (epochs * plan.steps_per_epoch - one.step) * per_step + (epochs - done) * per_epoch_end
            self._run.hooks.on_step(
                StepMetrics(one.step, total, one.epoch, loss, float(one.learning_rate), self._samples / elapsed, left)
            )

    def read_all(self) -> None:
        """The same before a checkpoint, which must not hold what the last step spoiled."""
        self.read()
        if self._run.processes.is_main and not all_finite(list(self._run.state.weights.values())):
            raise self._not_finite(self._run.place.step, weight=True)

    def _not_finite(self, step: int, *, weight: bool = False) -> NotFinite:
        run = self._run
        return NotFinite(step, run.place, run.checkpoint, run.checkpoint_step, weight=weight)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time that belongs neither to the steps nor to the end of an epoch."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._aside_of_epoch += time.monotonic() - started
            self._aside_seconds += time.monotonic() - started

    def take_aside(self) -> float:
        """Seconds aside since the last call."""
        taken, self._aside_of_epoch = self._aside_of_epoch, 0.0
        return taken

    def paused(self) -> _EpochEnd:
        """Time that the end of an epoch takes; it counts for the time left but not for the speed."""
        return _EpochEnd(self)

    def add_epoch_end(self, seconds: float) -> None:
        self._epoch_end_seconds += seconds
        self._epoch_ends += 1


class _EpochEnd:
    def __init__(self, meter: _Meter) -> None:
        self._meter = meter

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._meter.add_epoch_end(time.monotonic() - self._started)
