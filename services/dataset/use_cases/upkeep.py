"""Deletes bytes that nothing refers to, and forgets old request ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from services.chassis.errors import Unavailable
from services.chassis.logging import get_logger
from services.chassis.patience import every
from services.dataset.ports import Clock, DatasetStore, PictureStore

log = get_logger(__name__)


class Upkeep:
    """What happens after a delete or a failed upload at once, and otherwise at intervals.

    Every replica may run it: claiming and deleting the same key twice does no harm.
    """

    def __init__(
        self, store: DatasetStore, pictures: PictureStore, clock: Clock, *, remember_requests: timedelta
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._clock = clock
        self._remember_requests = remember_requests

    async def sweep(self) -> int:
        """Deletes the bytes of released and run-out keys; returns how many keys. Raises Unavailable."""
        swept = 0
        while keys := await self._store.claim_keys(due=self._clock()):
            await self._delete(keys)
            swept += len(keys)
        return swept

    async def sweep_soon(self) -> None:
        """Like `sweep`, after a delete that has already succeeded: a failure is left to the next round."""
        try:
            await self.sweep()
        except Unavailable as error:
            log.warning("sweep_postponed", reason=error.reason)

    async def discard(self, keys: Sequence[str]) -> None:
        """Gives up reserved keys. Those that a committed image has kept meanwhile are not touched."""
        try:
            claimed = await self._store.claim_keys(due=self._clock(), keys=keys)
            if claimed:
                await self._delete(claimed)
        except Unavailable as error:
            log.warning("discard_postponed", reason=error.reason, keys=len(keys))

    async def run(self, *, interval_s: float) -> None:
        """Sweeps every `interval_s` seconds until cancelled."""
        await every(interval_s, self._round, what="upkeep")

    async def _round(self) -> None:
        swept = await self.sweep()
        forgotten = await self._store.forget_requests(before=self._clock() - self._remember_requests)
        if swept or forgotten:
            log.info("upkeep_done", keys=swept, requests=forgotten)

    async def _delete(self, keys: Sequence[str]) -> None:
        await self._pictures.delete(keys)
        await self._store.forget_keys(keys)
