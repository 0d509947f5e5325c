"""What jobs left behind, found and removed by its lifetime, the same in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from services.chassis.errors import NotFound
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.epoch import Epoch
from services.trainer.models.job import JobError, JobState, Outcome, TrainingJob
from services.trainer.models.lifetimes import Found, Kind, Leftover, Lifetimes
from services.trainer.ports import Deletions, JobStore, Leftovers
from services.trainer.use_cases.cleaning import CleanUp
from services.trainer.use_cases.deleting import JobDeleting
from tests.contract.trainer_jobs.steps import ASK, LEASE, NO_KEY, take
from tests.unit.trainer.jobs import NOW, make_epoch, make_job
from tests.unit.trainer.verbs import FakeArtifacts

DAY = timedelta(days=1)
KEPT = Lifetimes(epochs=30 * DAY, unsuccessful_jobs=90 * DAY, successful_jobs=365 * DAY)


class Scene:
    """A store with its clean-up, and a clock that only the test moves."""

    def __init__(
        self, store: JobStore, deletions: Deletions, leftovers: Leftovers, lifetimes: Lifetimes = KEPT
    ) -> None:
        self.store, self.now = store, NOW
        self.counted: list[Found] = []
        self.told: list[tuple[str, int]] = []
        deleting = JobDeleting(deletions, FakeArtifacts(), clock=self.clock)
        self.clean_up = CleanUp(
            leftovers,
            deleting,
            lifetimes,
            clock=self.clock,
            pause_s=1,
            count=self.counted.extend,
            tell=lambda project, found: self.told.append((project, sum(one.count for one in found))),
        )

    def clock(self) -> datetime:
        return self.now

    async def job(self, name: str, outcome: Outcome | None, *, project: str = "acme", recommended: int = 2) -> str:
        """A job of three epochs that ended so, or that goes on."""
        job = make_job(f"projects/{project}/trainingJobs/{name}")
        await self.store.create(moves.create(job), NO_KEY)
        held = await self.store.acquire(ASK, take)
        assert held is not None
        token = held.attempts[-1].token
        for number in (1, 2, 3):
            epoch = make_epoch(number, job=job.name)
            await self.store.change(job.name, partial(self._reported, epoch=epoch, recommended=recommended))
        if outcome is Outcome.CANCELLED:
            await self.store.change(job.name, lambda found: moves.cancel(found, NOW))
        if outcome is not None:
            error = JobError("BROKEN", "It broke.", "Mend it.") if outcome is Outcome.FAILED else None
            await self.store.change(
                job.name,
                lambda found: worker_moves.complete(
                    found, token=token, outcome=outcome, error=error, now=NOW, max_failures=1
                ),
            )
        return job.name

    @staticmethod
    def _reported(job: TrainingJob, *, epoch: Epoch, recommended: int) -> Change:
        return worker_moves.report_epoch(
            job,
            epoch,
            token=job.attempts[-1].token,
            recommended_epoch=recommended,
            recommendation_reason="",
            now=NOW,
            lease=LEASE,
        )

    async def left(self, job: str) -> list[int]:
        """The epochs that the job has."""
        return [epoch.number for epoch in await self.store.epochs(job) if epoch.number]


@pytest.fixture
def scene(store: JobStore, deletions: Deletions, leftovers: Leftovers) -> Scene:
    return Scene(store, deletions, leftovers)


def _counts(found: Sequence[Found]) -> dict[Kind, int]:
    return {one.kind: one.count for one in found}


async def test_epochs_go_first_then_what_did_not_succeed_and_last_the_recommended_one(scene: Scene) -> None:
    won, lost = await scene.job("won", Outcome.SUCCEEDED), await scene.job("lost", Outcome.FAILED)
    given_up, works = await scene.job("given-up", Outcome.CANCELLED), await scene.job("works", None)
    scene.now = NOW + 30 * DAY - timedelta(seconds=1)
    assert await scene.clean_up.round() == 0
    scene.now = NOW + 30 * DAY
    assert await scene.clean_up.round() == 3
    assert [await scene.left(job) for job in (won, lost, given_up, works)] == [[2, 3], [2, 3], [2, 3], [1, 2, 3]]
    scene.now = NOW + 90 * DAY
    assert await scene.clean_up.round() == 2
    assert (await scene.store.get(won)).epochs_completed == 3
    scene.now = NOW + 365 * DAY
    assert await scene.clean_up.round() == 1
    assert (await scene.store.get(works)).epochs_completed == 3
    assert scene.told == [("acme", 3), ("acme", 2), ("acme", 1)]
    assert sum(one.count for one in scene.counted) == 6


async def test_a_report_counts_what_would_go_and_leaves_it(scene: Scene) -> None:
    won = await scene.job("won", Outcome.SUCCEEDED)
    await scene.job("lost", Outcome.FAILED)
    await scene.job("others", Outcome.SUCCEEDED, project="other")
    scene.now = NOW + 100 * DAY
    found = await scene.clean_up.project("acme", older_than=None, validate_only=True)
    assert found == [
        Found(Kind.EPOCHS, 30 * DAY, 1, 3, NOW),
        Found(Kind.UNSUCCESSFUL_JOBS, 90 * DAY, 1, 9, NOW),
        Found(Kind.SUCCESSFUL_JOBS, 365 * DAY),
    ]
    assert await scene.left(won) == [1, 2, 3]
    assert not scene.counted
    assert _counts(await scene.clean_up.project("acme", older_than=None, validate_only=False)) == _counts(found)
    assert await scene.left(won) == [2, 3]
    assert await scene.left("projects/other/trainingJobs/others") == [1, 2, 3]


async def test_a_shorter_lifetime_spares_what_succeeded(scene: Scene) -> None:
    won, lost = await scene.job("won", Outcome.SUCCEEDED), await scene.job("lost", Outcome.FAILED)
    scene.now = NOW + DAY
    found = await scene.clean_up.project("acme", older_than=timedelta(), validate_only=False)
    assert _counts(found) == {Kind.EPOCHS: 1, Kind.UNSUCCESSFUL_JOBS: 1, Kind.SUCCESSFUL_JOBS: 0}
    assert await scene.left(won) == [2, 3]
    with pytest.raises(NotFound):
        await scene.store.get(lost)


class _Overtaken:
    """Leftovers of which each job is extended between the search and the delete."""

    def __init__(self, leftovers: Leftovers, store: JobStore) -> None:
        self._leftovers, self._store = leftovers, store

    async def due(self, lifetimes: Lifetimes, now: datetime, *, project: str = "") -> AsyncIterator[Leftover]:
        async for leftover in self._leftovers.due(lifetimes, now, project=project):
            await self._store.change(
                leftover.job, lambda job: moves.extend(job, replace(job.parameters, num_epochs=5), now)
            )
            yield leftover


async def test_a_job_that_goes_on_meanwhile_keeps_everything(
    store: JobStore, deletions: Deletions, leftovers: Leftovers
) -> None:
    scene = Scene(store, deletions, _Overtaken(leftovers, store))
    name = await scene.job("won", Outcome.SUCCEEDED)
    scene.now = NOW + 400 * DAY
    assert await scene.clean_up.round() == 0
    assert await scene.left(name) == [1, 2, 3]
    assert scene.told == []


def test_nothing_goes_without_a_lifetime() -> None:
    job = make_job(state=JobState.FAILED, end_time=NOW)
    assert not Lifetimes().job_is_due(job, NOW + 9999 * DAY)
    assert not Lifetimes().epoch_is_due(job, 1, NOW + 9999 * DAY)
