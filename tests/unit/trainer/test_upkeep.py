"""Leases that ran out, and objects that nothing refers to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from services.chassis.errors import NotFound, Unavailable
from services.trainer.models import worker_moves
from services.trainer.models.epoch import Epoch, EpochFile
from services.trainer.models.job import JobState, TrainingJob
from services.trainer.ports import Move
from services.trainer.use_cases.upkeep import Reaper, Sweeper
from tests.fakes.preview_store import FakePreviewStore
from tests.unit.trainer.jobs import NAME, NOW, make_epoch, make_job

LEASE = timedelta(seconds=30)


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class _Store:
    """One job. away: the database does not answer."""

    def __init__(self, job: TrainingJob, epochs: Sequence[Epoch] = ()) -> None:
        self.job = job
        self.away = False
        self._epochs = epochs

    async def expired(self, now: datetime, limit: int) -> list[str]:
        if self.away:
            raise Unavailable("away")
        over = self.job.lease is not None and self.job.lease.expires_at <= now
        return [self.job.name] if over else []

    async def change(self, name: str, move: Move) -> TrainingJob:
        self.job = move(self.job).job
        return self.job

    async def get(self, name: str) -> TrainingJob:
        if name != self.job.name:
            raise NotFound("no such job")
        return self.job

    async def epochs(self, job: str) -> Sequence[Epoch]:
        return self._epochs


class _Artifacts:
    """Attempts with objects, and what was kept of each when it was swept."""

    def __init__(self, attempts: Sequence[tuple[str, int]]) -> None:
        self._attempts = attempts
        self.kept: dict[tuple[str, int], set[str]] = {}
        self.older_than: datetime | None = None

    async def attempts(self) -> AsyncIterator[tuple[str, int]]:
        for attempt in self._attempts:
            yield attempt

    async def delete(self, files: Sequence[EpochFile]) -> None:
        raise NotImplementedError

    async def sweep(self, job: str, attempt: int, *, keep: Collection[str], older_than: datetime) -> int:
        self.kept[(job, attempt)] = set(keep)
        self.older_than = older_than
        return 1


def _held(**changes: Any) -> TrainingJob:
    job = make_job(**changes)
    return worker_moves.acquire(job, worker_id="w", token="t", now=NOW, lease=LEASE).job


async def test_a_silent_worker_loses_its_job_after_the_lease() -> None:
    clock = _Clock()
    store: Any = _Store(_held())
    reaper = Reaper(store, clock=clock, lease=LEASE, max_losses=5)
    clock.advance(29)
    assert await reaper.look() == 0
    clock.advance(1)
    assert await reaper.look() == 1
    assert store.job.state is JobState.QUEUED


async def test_nobody_is_reaped_until_the_process_has_served_for_a_lease() -> None:
    clock = _Clock()
    clock.advance(600)
    store: Any = _Store(_held())
    reaper = Reaper(store, clock=clock, lease=LEASE, max_losses=5)
    clock.advance(29)
    assert await reaper.look() == 0
    clock.advance(1)
    assert await reaper.look() == 1


async def test_an_outage_of_the_database_gives_workers_a_lease_to_come_back() -> None:
    clock = _Clock()
    store: Any = _Store(_held())
    reaper = Reaper(store, clock=clock, lease=LEASE, max_losses=5)
    clock.advance(60)
    store.away = True
    assert await reaper.look() == 0
    store.away = False
    clock.advance(10)
    assert await reaper.look() == 0
    assert store.job.state is JobState.PREPARING
    clock.advance(20)
    assert await reaper.look() == 1


async def test_the_sweeper_keeps_epochs_and_the_last_checkpoint_only() -> None:
    def checkpoint(number: int) -> tuple[EpochFile, ...]:
        return (EpochFile("checkpoint-1", "state", "", 1, "0" * 64, f"c/{number}"),)

    epochs = [replace(make_epoch(number), checkpoint=checkpoint(number)) for number in (1, 2)]
    running = _held()
    ended = replace(running, lease=None, state=JobState.CANCELLED)
    artifacts: Any = _Artifacts([(NAME, 1), ("projects/acme/trainingJobs/gone", 1)])
    store: Any = _Store(ended, epochs)
    sweeper = Sweeper(store, artifacts, FakePreviewStore(), clock=lambda: NOW, pause_s=1, age=timedelta(hours=1))
    assert await sweeper.sweep() == 2
    assert artifacts.kept == {
        (NAME, 1): {"k/1/lora", "k/2/lora", "c/2"},
        ("projects/acme/trainingJobs/gone", 1): set(),
    }
    assert artifacts.older_than == NOW - timedelta(hours=1)


async def test_the_sweeper_leaves_a_running_attempt_alone() -> None:
    running = _held()
    artifacts: Any = _Artifacts([(NAME, 1)])
    store: Any = _Store(running)
    sweeper = Sweeper(store, artifacts, FakePreviewStore(), clock=lambda: NOW, pause_s=1, age=timedelta(0))
    assert await sweeper.sweep() == 0
    assert artifacts.kept == {}
