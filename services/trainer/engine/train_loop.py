"""The run from top to bottom: prepare, then epochs of steps; after each epoch its files, previews and evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from services.trainer.engine.acceleration import uncompiled
from services.trainer.engine.batches import DrawnPass, ForwardPass, draw_pass, epoch_steps
from services.trainer.engine.devices import free_unused_memory
from services.trainer.engine.epoch_end import finish_epoch, recommended, write_checkpoint
from services.trainer.engine.errors import is_out_of_memory, out_of_memory_named
from services.trainer.engine.job import (
    Command,
    Hooks,
    Recommendation,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.engine.micro_batches import accumulate, in_parts, parts_of, smaller
from services.trainer.engine.not_finite import NotFinite, all_finite
from services.trainer.engine.optimizers import set_mode
from services.trainer.engine.passes import draw_inputs
from services.trainer.engine.precision import autocast, choose_device, reproducible
from services.trainer.engine.preparation import Run, prepare
from services.trainer.engine.processes import Processes, joined_processes
from services.trainer.engine.step import Step
from services.trainer.engine.warm import Warm
from services.trainer.recipe.advice import after_out_of_memory

READ_LOSS_EVERY_S = 0.25
"""Reading a loss waits for the accelerator, so it is done a few times a second instead of at every step."""


def train(spec: TrainJobSpec, hooks: Hooks | None = None, warm: Warm | None = None) -> TrainResult:
    """Train one job to its end, or until ``hooks.control`` says otherwise. Blocks; call it from a thread of its own.

    The same spec gives bitwise the same files on the same machine, also when the run was paused or died in between and
    is resumed from its last checkpoint.

    Args:
        warm: what an earlier job of this process has left loaded, and this one leaves; None loads and lets go.

    A loss that is not a number sends the run back to its last checkpoint, once, at half the learning rate.

    Raises:
        EngineError: with a reason for the user; finished epochs keep their files.
    """
    hooks = hooks or Hooks()
    with (
        out_of_memory_named(after_out_of_memory(spec.parameters)),
        _reproducible(spec),
        nullcontext(warm) if warm is not None else closing(Warm()) as loaded,
    ):
        while True:
            try:
                with joined_processes(spec, loaded.helpers) as processes:
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
            loss, samples = _train_step(run, step)
            place.step += 1
            place.step_in_epoch += 1
            meter.add(loss, samples)
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
                    stopping = True
        meter.read_all()
        trained = time.monotonic() - began
        place.epoch, place.step_in_epoch = place.epoch + 1, 0
        place.picture_losses.append(run.picture_losses.counted(run.processes))
        run.picture_losses.start()
        if run.processes.is_main:
            with meter.paused(), run.processes.alone(), uncompiled(run.acceleration):
                result = replace(finish_epoch(run, place.epoch), train_seconds=trained)
            recommendation = result.recommendation
            hooks.on_epoch(result)
        run.processes.wait_for_all()
    early = place.epoch < run.spec.parameters.num_epochs
    return _result(run, RunStatus.STOPPED if early else RunStatus.COMPLETED, recommendation)


def _result(run: Run, status: RunStatus, recommendation: Recommendation | None) -> TrainResult:
    return TrainResult(status, run.place.step, run.checkpoint, recommendation, tuple(run.evaluations))


def _train_step(run: Run, passes: Sequence[ForwardPass]) -> tuple[Tensor, int]:
    """One optimizer step; returns its loss, still on the device, and the samples it saw.

    Forward passes that do not fit into memory are done anew in halves of their samples.
    """
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
    counted = 0
    while True:
        try:
            total = torch.zeros((), device=run.family.device)
            for position, one in enumerate(drawn):
                total += _accumulate(run, one, position, samples, counted=position < counted)
                counted = max(counted, position + 1)
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or not _can_be_smaller(run, drawn):
                raise
        # Only here have the tensors of the pass gone out of reach.
        _go_on_smaller(run, drawn)
    run.processes.add_up_gradients(list(state.weights.values()))
    run.step.update()
    state.schedule.step()
    run.average.update(step + 1)
    return run.processes.add_up(total), samples


def _accumulate(run: Run, drawn: DrawnPass, position: int, samples: int, *, counted: bool) -> Tensor:
    """Add one pass to the step; returns its share in the loss. counted: its pictures' losses are."""
    parameters, share = run.spec.parameters, run.processes.share(len(drawn.rows))
    latents = run.latents[drawn.bucket]
    with autocast(run.family.device, parameters.mixed_precision):
        inputs = draw_inputs(
            drawn, latents, run.conditioner, parameters, run.processes, run.place.step, position, samples
        )
        if inputs is None:
            return torch.zeros((), device=run.family.device)
        parts = parts_of(inputs, drawn.captions[share], run.conditioner, run.place.micro_batch)
    loss, losses = accumulate(run.step, parts)
    if not counted:
        run.picture_losses.add(drawn.pictures[share], inputs.level, losses)
    return loss


def _can_be_smaller(run: Run, drawn: Sequence[DrawnPass]) -> bool:
    # Peers would wait in vain for a process that begins its step anew.
    return run.processes.count == 1 and _smaller(run, drawn) is not None


def _smaller(run: Run, drawn: Sequence[DrawnPass]) -> int | None:
    return smaller(run.place.micro_batch, max(len(one.rows) for one in drawn))


def _go_on_smaller(run: Run, drawn: Sequence[DrawnPass]) -> None:
    """Forget what there is of the step; from here on passes are computed in smaller parts, without recordings."""
    micro_batch = _smaller(run, drawn)
    assert micro_batch is not None
    run.step.forget()
    run.step = Step(run.family, run.conditioner, run.spec.parameters, run.state)
    run.place.micro_batch = micro_batch
    free_unused_memory()
    run.hooks.on_notice(in_parts(micro_batch))


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
            # Helpers have the same loss; one that ended first would look like a process that died.
            if self._run.processes.is_main and not math.isfinite(loss):
                raise self._not_finite(one.step)
            self._run.place.losses.append(loss)
            epochs_left = plan.num_epochs - (one.step - 1) // plan.steps_per_epoch
            left = (total - one.step) * per_step + epochs_left * per_epoch_end
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
