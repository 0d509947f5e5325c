"""Cancel, pause, resume, stop, retry and extend, as a user asks for them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from services.trainer.models.job import JobState, Outcome
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.steering import JobSteering, SteeringRequest
from tests.unit.trainer.jobs import NOW
from tests.unit.trainer.verbs import MODEL, NO_KEY, Verbs, order


@pytest.fixture
def verbs() -> Verbs:
    return Verbs()


async def _events(verbs: Verbs, name: str) -> int:
    return len(await verbs.store.events(name, after=0, limit=99))


async def test_a_waiting_job_leaves_the_queue_and_comes_back_at_its_end(verbs: Verbs) -> None:
    job, other = await verbs.create(), await verbs.create()
    assert (await verbs.steering.pause(order(job))).state is JobState.PAUSED
    verbs.now += timedelta(minutes=5)
    resumed = await verbs.steering.resume(order(job))
    assert (resumed.state, resumed.queued_at) == (JobState.QUEUED, verbs.now)
    assert (await verbs.take()).name == other.name
    assert await _events(verbs, job.name) == 3


async def test_a_job_at_work_moves_by_way_of_its_worker(verbs: Verbs) -> None:
    job = await verbs.create()
    await verbs.take()
    await verbs.train(job.name, step=3)
    assert (await verbs.steering.pause(order(job))).state is JobState.PAUSING
    assert (await verbs.end(job.name, Outcome.PAUSED)).state is JobState.PAUSED
    await verbs.steering.resume(order(job))
    await verbs.take()
    assert (await verbs.steering.cancel(order(job))).state is JobState.CANCELLING
    ended = await verbs.end(job.name, Outcome.CANCELLED)
    assert (ended.state, ended.end_time, ended.lease) == (JobState.CANCELLED, NOW, None)


async def test_a_stopped_job_succeeds_with_the_epochs_that_it_has(verbs: Verbs) -> None:
    job = await verbs.create()
    await verbs.take()
    assert (await verbs.steering.stop(order(job))).state is JobState.STOPPING
    await verbs.finish_epoch(job.name, 1)
    ended = await verbs.end(job.name)
    assert (ended.state, ended.epochs_completed) == (JobState.SUCCEEDED, 1)


async def test_asking_twice_moves_once(verbs: Verbs) -> None:
    job = await verbs.create()
    first = await verbs.steering.cancel(order(job))
    verbs.now += timedelta(minutes=1)
    assert await verbs.steering.cancel(order(job)) == first
    assert await _events(verbs, job.name) == 2


async def test_a_repeated_request_does_nothing_even_when_the_job_has_moved_on(verbs: Verbs) -> None:
    job = await verbs.create()
    await verbs.steering.pause(order(job, request_id="r-1"))
    resumed = await verbs.steering.resume(order(job))
    assert await verbs.steering.pause(order(job, request_id="r-1")) == resumed
    with pytest.raises(InvalidArgument) as reused:
        await verbs.steering.pause(order(job, request_id="r-1", digest="another question"))
    assert reused.value.reason == "REQUEST_ID_REUSED"
    assert (await verbs.store.get(job.name)).state is JobState.QUEUED


async def test_a_job_that_changed_since_it_was_read_is_left_alone(verbs: Verbs) -> None:
    job = await verbs.create()
    paused = await verbs.steering.pause(order(job, etag=job.etag))
    with pytest.raises(Aborted) as mismatch:
        await verbs.steering.cancel(order(job, etag=job.etag))
    assert mismatch.value.reason == "ETAG_MISMATCH"
    assert await verbs.store.get(job.name) == paused
    assert (await verbs.steering.cancel(order(job, etag=paused.etag))).state is JobState.CANCELLED


@pytest.mark.parametrize("verb", ["pause", "resume", "stop", "cancel", "retry"])
async def test_what_a_succeeded_job_does_not_allow_is_refused_with_what_it_does(verbs: Verbs, verb: str) -> None:
    job = await verbs.finished()
    before = await _events(verbs, job.name)
    with pytest.raises(FailedPrecondition) as refused:
        await getattr(verbs.steering, verb)(order(job))
    assert refused.value.reason == "JOB_STATE"
    assert "extend" in refused.value.remedy.lower()
    assert await verbs.store.get(job.name) == job
    assert await _events(verbs, job.name) == before


async def test_a_cancelled_job_is_retried_from_its_last_epoch(verbs: Verbs) -> None:
    job = await verbs.create()
    await verbs.take()
    await verbs.finish_epoch(job.name, 1)
    await verbs.steering.cancel(order(job))
    await verbs.end(job.name, Outcome.CANCELLED)
    again = await verbs.steering.retry(order(job))
    assert (again.state, again.progress.step, again.end_time) == (JobState.QUEUED, 5, None)


async def test_a_finished_job_is_extended_up_to_what_its_base_model_allows(verbs: Verbs) -> None:
    job = await verbs.finished()
    maximum = next(int(spec.maximum or 0) for spec in MODEL.specs if spec.name == "num_epochs")
    with pytest.raises(InvalidArgument) as refused:
        await verbs.steering.extend(order(job), maximum - 1)
    assert (refused.value.field, refused.value.reason) == ("additional_epochs", "PARAMETER_INVALID")
    assert f"at most {maximum - 2}" in refused.value.remedy
    extended = await verbs.steering.extend(order(job), maximum - 2)
    assert (extended.state, extended.parameters.num_epochs, extended.epochs_completed) == (
        JobState.QUEUED, maximum, 2,
    )  # fmt: skip


async def test_a_base_model_that_is_gone_cannot_be_extended(verbs: Verbs) -> None:
    job = await verbs.finished()
    steering = JobSteering(verbs.store, BaseModels({}), clock=verbs.clock)
    with pytest.raises(FailedPrecondition) as refused:
        await steering.extend(order(job), 1)
    assert refused.value.reason == "BASE_MODEL_NOT_FOUND"
    assert await verbs.store.get(job.name) == job


async def test_an_unknown_job_is_not_found(verbs: Verbs) -> None:
    with pytest.raises(NotFound) as missing:
        await verbs.steering.cancel(SteeringRequest("projects/acme/trainingJobs/none", "", NO_KEY))
    assert missing.value.field == "name"
