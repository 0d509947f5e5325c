"""Crowds in their full size: 350 uploads of 4 MB, a thousand watches, slow readers and slow writers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fiveshot.trainer.v1 import training_service_pb2 as tr

from tests.fakes import pictures
from tests.fixtures.attacked_stack import AttackedStack, attacked_stack
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
from tests.fixtures.patience import scaled, until

MIB = 1024 * 1024
MANY = 1000
POD_MIB = 1536
"""The limit of the dataset service's pod."""


@pytest.fixture(scope="module")
def stack() -> Iterator[AttackedStack]:
    with attacked_stack() as running:
        yield running


@pytest.mark.timeout(scaled(900))
async def test_350_uploads_at_once_stay_within_the_pod(stack: AttackedStack) -> None:
    found = await uploads_at_once(stack, 350, 4 * MIB)
    print("\n350 uploads:", dict(found), stack.memory_mib())
    assert set(found) - {UNSEEN} == {"OK", "BYTES_IN_FLIGHT"}
    assert stack.memory_mib()["dataset"] < POD_MIB
    await works_for_others(stack)


@pytest.mark.timeout(scaled(900))
async def test_a_thousand_watches_all_hear_of_the_end(stack: AttackedStack) -> None:
    async with stack.caller(stack.keys["editor"]) as caller:
        job = await queued_job(caller)
        before = stack.memory_mib()
        async with open_watches(stack, job, MANY) as watches:
            print("\n1,000 watches:", before, stack.memory_mib())
            await works_for_others(stack)
            await caller.call(caller.trainer.CancelTrainingJob, tr.CancelTrainingJobRequest(name=job))
            await until(lambda: watches.ended == MANY, limit_s=120, what="every watch to end")


@pytest.mark.timeout(scaled(900))
async def test_many_slow_readers_and_writers_leave_room_for_others(stack: AttackedStack) -> None:
    async with stack.caller(stack.keys["editor"]) as caller:
        dataset = await new_set(caller)
        image = await caller.upload(pictures.heavy_png(4 * MIB), parent=dataset, file_name="a.png")
    before = stack.memory_mib()
    async with half_requests(stack, head(stack, "GET", f"/v1/{image.name}:download"), MANY):
        await works_for_others(stack)
        during = stack.memory_mib()
        print("\n1,000 slow readers:", before, during)
        assert during["dataset"] < POD_MIB
    writes = head(stack, "POST", f"/v1/{dataset}/images:upload?file_name=a.png", 4 * MIB) + pictures.png()[:60]
    async with half_requests(stack, writes, MANY):
        await works_for_others(stack)
        print("\n1,000 slow writers:", stack.memory_mib())
