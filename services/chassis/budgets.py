"""Budgets of a project: what it may hold or do, how much of it is in use, and the error of one that is used up. Pure.

Who counts must count where nobody can come between, so that of two calls only one takes the last place. `chassis.
budget_policy` says where the limits come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.chassis import request_context
from services.chassis.errors import QuotaViolation, ResourceExhausted

USED_UP = "BUDGET_USED_UP"


@dataclass(frozen=True)
class Budget:
    """One kind of budget. name: in settings, in the policy file and in errors. unit: of its numbers, for people.

    remedy: how a caller makes room. retry_after_s: set where room comes by itself.
    """

    name: str
    unit: str
    remedy: str
    retry_after_s: float | None = None


DATASETS = Budget("datasets", "datasets", "Delete datasets that are not needed any more")
IMAGES = Budget("images", "images", "Delete images that are not needed any more")
STORED_BYTES = Budget("stored_bytes", "bytes", "Delete images, and the versions that hold them")
UPLOADS = Budget("uploads", "uploads at once", "Send fewer files at a time, and this one again in a moment", 1.0)
DOWNLOADS = Budget(
    "downloads", "downloads at once", "Let some of those at work end first, and ask for this one again in a moment", 1.0
)
WAITING_JOBS = Budget("waiting_jobs", "waiting jobs", "Wait until some have begun, or cancel some")
RUNNING_JOBS = Budget("running_jobs", "running jobs", "Wait until one has ended")
PREVIEW_REQUESTS = Budget(
    "preview_requests", "unfinished preview requests", "Wait until some have ended, or cancel some"
)
BASE_MODEL_BYTES = Budget("base_model_bytes", "bytes", "Delete base models that are not needed any more")
GPU_SECONDS = Budget("gpu_seconds", "seconds", "Wait until earlier work lies behind the window")
MODELS = Budget("models", "models", "Delete models that are not needed any more")
MODEL_VERSIONS = Budget("model_versions", "versions", "Delete versions that are not needed any more")
WEBHOOKS = Budget("webhooks", "webhooks", "Delete webhooks that are not needed any more")
BUDGETS = {
    budget.name: budget
    for budget in (
        DATASETS, IMAGES, STORED_BYTES, UPLOADS, DOWNLOADS, WAITING_JOBS, RUNNING_JOBS, PREVIEW_REQUESTS, GPU_SECONDS,
        BASE_MODEL_BYTES, MODELS, MODEL_VERSIONS, WEBHOOKS,
    )
}  # fmt: skip
"""All that the policy file may name: it is one file for the suite, so its words are known here."""


@dataclass(frozen=True)
class BudgetUse:
    """How much of a budget a project uses. limit: 0 for none. window: over which its use is added up."""

    budget: Budget
    used: int
    limit: int
    window: timedelta | None = None


class Budgets:
    """The limits of every project. limits: of one project, by the name of the budget; one that is absent or 0 is none.

    refused: is told the name of a budget whenever a call is refused for it.
    """

    def __init__(
        self,
        limits: Callable[[str], Mapping[str, int]] = lambda _: {},
        refused: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._limits = limits
        self._refused = refused

    def limit(self, project: str, budget: Budget) -> int:
        """The limit as it is now, 0 for none."""
        return self._limits(project).get(budget.name, 0)

    def check(
        self, project: str, budget: Budget, used: int, *, wanted: int = 1, kept: int = 0, field: str = ""
    ) -> None:
        """Raises ResourceExhausted(reason=BUDGET_USED_UP) unless `wanted` more fit. field: of the request.

        kept: places that are not for the caller, whose own use is then `used`.
        """
        limit = self.limit(project, budget) - kept
        if limit <= 0 or used + wanted <= limit:
            return
        self._refused(budget.name)
        more = f", and {wanted} more are needed" if wanted > 1 else ""
        whose = " by this caller" if kept else ""
        told = f"{used} of {limit} {budget.unit} are in use{whose}{more}"
        raise ResourceExhausted(
            f"The budget '{budget.name}' of projects/{project} is used up: {told}",
            field=field,
            reason=USED_UP,
            remedy=f"{budget.remedy}, or ask the operator for a larger budget.",
            metadata={"budget": budget.name, "used": str(used), "limit": str(limit)},
            retry_after_s=budget.retry_after_s,
            quotas=[QuotaViolation(f"projects/{project}", f"{budget.name}: {told}")],
        )

    def use(self, project: str, budget: Budget, used: int, *, window: timedelta | None = None) -> BudgetUse:
        """The use of a budget beside its limit."""
        return BudgetUse(budget, used, self.limit(project, budget), window)


UNLIMITED = Budgets()


_OTHERS = 8
"""One of so many places of a project is kept for its other callers."""


class AtOnce:
    """Calls of each project that are at work in this process, and within it of each caller. For one event loop."""

    def __init__(self, budgets: Budgets, budget: Budget) -> None:
        self._budgets = budgets
        self._budget = budget
        self._at_work: Counter[str] = Counter()
        self._of_caller: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def one(self, project: str, *, field: str = "") -> Iterator[None]:
        """Counts one call. Raises ResourceExhausted when its project or its caller has too many."""
        caller = request_context.current().principal
        place = (project, caller)
        self._budgets.check(project, self._budget, self._at_work[project], field=field)
        if caller:
            kept = self._budgets.limit(project, self._budget) // _OTHERS
            self._budgets.check(project, self._budget, self._of_caller[place], kept=kept, field=field)
        self._at_work[project] += 1
        self._of_caller[place] += 1
        try:
            yield
        finally:
            self._at_work -= Counter((project,))
            self._of_caller -= Counter((place,))

    async def during(self, project: str, chunks: AsyncIterator[bytes], *, field: str = "") -> AsyncIterator[bytes]:
        """The chunks; while they go out this counts as one call. Raises ResourceExhausted before the first of them."""
        with self.one(project, field=field):
            async for chunk in chunks:
                yield chunk

    def of(self, project: str) -> int:
        """How many are at work now."""
        return self._at_work[project]
