"""How many optimizer steps a job takes: the one function behind the estimate, the progress bar and the loop.

The rule is the one of sd-scripts: a bucket's pictures enter ``repeats`` times, its last batch may be smaller and is
kept, and an epoch ends with a step even when fewer forward passes than ``gradient_accumulation_steps`` are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Samples, forward passes and optimizer steps of a job."""

    samples_per_epoch: int
    batches_per_epoch: int
    steps_per_epoch: int
    num_epochs: int

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.num_epochs

    @property
    def total_samples(self) -> int:
        return self.samples_per_epoch * self.num_epochs


def count_steps(bucket_sizes: Sequence[int], batch_size: int, accumulation: int, epochs: int) -> StepPlan:
    """Exact counts from the samples of each bucket (the sum of its pictures' repeats), a batch holding one bucket only.

    Raises:
        ValueError: when a count is below 1 or no bucket has a sample.
    """
    if batch_size < 1 or accumulation < 1 or epochs < 1:
        raise ValueError("batch size, accumulation and epochs must be at least 1")
    if any(size < 1 for size in bucket_sizes) or not bucket_sizes:
        raise ValueError("every bucket must hold at least one sample")
    batches = sum(_ceil(size, batch_size) for size in bucket_sizes)
    return StepPlan(sum(bucket_sizes), batches, _ceil(batches, accumulation), epochs)


def _ceil(count: int, size: int) -> int:
    return -(-count // size)
