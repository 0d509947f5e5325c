"""CleanUpTrainingJobs, and the same at intervals: what nobody saved goes once its lifetime is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from services.chassis.errors import NotFound
from services.chassis.logging import get_logger
from services.chassis.patience import every
from services.trainer.models.deleting import NotDueError
from services.trainer.models.lifetimes import Found, Kind, Leftover, Lifetimes
from services.trainer.ports import Leftovers
from services.trainer.use_cases.deleting import JobDeleting

log = get_logger(__name__)

Tell = Callable[[str, Sequence[Found]], None]
"""Takes a project and what was removed of it."""


class CleanUp:
    """Removes what is due, by the rules of deletes: rows under the job's lock, then files.

    Several processes may do so at once; each thing is removed and told by one of them. count: hears of all that is
    removed. tell: of what is removed at intervals, which no call asked for.
    """

    def __init__(
        self,
        leftovers: Leftovers,
        deleting: JobDeleting,
        lifetimes: Lifetimes,
        *,
        clock: Callable[[], datetime],
        pause_s: float,
        count: Callable[[Sequence[Found]], None],
        tell: Tell,
    ) -> None:
        self._count = count
        self._leftovers = leftovers
        self._deleting = deleting
        self._lifetimes = lifetimes
        self._clock = clock
        self._pause_s = pause_s
        self._tell = tell

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await every(self._pause_s, self.round, what="cleaning up")

    async def round(self) -> int:
        """Removes what is due in all projects; returns how many things that were."""
        removed: defaultdict[str, dict[Kind, Found]] = defaultdict(lambda: self._nothing(self._lifetimes))
        async for leftover in self._leftovers.due(self._lifetimes, self._clock()):
            if await self._remove(leftover, self._lifetimes):
                found = removed[leftover.project]
                found[leftover.kind] = found[leftover.kind].with_one(leftover)
        for project, found in removed.items():
            self._count(list(found.values()))
            self._tell(project, list(found.values()))
            log.info("cleaned_up", project=project, **{kind.name.lower(): one.count for kind, one in found.items()})
        return sum(one.count for found in removed.values() for one in found.values())

    async def project(self, project: str, *, older_than: timedelta | None, validate_only: bool) -> list[Found]:
        """What is due of a project, by kind, and removes it unless `validate_only`. older_than: a shorter lifetime of
        all that did not succeed or was not recommended."""
        lifetimes = self._lifetimes.at_most(older_than)
        found = self._nothing(lifetimes)
        async for leftover in self._leftovers.due(lifetimes, self._clock(), project=project):
            if validate_only or await self._remove(leftover, lifetimes):
                found[leftover.kind] = found[leftover.kind].with_one(leftover)
        if not validate_only:
            self._count(list(found.values()))
        return list(found.values())

    async def _remove(self, leftover: Leftover, lifetimes: Lifetimes) -> bool:
        """Whether it was there and still due: a job may have been extended, or deleted, meanwhile."""
        try:
            if leftover.kind is Kind.EPOCHS:
                await self._deleting.due_epoch(leftover.job, leftover.number, lifetimes)
            else:
                await self._deleting.due_job(leftover.job, lifetimes)
        except (NotFound, NotDueError):
            return False
        return True

    @staticmethod
    def _nothing(lifetimes: Lifetimes) -> dict[Kind, Found]:
        return {kind: Found(kind, lifetimes.of(kind)) for kind in Kind}
