"""Deletes over a store in memory, while the object store is away."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import pytest

from services.chassis.errors import FailedPrecondition, NotFound, Unavailable
from services.trainer.models.deleting import check_epoch_delete, check_job_delete
from services.trainer.models.epoch import EpochFile
from services.trainer.models.job import TERMINAL, JobState
from services.trainer.use_cases.deleting import JobDeleting
from tests.fakes.job_store import FakeDeletions
from tests.unit.trainer.jobs import make_epoch, make_job
from tests.unit.trainer.verbs import FakeArtifacts, Verbs


class _AwayArtifacts(FakeArtifacts):
    async def delete(self, files: Sequence[EpochFile]) -> None:
        raise Unavailable("The object store does not answer", reason="STORAGE_UNAVAILABLE")

    async def sweep(self, job: str, attempt: int, *, keep: Collection[str], older_than: datetime) -> int:
        raise Unavailable("The object store does not answer", reason="STORAGE_UNAVAILABLE")


async def test_a_delete_that_is_done_stays_done_when_the_files_cannot_be_reached() -> None:
    verbs = Verbs()
    job = await verbs.finished()
    deleting = JobDeleting(FakeDeletions(verbs.store), _AwayArtifacts(), clock=verbs.clock)
    await deleting.epoch(job.name, 1, etag="")
    assert [epoch.number for epoch in await verbs.store.epochs(job.name) if epoch.number] == [2]
    await deleting.job(job.name, etag=job.etag, force=True)
    with pytest.raises(NotFound):
        await verbs.store.get(job.name)


@pytest.mark.parametrize("state", list(JobState))
def test_only_a_job_that_has_ended_may_go(state: JobState) -> None:
    job = make_job(state=state)
    if state in TERMINAL:
        check_job_delete(job, epochs=0, etag=job.etag, force=False)
        return
    with pytest.raises(FailedPrecondition) as refused:
        check_job_delete(job, epochs=0, etag="", force=True)
    assert (refused.value.reason, refused.value.metadata["state"]) == ("JOB_STATE", state.value)


@pytest.mark.parametrize(("number", "reason"), [(1, None), (2, "EPOCH_PINNED"), (3, "EPOCH_PINNED")])
def test_the_newest_and_the_recommended_epoch_are_pinned(number: int, reason: str | None) -> None:
    job = make_job(epochs_completed=3, recommended_epoch=2)
    if reason is None:
        check_epoch_delete(job, make_epoch(number), etag="")
        return
    with pytest.raises(FailedPrecondition) as refused:
        check_epoch_delete(job, make_epoch(number), etag="")
    assert refused.value.reason == reason
