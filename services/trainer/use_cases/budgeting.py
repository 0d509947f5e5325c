"""What projects may have in the queue and at work, and what they use of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from services.chassis.budgets import (
    BASE_MODEL_BYTES,
    GPU_SECONDS,
    PREVIEW_REQUESTS,
    RUNNING_JOBS,
    UNLIMITED,
    WAITING_JOBS,
    Budgets,
    BudgetUse,
)
from services.trainer.models.queue import ProjectUse, Starting, StartLimits
from services.trainer.ports import Admit, JobStore


class JobBudgets:
    """The budgets of the queue. window: over which GPU seconds are added up."""

    def __init__(self, budgets: Budgets = UNLIMITED, window: timedelta = timedelta(days=1)) -> None:
        self._budgets = budgets
        self._window = window

    def admit(self, project: str, *, field: str) -> Admit | None:
        """Refuses a job that would wait beside too many; None where any number may. field: of the request."""
        if not self._budgets.limit(project, WAITING_JOBS):
            return None
        return lambda waiting: self._budgets.check(project, WAITING_JOBS, waiting, field=field)

    def admit_previews(self, project: str, *, field: str) -> Admit | None:
        """The same for a preview request beside those that have not ended."""
        if not self._budgets.limit(project, PREVIEW_REQUESTS):
            return None
        return lambda unfinished: self._budgets.check(project, PREVIEW_REQUESTS, unfinished, field=field)

    def starting(self, now: datetime) -> Starting:
        """What the queue goes by when a worker asks: a project over its budget waits, and is refused nothing."""
        return Starting(self._limits, now - self._window, now)

    async def held_back(self, store: JobStore, project: str, now: datetime) -> str:
        """Why no other job of the project may begin now, a sentence; "" when one may."""
        limits = self._limits(project)
        if limits == StartLimits():
            return ""
        found = await store.usage(project, since=now - self._window, now=now)
        for use in self.uses(project, found):
            if use.budget in (RUNNING_JOBS, GPU_SECONDS) and 0 < use.limit <= use.used:
                name, unit = use.budget.name, use.budget.unit
                return f"The project's budget '{name}' is used up: {use.used} of {use.limit} {unit} are in use."
        return ""

    def uses(self, project: str, found: ProjectUse) -> list[BudgetUse]:
        """The use of each budget."""
        return [
            self._budgets.use(project, WAITING_JOBS, found.waiting),
            self._budgets.use(project, RUNNING_JOBS, found.running),
            self._budgets.use(project, PREVIEW_REQUESTS, found.previews),
            self._budgets.use(project, GPU_SECONDS, int(found.gpu_seconds), window=self._window),
            self._budgets.use(project, BASE_MODEL_BYTES, found.base_model_bytes),
        ]

    def _limits(self, project: str) -> StartLimits:
        limit = self._budgets.limit
        return StartLimits(limit(project, RUNNING_JOBS), limit(project, GPU_SECONDS))


class UsageReading:
    """GetUsage."""

    def __init__(self, store: JobStore, budgets: JobBudgets, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._budgets = budgets
        self._clock = clock

    async def get(self, project: str) -> list[BudgetUse]:
        """The use of each budget."""
        starting = self._budgets.starting(self._clock())
        found = await self._store.usage(project, since=starting.since, now=starting.now)
        return self._budgets.uses(project, found)
