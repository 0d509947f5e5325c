"""The decoder of a service, in the process of the test."""

from __future__ import annotations

from services.chassis import pictures
from services.chassis.pictures import Checked, PictureLimits


class InlineDecoder:
    """Decodes as the pool's processes do. `owners`: for whom, in order."""

    def __init__(self) -> None:
        self.owners: list[str] = []

    async def check(self, data: bytes, limits: PictureLimits, *, thumbnail_side: int, field: str, owner: str) -> Checked:
        """See the port."""
        self.owners.append(owner)
        return pictures.check(data, limits, thumbnail_side=thumbnail_side, field=field)
