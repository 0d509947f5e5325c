"""What a project uses of its budgets, and the hourly record of it."""

from __future__ import annotations

from datetime import timedelta

from services.chassis.budgets import DATASETS, DOWNLOADS, IMAGES, STORED_BYTES, UPLOADS, AtOnce, Budgets, BudgetUse
from services.chassis.patience import every
from services.dataset.models.usage import hour_of
from services.dataset.ports import Clock, DatasetStore, Meter


class UsageVerbs:
    """GetUsage. uploading, downloading: calls of this process."""

    def __init__(self, store: DatasetStore, budgets: Budgets, uploading: AtOnce, downloading: AtOnce) -> None:
        self._store = store
        self._budgets = budgets
        self._uploading = uploading
        self._downloading = downloading

    async def get(self, project: str) -> list[BudgetUse]:
        """The use of each budget."""
        async with self._store.read() as view:
            found = await view.usage(project)
        used = {
            DATASETS: found.datasets,
            IMAGES: found.images,
            STORED_BYTES: found.stored_bytes,
            UPLOADS: self._uploading.of(project),
            DOWNLOADS: self._downloading.of(project),
        }
        return [self._budgets.use(project, budget, number) for budget, number in used.items()]


class Metering:
    """Tells once an hour what each project stores. Every replica may run it. keep: how long the events stay."""

    def __init__(self, meter: Meter, clock: Clock, *, keep: timedelta) -> None:
        self._meter = meter
        self._clock = clock
        self._keep = keep

    async def run(self, *, interval_s: float) -> None:
        """Looks every `interval_s` seconds until cancelled."""
        await every(interval_s, self.round, what="metering")

    async def round(self) -> int:
        """Looks once and returns how many projects were metered. Raises Unavailable."""
        now = self._clock()
        projects = await self._meter.due(hour_of(now))
        for project in projects:
            await self._meter.meter(project, hour_of(now))
        await self._meter.forget(now - self._keep)
        return len(projects)
