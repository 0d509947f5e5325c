"""Buckets and exact step counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.recipe.buckets import bucket_shapes, lost_share, nearest_shape, plan_buckets
from services.trainer.recipe.parameter_spec import InvalidParameter
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.recipe.plan import PictureSize, count_steps, plan_job


@pytest.mark.parametrize(
    ("sizes", "batch", "accumulation", "epochs", "steps"),
    [
        ([10], 4, 1, 1, 3),
        ([10, 1], 4, 1, 2, 8),
        ([5, 5], 5, 2, 3, 3),
        ([5, 6], 5, 2, 3, 6),
        ([1], 64, 64, 1, 1),
    ],
)
def test_steps_keep_small_last_batches(
    sizes: list[int], batch: int, accumulation: int, epochs: int, steps: int
) -> None:
    assert count_steps(sizes, batch, accumulation, epochs).total_steps == steps


@pytest.mark.parametrize("arguments", [([], 1, 1, 1), ([0], 1, 1, 1), ([1], 0, 1, 1), ([1], 1, 0, 1), ([1], 1, 1, 0)])
def test_counts_below_one_are_refused(arguments: tuple[list[int], int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        count_steps(*arguments)


@given(st.integers(64, 1536), st.sampled_from([16, 32, 64]))
def test_no_bucket_is_larger_than_the_square(resolution: int, multiple: int) -> None:
    shapes = bucket_shapes(resolution, multiple)
    side = resolution // multiple * multiple
    assert shapes[0] == (side, side)
    assert all(w % multiple == 0 and h % multiple == 0 and w * h <= resolution * resolution for w, h in shapes)
    assert all((h, w) in shapes for w, h in shapes)


def test_a_picture_goes_to_the_bucket_that_cuts_least() -> None:
    shapes = bucket_shapes(512, 64)
    assert nearest_shape(3000, 3000, shapes) == (512, 512)
    width, height = nearest_shape(4032, 3024, shapes)
    assert width > height
    assert lost_share(4032, 3024, (width, height)) < 0.1
    assert lost_share(200, 100, (100, 100)) == pytest.approx(0.5)


def test_buckets_hold_every_picture_once_with_its_own_repeats() -> None:
    buckets = plan_buckets(
        [(100, 100), (200, 100), (100, 100)], [2, 3, 5], resolution=64, multiple=16, aspect_buckets=True
    )
    assert sorted(item for bucket in buckets for item in bucket.items) == [0, 1, 2]
    assert sum(bucket.size for bucket in buckets) == 10
    squares = plan_buckets([(100, 100), (200, 100)], [1, 1], resolution=64, multiple=16, aspect_buckets=False)
    assert [(bucket.width, bucket.height) for bucket in squares] == [(64, 64)]


def test_a_plan_counts_repeats_crops_and_the_held_out_picture() -> None:
    parameters = resolve(DEFAULT_SPECS, {"resolution": 64, "num_repeats": 3, "batch_size": 2, "num_epochs": 4})
    few = plan_job([PictureSize(64, 64), PictureSize(64, 64, repeats=5)], parameters, 16)
    assert few.held_out == ()
    assert (few.steps.samples_per_epoch, few.steps.steps_per_epoch, few.steps.total_steps) == (18, 9, 36)
    wide = plan_job([PictureSize(200, 100, crop=(0.0, 0.0, 0.5, 1.0))], parameters, 16)
    assert (wide.buckets[0].width, wide.buckets[0].height) == (64, 64)
    many = plan_job([PictureSize(64, 64)] * 8, parameters, 16)
    assert many.held_out == (7,)
    assert many.steps.samples_per_epoch == 21
    assert 7 not in many.buckets[0].items


def test_a_resolution_that_the_model_cannot_take_is_refused_by_name() -> None:
    with pytest.raises(InvalidParameter) as caught:
        plan_job([PictureSize(64, 64)], resolve(DEFAULT_SPECS, {"resolution": 32}), 64)
    assert caught.value.field == "resolution"
