"""From pictures and parameters to buckets and exact step counts: estimate, progress bar and train loop all call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.trainer.recipe.buckets import Bucket, Crop, cropped_size, plan_buckets
from services.trainer.recipe.parameters import InvalidParameter, TrainingParameters
from services.trainer.recipe.step_plan import StepPlan, count_steps

PICTURES_FOR_A_HOLD_OUT = 8


@dataclass(frozen=True, slots=True)
class PictureSize:
    """What planning needs of a picture: its upright size in pixels, its crop, and its own repeats if it has any."""

    width: int
    height: int
    crop: Crop | None = None
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class JobPlan:
    """Buckets (items are numbers of pictures), step counts, and the picture kept out of training, if any."""

    buckets: tuple[Bucket, ...]
    steps: StepPlan
    held_out: int | None


def plan_job(pictures: Sequence[PictureSize], parameters: TrainingParameters, pixel_multiple: int) -> JobPlan:
    """Plan a job over at least one picture.

    Args:
        pixel_multiple: of the base model (catalogue), which the sides of every bucket are multiples of.

    Raises:
        InvalidParameter: for a resolution that the base model cannot take.
    """
    held_out = len(pictures) - 1 if parameters.hold_out and len(pictures) >= PICTURES_FOR_A_HOLD_OUT else None
    trained = [number for number in range(len(pictures)) if number != held_out]
    use_crop = not parameters.masked_loss
    sizes = [cropped_size(p.width, p.height, p.crop if use_crop else None) for p in pictures]
    try:
        planned = plan_buckets(
            [sizes[number] for number in trained],
            [pictures[number].repeats or parameters.num_repeats for number in trained],
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
    return JobPlan(buckets, steps, held_out)
