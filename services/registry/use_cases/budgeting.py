"""How many models and versions a project may keep, and how many it keeps."""

from __future__ import annotations

from services.chassis.budgets import MODEL_VERSIONS, MODELS, UNLIMITED, Budgets, BudgetUse
from services.registry.ports import Admit, ModelStore


class KeepBudgets:
    """The budgets of the registry."""

    def __init__(self, budgets: Budgets = UNLIMITED) -> None:
        self._budgets = budgets

    def admit(self, project: str) -> Admit | None:
        """Refuses a model or a version too many; None where any number may be kept."""
        if not any(self._budgets.limit(project, budget) for budget in (MODELS, MODEL_VERSIONS)):
            return None

        def check(models: int | None, versions: int | None) -> None:
            for budget, used in ((MODELS, models), (MODEL_VERSIONS, versions)):
                if used is not None:
                    self._budgets.check(project, budget, used, field="parent")

        return check

    def uses(self, project: str, models: int, versions: int) -> list[BudgetUse]:
        """The use of each budget."""
        return [self._budgets.use(project, MODELS, models), self._budgets.use(project, MODEL_VERSIONS, versions)]


class UsageReading:
    """GetUsage."""

    def __init__(self, store: ModelStore, budgets: KeepBudgets) -> None:
        self._store = store
        self._budgets = budgets

    async def get(self, project: str) -> list[BudgetUse]:
        """The use of each budget."""
        return self._budgets.uses(project, *await self._store.counts(project))
