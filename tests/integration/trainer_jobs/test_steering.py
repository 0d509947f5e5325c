"""Moves that are repeated, and moves of a job that has changed since it was read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument
from tests.fixtures.trainer import StartTrainer, Trainer

Job = training_job_pb2.TrainingJob
VERBS = ("Cancel", "Pause", "Resume", "Stop", "Retry", "Extend")


async def _move(trainer: Trainer, verb: str, name: str, **fields: Any) -> Job:
    if verb == "Extend":
        fields.setdefault("additional_epochs", 1)
    request = getattr(training_service_pb2, f"{verb}TrainingJobRequest")(name=name, **fields)
    answer: Job = await getattr(trainer.stub, f"{verb}TrainingJob")(request, timeout=30)
    return answer


async def _in_state_for(trainer: Trainer, project: str, verb: str) -> Job:
    """A job that allows the verb."""
    job = await trainer.create(project)
    if verb == "Resume":
        return await _move(trainer, "Pause", job.name)
    if verb == "Retry":
        return await _move(trainer, "Cancel", job.name)
    if verb in ("Stop", "Extend"):
        worker = trainer.worker()
        held = await worker.acquire()
        assert held is not None
        await worker.heartbeat(held, step=1)
        if verb == "Extend":
            await worker.work(held)
    return await trainer.get(job.name)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_repeated_move_moves_once_and_another_body_under_its_id_is_refused(
    start_trainer: StartTrainer, database_url: str, project: str, verb: str
) -> None:
    async with start_trainer(database_url) as trainer:
        job = await _in_state_for(trainer, project, verb)
        calls = [_move(trainer, verb, job.name, request_id="m-1", etag=job.etag) for _ in range(3)]
        answers = await asyncio.gather(*calls)
        assert len({answer.etag for answer in answers} - {job.etag}) == 1
        assert answers[0].parameters.num_epochs == (3 if verb == "Extend" else 2)
        # The answer came late: the job has moved on, and still nothing is done a second time.
        await _move(trainer, "Retry" if verb == "Cancel" else "Cancel", job.name)
        moved = await trainer.get(job.name)
        assert (await _move(trainer, verb, job.name, request_id="m-1", etag=job.etag)).state == moved.state
        assert (await trainer.get(job.name)).etag == moved.etag
        with pytest.raises(InvalidArgument) as refused:
            await _move(trainer, verb, job.name, request_id="m-1")
        assert (refused.value.reason, refused.value.field) == ("REQUEST_ID_REUSED", "request_id")


@pytest.mark.parametrize("verb", VERBS)
async def test_a_job_that_has_moved_since_it_was_read_is_left_alone(trainer: Trainer, project: str, verb: str) -> None:
    job = await _in_state_for(trainer, project, verb)
    with pytest.raises(Aborted) as refused:
        await _move(trainer, verb, job.name, etag="0" * 16, request_id="m-1")
    assert (refused.value.reason, refused.value.field) == ("ETAG_MISMATCH", "etag")
    assert (await trainer.get(job.name)).etag == job.etag
    # A refused call is not remembered.
    assert (await _move(trainer, verb, job.name, etag=job.etag, request_id="m-1-again")).etag != job.etag


async def test_progress_leaves_the_etag_alone(trainer: Trainer, project: str) -> None:
    job = await _in_state_for(trainer, project, "Stop")
    worker = trainer.worker()
    await trainer.create(project)
    held = await worker.acquire()
    assert held is not None
    await worker.heartbeat(held, step=1)
    before = (await trainer.get(held.job.name)).etag
    await worker.heartbeat(held, step=2)
    assert (await trainer.get(held.job.name)).etag == before != job.etag


@pytest.mark.parametrize(
    ("prepared", "verb", "allowed"),
    [
        ("Pause", "Resume", "pause, cancel"),
        ("Pause", "Stop", "pause, cancel"),
        ("Stop", "Resume", "pause, cancel, stop"),
        ("Resume", "Retry", "pause, resume, cancel"),
        ("Retry", "Pause", "cancel, retry"),
        ("Extend", "Cancel", "extend"),
    ],
)
async def test_an_illegal_move_names_the_state_and_what_is_allowed(
    trainer: Trainer, project: str, prepared: str, verb: str, allowed: str
) -> None:
    job = await _in_state_for(trainer, project, prepared)
    with pytest.raises(FailedPrecondition) as refused:
        await _move(trainer, verb, job.name)
    state = Job.State.Name(job.state).removeprefix("STATE_")
    assert refused.value.reason == "JOB_STATE"
    assert refused.value.metadata == {"state": state, "allowed": allowed}
    assert state in refused.value.message
    assert allowed in refused.value.remedy
