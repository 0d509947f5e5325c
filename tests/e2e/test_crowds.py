"""Crowds at the gateway of a whole stack, in the size that takes seconds: tests/attack has the long forms."""

from __future__ import annotations

import socket

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.trainer.v1 import training_service_pb2 as tr

from tests.fakes import pictures
from tests.fixtures.attacked_stack import AttackedStack
from tests.fixtures.crowds import (
    UNSEEN,
    half_requests,
    head,
    new_set,
    open_watches,
    queued_job,
    uploads_at_once,
    works_for_others,
)
from tests.fixtures.patience import until

MIB = 1024 * 1024
SLOW = 40
WATCHES = 200


@pytest.fixture
def stack(attacked: AttackedStack) -> AttackedStack:
    return attacked


async def test_a_burst_of_uploads_is_taken_as_far_as_it_fits_and_told_when_to_come_again(stack: AttackedStack) -> None:
    found = await uploads_at_once(stack, 60, 2 * MIB)
    assert set(found) - {UNSEEN} == {"OK", "BYTES_IN_FLIGHT"}
    await works_for_others(stack)


async def test_many_watches_of_one_job_all_hear_of_its_end(stack: AttackedStack) -> None:
    async with stack.caller(stack.keys["editor"]) as caller:
        job = await queued_job(caller)
        async with open_watches(stack, job, WATCHES) as watches:
            await works_for_others(stack)
            await caller.call(caller.trainer.CancelTrainingJob, tr.CancelTrainingJobRequest(name=job))
            await until(lambda: watches.ended == WATCHES, what="every watch to end")


async def test_slow_readers_hold_no_more_than_their_buffers(stack: AttackedStack) -> None:
    async with stack.caller(stack.keys["editor"]) as caller:
        dataset = await new_set(caller)
        image = await caller.upload(pictures.heavy_png(4 * MIB), parent=dataset, file_name="a.png")
        before = stack.memory_mib()
        async with half_requests(stack, head(stack, "GET", f"/v1/{image.name}:download"), SLOW) as lines:
            await until(lambda: _all_answered(lines), what="every download to begin")
            await works_for_others(stack)
            during = stack.memory_mib()
        # All of what they asked for would be 160 MiB in each of both.
        grown = {name: during[name] - before[name] for name in ("dataset", "envoy")}
        assert max(grown.values()) < 100, grown
        await caller.call(caller.dataset.DeleteDataset, ds.DeleteDatasetRequest(name=dataset, force=True))


async def test_slow_writers_keep_nobody_else_from_writing(stack: AttackedStack) -> None:
    async with stack.caller(stack.keys["editor"]) as caller:
        dataset = await new_set(caller)
    bodies = (
        head(stack, "POST", "/v1/projects/attacked/datasets", 4000) + b'{"dataset":',
        head(stack, "POST", f"/v1/{dataset}/images:upload?file_name=a.png", 4 * MIB) + pictures.png()[:60],
        head(stack, "POST", "/v1/projects/attacked/datasets")[:-20],
    )
    for sent in bodies:
        async with half_requests(stack, sent, SLOW):
            await works_for_others(stack)


def _all_answered(lines: list[socket.socket]) -> bool:
    """Whether each has its answer's first byte, which stays unread."""
    for line in lines:
        try:
            line.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
    return True
