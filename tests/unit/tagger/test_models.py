from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.chassis.errors import FailedPrecondition
from services.tagger.models.jobs import (
    ImageOutcome,
    ImageState,
    JobState,
    TagJob,
    cancelled,
    completed,
    given_up,
    retried,
)
from services.tagger.models.tags import TagOptions

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ENDED = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
ACTIVE = [JobState.QUEUED, JobState.RUNNING]


def job(state: JobState, *images: ImageState) -> TagJob:
    outcomes = tuple(ImageOutcome(f"i{number}", image) for number, image in enumerate(images))
    return TagJob("projects/p/tagJobs/t", "projects/p/datasets/d", TagOptions(), NOW, state, outcomes=outcomes)


def states(of: TagJob) -> list[str]:
    return [outcome.state.value for outcome in of.outcomes]


def test_every_state_has_ended_or_goes_on() -> None:
    assert [state for state in JobState if state.ended] == ENDED
    assert [state for state in JobState if not state.ended] == ACTIVE


@pytest.mark.parametrize("state", ACTIVE)
def test_cancel_leaves_what_is_pending_and_keeps_the_rest(state: JobState) -> None:
    after = cancelled(job(state, ImageState.TAGGED, ImageState.PENDING, ImageState.FAILED), NOW)
    assert (after.state, after.ended_at) == (JobState.CANCELLED, NOW)
    assert states(after) == ["tagged", "left", "failed"]


@pytest.mark.parametrize("state", ENDED)
def test_what_has_ended_cannot_be_cancelled(state: JobState) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        cancelled(job(state, ImageState.TAGGED), NOW)
    assert caught.value.metadata == {"state": state.value}
    assert caught.value.remedy


@pytest.mark.parametrize("state", ENDED)
def test_retry_takes_up_the_failed_images_only(state: JobState) -> None:
    before = replace(
        job(state, ImageState.TAGGED, ImageState.FAILED, ImageState.SKIPPED, ImageState.LEFT), error="e", ended_at=NOW
    )
    after = retried(before)
    assert (after.state, after.error, after.ended_at) == (JobState.QUEUED, "", None)
    assert states(after) == ["tagged", "pending", "skipped", "left"]


@pytest.mark.parametrize("state", ACTIVE)
def test_what_goes_on_cannot_be_retried(state: JobState) -> None:
    with pytest.raises(FailedPrecondition):
        retried(job(state, ImageState.FAILED))


def test_a_job_succeeds_unless_every_image_failed() -> None:
    mixed = completed(job(JobState.RUNNING, ImageState.FAILED, ImageState.SKIPPED), NOW)
    assert (mixed.state, mixed.error, mixed.ended_at) == (JobState.SUCCEEDED, "", NOW)
    all_failed = job(JobState.RUNNING, ImageState.FAILED, ImageState.FAILED)
    all_failed = replace(all_failed, outcomes=tuple(replace(o, message="broken") for o in all_failed.outcomes))
    after = completed(all_failed, NOW)
    assert after.state == JobState.FAILED
    assert "broken" in after.error


def test_a_job_that_is_given_up_fails_what_was_pending_so_that_it_can_be_retried() -> None:
    after = given_up(job(JobState.RUNNING, ImageState.TAGGED, ImageState.PENDING), "gone", NOW)
    assert (after.state, after.error, after.ended_at) == (JobState.FAILED, "gone", NOW)
    assert [(outcome.state, outcome.message) for outcome in after.outcomes] == [
        (ImageState.TAGGED, ""),
        (ImageState.FAILED, "gone"),
    ]
    assert states(retried(after)) == ["tagged", "pending"]
