"""The audit records of the whole suite: taken from every process, read by admins, forgotten in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from services.chassis.audit.records import AuditRecord
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.chassis.patience import every
from services.chassis.request_context import require_all_projects
from services.registry.ports import AUDIT_RECORDS, AuditStore

log = get_logger(__name__)

EVERYTHING = "-"
"""The project that stands for all projects and for what belongs to none (https://google.aip.dev/159)."""


class AuditLog:
    """ListAuditRecords and RecordCalls.

    told: called once records are kept, to wake who tells them on. keep, most: how long and how many are kept.
    """

    def __init__(
        self,
        store: AuditStore,
        tokens: PageTokens,
        clock: Callable[[], datetime],
        *,
        keep: timedelta,
        most: int,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._keep = keep
        self._most = most
        self._told = told

    async def take(self, records: Sequence[AuditRecord]) -> None:
        """Keeps the records of a process; the same ones again change nothing."""
        await self._store.add(records)
        self._told()

    async def list(self, request: ListRequest) -> tuple[list[AuditRecord], str]:
        """A page of a project's records, or of all that there are. Raises PermissionDenied(ALL_PROJECTS_NEEDED)."""
        project = request.parent.removeprefix("projects/")
        if project == EVERYTHING:
            require_all_projects()
        asked = AUDIT_RECORDS.open(request, self._tokens)
        return asked.answer(await self._store.list(None if project == EVERYTHING else project, asked.query))

    async def forget(self, interval_s: float) -> None:
        """Removes what need not be kept any longer, at every interval until cancelled."""
        await every(interval_s, self.forget_now, what="forgetting audit records")

    async def forget_now(self) -> int:
        """Removes it now; how many records those were."""
        removed = await self._store.forget(self._clock() - self._keep, self._most)
        if removed:
            log.info("audit_records_forgotten", records=removed)
        return removed
