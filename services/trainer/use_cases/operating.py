"""What operators see: the workers and the queue of all projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from services.chassis.request_context import require_all_projects
from services.trainer.models.queue import QueueLoad
from services.trainer.ports import JobStore, PresentWorker, Workforce
from services.trainer.use_cases.placing import WORKER_MEMORY


class Operating:
    """For callers with access to all projects; others get PermissionDenied(reason=ALL_PROJECTS_NEEDED)."""

    def __init__(self, store: JobStore, workforce: Workforce, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._workforce = workforce
        self._clock = clock

    async def workers(self) -> Sequence[PresentWorker]:
        """Those that hold a job or asked for one just now, by id."""
        require_all_projects()
        return await self._workforce.present(self._clock() - WORKER_MEMORY)

    async def queue(self) -> QueueLoad:
        """The share of every project that has jobs waiting or at work."""
        require_all_projects()
        return await self._store.load()
