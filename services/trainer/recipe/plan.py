"""From pictures and parameters to buckets and exact step counts: estimate, progress bar and train loop all call it.

The rule for steps is the one of sd-scripts: a bucket's pictures enter ``repeats`` times, its last batch may be smaller
and is kept, and an epoch ends with a step even when fewer forward passes than ``gradient_accumulation_steps`` are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from services.trainer.recipe.buckets import Bucket, Crop, cropped_size, plan_buckets
from services.trainer.recipe.parameter_spec import InvalidParameter
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.sharing import held_out_pictures, samples_of_each

_HALF = Fraction(1, 2)
_STEPS_A_CYCLE = 2


@dataclass(frozen=True, slots=True)
class PictureSize:
    """What planning needs of a picture.

    Attributes:
        width, height: of the upright original in pixels. A picture that was decoded smaller has rounded sides, whose
            ratio may lead to another bucket.
        crop: the part that is trained, or None for all of it.
        repeats: the picture's own, which the job's ``num_repeats`` multiplies.
        masked: it has a mask, so that a masked loss cuts its crop all the same.
        dataset: number of its dataset, where a job trains several; weight: of that dataset beside the others.
    """

    width: int
    height: int
    crop: Crop | None = None
    repeats: int = 1
    masked: bool = False
    dataset: int = 0
    weight: float = 1.0

    def trained_crop(self, parameters: TrainingParameters) -> Crop | None:
        """The part that is cut out. A masked loss keeps a picture without a mask whole, and weighs the crop."""
        return self.crop if self.masked or not parameters.masked_loss else None


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


@dataclass(frozen=True, slots=True)
class JobPlan:
    """Buckets (items are numbers of pictures), step counts, and the pictures kept out of training.

    own_regularization: the user's own regularisation pictures; 0 where the base model's set is used, or none.
    """

    buckets: tuple[Bucket, ...]
    steps: StepPlan
    held_out: tuple[int, ...]
    own_regularization: int = 0


def plan_job(
    pictures: Sequence[PictureSize],
    parameters: TrainingParameters,
    pixel_multiple: int,
    *,
    own_regularization: int = 0,
) -> JobPlan:
    """Plan a job over at least one picture.

    Args:
        pixel_multiple: of the base model (catalogue), which the sides of every bucket are multiples of.
        own_regularization: regularisation pictures that the user gives.

    Raises:
        InvalidParameter: for a resolution that the base model cannot take.
    """
    samples = samples_of_each(pictures, parameters)
    trained = [number for number, count in enumerate(samples) if count]
    sizes = [cropped_size(p.width, p.height, p.trained_crop(parameters)) for p in pictures]
    try:
        planned = plan_buckets(
            [sizes[number] for number in trained],
            [samples[number] for number in trained],
            resolution=parameters.resolution,
            multiple=pixel_multiple,
            aspect_buckets=parameters.aspect_buckets,
        )
    except ValueError as error:
        raise InvalidParameter("resolution", str(error)) from error
    buckets = tuple(
        Bucket(bucket.width, bucket.height, tuple(trained[item] for item in bucket.items), bucket.repeats)
        for bucket in planned
    )
    steps = count_steps(
        [bucket.size for bucket in buckets],
        parameters.batch_size,
        parameters.gradient_accumulation_steps,
        parameters.num_epochs,
    )
    return JobPlan(buckets, steps, held_out_pictures(pictures, parameters), own_regularization)


def check_cycles(steps: StepPlan, parameters: TrainingParameters) -> None:
    """Refuses restarts that come before the learning rate has fallen: it would be a constant one, or any other.

    Raises:
        InvalidParameter: lr_num_cycles.
    """
    total = steps.total_steps
    falling = total - min(parameters.lr_warmup_steps, total // 2)
    if parameters.lr_scheduler == "cosine_with_restarts" and falling < _STEPS_A_CYCLE * parameters.lr_num_cycles:
        most = max(1, falling // _STEPS_A_CYCLE)
        message = (
            f"must be at most {most}, got {parameters.lr_num_cycles}: the learning rate falls over {falling} steps"
        )
        raise InvalidParameter("lr_num_cycles", f"{message}, and a cycle takes at least {_STEPS_A_CYCLE}")


def regularization_share(fraction: float, samples: int) -> Fraction:
    """Regularisation pictures that a forward pass of so many samples gets on average."""
    return Fraction(fraction).limit_denominator(10_000) * samples


def regularization_pictures(fraction: float, before: int, samples: int) -> int:
    """How many a forward pass of so many samples gets, so that the share holds over any few passes of any sizes.

    Args:
        before: samples of all passes of the job before this one. All passes together have their share, rounded, after
            each of them; any pass is known without the others.
    """
    share = regularization_share(fraction, 1)
    return math.floor((before + samples) * share + _HALF) - math.floor(before * share + _HALF)


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
