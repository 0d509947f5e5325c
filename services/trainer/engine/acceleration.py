"""How a step is computed, as against what: recorded graphs, compiled blocks; chosen by device and length of job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from services.trainer.engine.checkpoints import TrainingState
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.families.base import Family
from services.trainer.engine.fused_lora import fuse_lora
from services.trainer.engine.graph_step import CudaGraphs, RecordedStep, can_be_recorded
from services.trainer.engine.job import Acceleration
from services.trainer.engine.step import Step
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import JobPlan, regularization_share

RECORDING_PAYS_AFTER = 20
"""Steps of a job; a recording takes about as long as a few plain steps."""

COMPILING_PAYS_AFTER = 1500
"""Steps of a job for each kind of forward pass: published compile times of 30 to 90 s against 5 to 20% a step."""

MOST_COMPILED_KINDS = 6
"""The compiler gives a block up after eight kinds of input."""


def choose_acceleration(device: torch.device, plan: JobPlan, parameters: TrainingParameters) -> Acceleration:
    """What suits a job. On a CPU there is nothing to record, and compiling takes longer than most jobs."""
    if device.type != "cuda":
        # Fused LoRA layers gain too little there (see docs/benchmarks.md) to leave PEFT's own arithmetic for them.
        return Acceleration(graphs=False, compiled=False, fused_lora=False)
    steps = plan.steps.total_steps
    kinds = kinds_of_passes(plan, parameters.batch_size, parameters.regularization_fraction)
    return Acceleration(
        graphs=can_be_recorded(parameters) and steps >= RECORDING_PAYS_AFTER,
        compiled=parameters.base_quantization == "none"
        and kinds <= MOST_COMPILED_KINDS
        and steps >= COMPILING_PAYS_AFTER * kinds,
    )


def kinds_of_passes(plan: JobPlan, batch_size: int, regularization_fraction: float) -> int:
    """Different shapes of forward passes: each bucket's full batches and its small last one.

    A share of regularisation pictures that is no whole number in a batch gives each of them a second shape.
    """
    sizes = [batch_size for bucket in plan.buckets if bucket.size >= batch_size]
    sizes += [bucket.size % batch_size for bucket in plan.buckets if bucket.size % batch_size]
    return sum(1 if regularization_share(regularization_fraction, size).denominator == 1 else 2 for size in sizes)


def build_step(
    chosen: Acceleration,
    family: Family,
    conditioner: TextConditioner,
    parameters: TrainingParameters,
    state: TrainingState,
) -> Step:
    """The step of a job, over the state as it is after a resume."""
    denoiser: Any = family.denoiser
    if chosen.fused_lora:
        for component in family.components.values():
            fuse_lora(component)
    if chosen.compiled:
        denoiser.compile_repeated_blocks(dynamic=False)
    if chosen.graphs:
        return RecordedStep(family, conditioner, parameters, state, CudaGraphs(family.device))
    return Step(family, conditioner, parameters, state)


@contextmanager
def uncompiled(chosen: Acceleration) -> Iterator[None]:
    """Previews and evaluation have other shapes than training and are too few to compile for."""
    if not chosen.compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
