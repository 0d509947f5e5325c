"""Background work: jobs whose worker fell silent go back to the queue, old events of progress and orphan objects go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from services.chassis.errors import NotFound
from services.chassis.patience import every
from services.trainer.models import moves
from services.trainer.models.change import Change
from services.trainer.models.epoch import Epoch
from services.trainer.models.job import TrainingJob
from services.trainer.ports import Artifacts, History, JobStore, Workforce
from services.trainer.ports.base_models import BaseModelStore
from services.trainer.ports.previews import PreviewStore
from services.trainer.use_cases.tending import BATCH, Tending

WORKERS_KEPT = timedelta(days=1)
"""In a cluster every worker has a name of its own, and no other worker will ever have it."""


class Reaper(Tending):
    """Requeues jobs whose lease ran out."""

    def __init__(self, store: JobStore, *, clock: Callable[[], datetime], lease: timedelta, max_losses: int) -> None:
        super().__init__(clock=clock, lease=lease, what="reaping")
        self._store = store
        self._max_losses = max_losses

    async def _due(self, now: datetime) -> Sequence[str]:
        return await self._store.expired(now, BATCH)

    async def _tend(self, name: str, now: datetime) -> None:
        await self._store.change(name, self._expire)

    def _expire(self, job: TrainingJob) -> Change:
        return moves.expire(job, self._clock(), max_losses=self._max_losses)


class Thinner:
    """Removes the events of the progress of jobs that ended some time ago: their points say the same, and they are most
    of the log. What changed a job's state or finished an epoch stays for ever. Old request ids, times of old attempts
    and workers that are gone are forgotten as well."""

    def __init__(
        self,
        history: History,
        *,
        clock: Callable[[], datetime],
        pause_s: float,
        age: timedelta,
        remember: timedelta,
        usage: timedelta = timedelta(days=400),
        workforce: Workforce,
    ) -> None:
        self._workforce = workforce
        self._usage = usage
        self._history = history
        self._clock = clock
        self._pause_s = pause_s
        self._age = age
        self._remember = remember

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await every(self._pause_s, self._round, what="thinning")

    async def _round(self) -> None:
        await self.thin()
        await self._history.forget_requests(self._clock() - self._remember)
        await self._history.forget_usage(self._clock() - self._usage)
        await self._workforce.forget(self._clock() - WORKERS_KEPT)

    async def thin(self) -> int:
        """One round; returns how many jobs it thinned out."""
        total = 0
        while done := await self._history.thin(self._clock() - self._age):
            total += done
        return total


class Sweeper:
    """Removes objects of ended attempts that no epoch refers to: files of epochs that were never reported, and
    checkpoints that a later one has replaced. Pictures of preview requests go once their request is gone, parts of base
    models once nothing names them."""

    def __init__(
        self,
        store: JobStore,
        artifacts: Artifacts,
        previews: PreviewStore,
        base_models: BaseModelStore | None = None,
        *,
        clock: Callable[[], datetime],
        pause_s: float,
        age: timedelta,
    ) -> None:
        self._store = store
        self._base_models = base_models
        self._previews = previews
        self._artifacts = artifacts
        self._clock = clock
        self._pause_s = pause_s
        self._age = age

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await every(self._pause_s, self.sweep, what="sweeping")

    async def sweep(self) -> int:
        """Looks once and returns how many objects were removed."""
        removed = 0
        async for name, number in self._artifacts.attempts():
            try:
                if "/previewRequests/" in name:
                    await self._previews.get(name)
                    continue
                if "/baseModels/" in name:
                    if self._base_models is not None:
                        parts = (await self._base_models.get(name)).parts
                        removed += await self._remove(name, number, {part.object_key for part in parts})
                    continue
                job = await self._store.get(name)
            except NotFound:
                removed += await self._remove(name, number, set())
                continue
            running = job.lease is not None and job.attempts[-1].number == number
            if not running:
                removed += await self._remove(name, number, await self._referred(job))
        return removed

    async def _remove(self, name: str, number: int, keep: set[str]) -> int:
        return await self._artifacts.sweep(name, number, keep=keep, older_than=self._clock() - self._age)

    async def _referred(self, job: TrainingJob) -> set[str]:
        """Keys that the job's epochs refer to; of the checkpoints only the last one is ever resumed from."""
        epochs: list[Epoch] = list(await self._store.epochs(job.name))
        keys = {file.object_key for epoch in epochs for file in epoch.files}
        return keys | {file.object_key for epoch in epochs[-1:] for file in epoch.checkpoint}
