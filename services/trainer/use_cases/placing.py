"""Which workers are there, looked at every few seconds, and what that means for a worker or a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from services.trainer.models.job import TrainingJob
from services.trainer.models.placement import Fleet
from services.trainer.ports import WorkerAsk, Workforce

WORKER_MEMORY = timedelta(seconds=150)
"""How long after its last request for a job a worker counts as there; requests wait a minute at most."""

LOOK_AGAIN = timedelta(seconds=5)
"""Workers come and go slowly; every job that is read and every worker that asks needs to know of them."""


class Placing:
    """The kinds of worker that are there."""

    def __init__(
        self, workforce: Workforce, *, clock: Callable[[], datetime], look_again: timedelta = LOOK_AGAIN
    ) -> None:
        self._workforce = workforce
        self._clock = clock
        self._look_again = look_again
        self._fleet = Fleet()
        self._looked_at: datetime | None = None

    async def fleet(self) -> Fleet:
        """Those that are there, as of a few seconds ago."""
        now = self._clock()
        if self._looked_at is None or not timedelta() <= now - self._looked_at < self._look_again:
            # Noted first: of many calls at once one looks, the others take what was known.
            self._looked_at = now
            self._fleet = Fleet(tuple(await self._workforce.kinds(now - WORKER_MEMORY)))
        return self._fleet

    async def asking(self, ask: WorkerAsk) -> WorkerAsk:
        """The worker's request with the room that it has beside the others."""
        return replace(ask, room=(await self.fleet()).room(ask.kind))

    async def why_nowhere(self, job: TrainingJob) -> str:
        """Why no worker that is there can take a job, a sentence; "" when one can, or when none is there."""
        return (await self.fleet()).why_nowhere(job)

    async def why_unchecked(self, candidates: Mapping[str, int]) -> str:
        """Why no worker that is there can check a base model; see `Fleet.why_unchecked`."""
        return (await self.fleet()).why_unchecked(candidates)
