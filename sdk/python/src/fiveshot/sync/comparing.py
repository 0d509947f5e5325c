# Made of fiveshot/aio/comparing.py by tools/sync_client.py; change that file.
"""Training jobs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fiveshot.sync.training import TrainingJob
from fiveshot.trainer.v1 import training_job_pb2

_FIELDS = ("base_model", "dataset_version", "initial_lora")


def _shares(job: TrainingJob) -> tuple[tuple[str, float, bool], ...]:
    return tuple((each.dataset_version, each.weight, each.regularization) for each in job.message.datasets)


@dataclass(frozen=True)
class Comparison:
    """What differs. differences: by name of the field or parameter, a value for each job, in their order.

    losses: of each job, as (step, loss).
    """

    jobs: tuple[TrainingJob, ...]
    differences: dict[str, tuple[Any, ...]]
    losses: tuple[list[tuple[int, float]], ...]


def compare(jobs: Sequence[TrainingJob], *, points: int = 2000) -> Comparison:
    """Base model, dataset version, earlier LoRA and every parameter in which jobs differ, and their losses.

    points: of each loss at most, about; longer ones are thinned out.
    """
    found: dict[str, tuple[Any, ...]] = {
        name: tuple(getattr(job.message, name) for job in jobs) for name in _FIELDS
    }  # fmt: skip
    found["datasets"] = tuple(_shares(job) for job in jobs)
    for parameter in training_job_pb2.TrainingParameters.DESCRIPTOR.fields:
        values = [getattr(job.message.parameters, parameter.name) for job in jobs]
        found[parameter.name] = tuple(tuple(each) if parameter.is_repeated else each for each in values)
    losses = []
    for job in jobs:
        measured = job.metrics("loss", stride=max(1, job.total_steps // points))
        losses.append([(point.step, point.value) for point in measured])
    differing = {name: values for name, values in found.items() if len(set(values)) > 1}
    return Comparison(tuple(jobs), differing, tuple(losses))
