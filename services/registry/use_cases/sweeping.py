"""Tidying: files of a process that died between storing them and adding the version, old request_ids and old events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.chassis.logging import get_logger
from services.chassis.patience import every
from services.registry.ports import FileStore, ModelStore

log = get_logger(__name__)

_BATCH = 500


class Sweeper:
    """Removes files that no version refers to once they are older than `age`.

    age must be longer than a save can take: until a save ends, its files have no version. remember: how long a
    request_id is known. events: how long the log keeps what happened.
    """

    def __init__(
        self,
        store: ModelStore,
        files: FileStore,
        *,
        age: timedelta,
        interval: timedelta,
        remember: timedelta,
        events: timedelta,
    ) -> None:
        self._store = store
        self._files = files
        self._age = age
        self._interval = interval
        self._remember = remember
        self._events = events

    async def run(self) -> None:
        """Sweeps at every interval until cancelled."""
        await every(self._interval.total_seconds(), self._round, what="sweeping")

    async def _round(self) -> None:
        await self.sweep()
        await self._store.forget_requests(self._remember)
        await self._store.forget_events(self._events)

    async def sweep(self) -> int:
        """Removes what is orphaned now and returns how many files that were."""
        removed = 0
        batch: list[str] = []
        async for key in self._files.list_older_than(datetime.now(UTC) - self._age):
            batch.append(key)
            if len(batch) == _BATCH:
                removed += await self._remove_orphans(batch)
                batch = []
        removed += await self._remove_orphans(batch)
        if removed:
            log.info("orphans_removed", files=removed)
        return removed

    async def _remove_orphans(self, keys: list[str]) -> int:
        orphans = await self._store.unreferenced(keys)
        await self._files.delete(orphans)
        return len(orphans)
