"""The run from top to bottom: prepare, then epochs of steps; after each epoch its files, previews and evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from services.trainer.engine.acceleration import uncompiled
from services.trainer.engine.batches import ForwardPass, draw_pass, epoch_steps
from services.trainer.engine.epoch_end import finish_epoch, recommended, write_checkpoint
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import (
    Command,
    Hooks,
    Recommendation,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.engine.optimizers import set_mode
from services.trainer.engine.out_of_memory import out_of_memory_named
from services.trainer.engine.passes import draw_inputs
from services.trainer.engine.precision import autocast, choose_device, reproducible
from services.trainer.engine.preparation import Run, prepare
from services.trainer.engine.processes import Processes, joined_processes
from services.trainer.engine.warm import Warm
from services.trainer.recipe.advice import after_out_of_memory
from services.trainer.recipe.parameters import TrainingParameters

READ_LOSS_EVERY_S = 0.25
"""Reading a loss waits for the accelerator, so it is done a few times a second instead of at every step."""


def train(spec: TrainJobSpec, hooks: Hooks | None = None, warm: Warm | None = None) -> TrainResult:
    """Train one job to its end, or until ``hooks.control`` says otherwise. Blocks; call it from a thread of its own.

    The same spec gives bitwise the same files on the same machine, also when the run was paused or died in between and
    is resumed from its last checkpoint.

    Args:
        warm: what an earlier job of this process has left loaded, and this one leaves; None loads and lets go.

    Raises:
        EngineError: with a reason for the user; finished epochs keep their files.
    """
    with (
        out_of_memory_named(after_out_of_memory(spec.parameters)),
        _reproducible(spec),
        nullcontext(warm) if warm is not None else closing(Warm()) as loaded,
        joined_processes(spec, loaded.helpers) as processes,
    ):
        return _train(spec, hooks or Hooks(), processes, loaded)


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


def _reproducible(spec: TrainJobSpec) -> AbstractContextManager[None]:
    wanted = spec.acceleration is None or spec.acceleration.reproducible
    return reproducible(choose_device(spec.device)) if wanted else nullcontext()


def _train_epochs(run: Run) -> TrainResult:
    place, hooks = run.place, run.hooks
    meter = _Meter(run)
    checkpoint = run.spec.resume_from
    # Of a run that goes on, all epochs count: also when none of them is left to train.
    finished = place.epoch >= run.spec.parameters.num_epochs
    recommendation = recommended(run, finished=finished) if run.evaluations else None
    stopping = False
    set_mode(run.state.optimizer, training=True)
    while place.epoch < run.spec.parameters.num_epochs and not stopping:
        steps = epoch_steps(run.plan.buckets, run.spec.parameters, place.epoch)
        began = time.monotonic()
        for step in steps[place.step_in_epoch :]:
            loss, samples = _train_step(run, step)
            place.step += 1
            place.step_in_epoch += 1
            meter.add(loss, samples)
            match run.processes.agree(hooks.control()):
                case Command.CANCEL:
                    return _result(run, RunStatus.CANCELLED, checkpoint, recommendation)
                case Command.PAUSE:
                    meter.read()
                    place.picture_losses.append(run.picture_losses.counted(run.processes))
                    checkpoint = write_checkpoint(run, f"step-{place.step:06d}") if run.processes.is_main else None
                    return _result(run, RunStatus.PAUSED, checkpoint, recommendation)
                case Command.STOP:
                    stopping = True
        meter.read()
        trained = time.monotonic() - began
        place.epoch, place.step_in_epoch = place.epoch + 1, 0
        place.picture_losses.append(run.picture_losses.counted(run.processes))
        run.picture_losses.start()
        if run.processes.is_main:
            with meter.paused(), run.processes.alone(), uncompiled(run.acceleration):
                result = replace(finish_epoch(run, place.epoch), train_seconds=trained)
            checkpoint, recommendation = result.checkpoint_dir, result.recommendation
            hooks.on_epoch(result)
        run.processes.wait_for_all()
    early = place.epoch < run.spec.parameters.num_epochs
    return _result(run, RunStatus.STOPPED if early else RunStatus.COMPLETED, checkpoint, recommendation)


def _result(run: Run, status: RunStatus, checkpoint: Path | None, recommendation: Recommendation | None) -> TrainResult:
    return TrainResult(status, run.place.step, checkpoint, recommendation, tuple(run.evaluations))


def _train_step(run: Run, passes: Sequence[ForwardPass]) -> tuple[Tensor, int]:
    """One optimizer step; returns its loss, still on the device, and the samples it saw."""
    parameters, state, step = run.spec.parameters, run.state, run.place.step
    drawn = [
        draw_pass(
            forward,
            run.latents[forward.bucket],
            run.captions,
            run.regularization_captions,
            parameters,
            step,
            position,
        )
        for position, forward in enumerate(passes)
    ]
    samples = sum(len(one.rows) for one in drawn)
    total = torch.zeros((), device=run.family.device)
    for position, one in enumerate(drawn):
        with autocast(run.family.device, parameters.mixed_precision):
            inputs = draw_inputs(
                one, run.latents[one.bucket], run.conditioner, parameters, run.processes, step, position, samples
            )
        if inputs is not None:
            total += run.step.accumulate(inputs)
            share = run.processes.share(len(one.rows))
            run.picture_losses.add(one.pictures[share], inputs.level, run.step.sample_losses)
    run.processes.add_up_gradients(list(state.weights.values()))
    run.step.update()
    state.schedule.step()
    run.average.update(step + 1)
    return run.processes.add_up(total), samples


@dataclass(slots=True)
class _Waiting:
    """A step whose loss is still on the device."""

    loss: Tensor
    step: int
    epoch: int
    learning_rate: float | Tensor


class _Meter:
    """Losses, speed and the time left."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: list[_Waiting] = []
        self._read_at = time.monotonic()
        self._started = time.monotonic()
        self._first_step = run.place.step
        self._samples = 0
        self._epoch_end_seconds = 0.0
        self._epoch_ends = 0

    def add(self, loss: Tensor, samples: int) -> None:
        """Note a step; call after ``place`` counts it."""
        self._samples += samples
        place = self._run.place
        rate = self._run.state.optimizer.param_groups[0]["lr"]
        rate = rate.clone() if isinstance(rate, Tensor) else rate
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
        elapsed = max(1e-6, self._read_at - self._started - self._epoch_end_seconds)
        per_step = elapsed / (waiting[-1].step - self._first_step)
        per_epoch_end = self._epoch_end_seconds / max(1, self._epoch_ends)
        for one, loss in zip(waiting, losses, strict=True):
            if not math.isfinite(loss):
                raise _not_finite(one, self._run.spec.parameters)
            self._run.place.losses.append(loss)
            epochs_left = plan.num_epochs - (one.step - 1) // plan.steps_per_epoch
            left = (total - one.step) * per_step + epochs_left * per_epoch_end
            self._run.hooks.on_step(
                StepMetrics(one.step, total, one.epoch, loss, float(one.learning_rate), self._samples / elapsed, left)
            )

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


def _not_finite(step: _Waiting, parameters: TrainingParameters) -> EngineError:
    remedy = f"Lower the learning rate, for example to {parameters.learning_rate / 5:.1e}."
    if parameters.mixed_precision == "fp16":
        remedy = "Use mixed precision bf16 instead of fp16. " + remedy
    return EngineError("LOSS_NOT_FINITE", f"The loss at step {step.step} is not a number.", remedy)
