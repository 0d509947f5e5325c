"""The decoder of a service, in the process of the test."""

from __future__ import annotations

from services.chassis import pictures
from services.chassis.pictures import Decoded, PictureLimits


class InlineDecoder:
    """Decodes as the pool's processes do. `owners`: for whom, in order."""

    def __init__(self) -> None:
        self.owners: list[str] = []

    async def read(
        self,
        data: bytes,
        limits: PictureLimits,
        *,
        draft_side: int,
        most_pixels: int,
        keep_alpha: bool = False,
        field: str,
        owner: str,
    ) -> Decoded:
        """See the port."""
        self.owners.append(owner)
        return pictures.read(
            data, limits, draft_side=draft_side, most_pixels=most_pixels, keep_alpha=keep_alpha, field=field
        )
