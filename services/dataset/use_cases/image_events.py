"""Tell what became of images, many at a time: an event for a hundred uploads, not a hundred events."""

from __future__ import annotations

from datetime import timedelta

from services.chassis.patience import every
from services.dataset.ports import DatasetStore

_LOOKS_S = 0.5


class ImageEvents:
    """A background task of the process; every replica may run it.

    quiet: how long no image of a dataset has changed before its changes are told. longest: how long one waits at most.
    """

    def __init__(self, store: DatasetStore, *, quiet: timedelta, longest: timedelta) -> None:
        self._store = store
        self._quiet = quiet
        self._longest = longest

    async def run(self) -> None:
        """Looks until cancelled."""
        await every(_LOOKS_S, self.round, what="events of images")

    async def round(self) -> int:
        """Looks once and returns how many events were told. Raises Unavailable."""
        return await self._store.tell_images(quiet=self._quiet, longest=self._longest)
