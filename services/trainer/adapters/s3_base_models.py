"""Parts of base models that projects upload, in S3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from services.chassis.s3 import ObjectStore
from services.trainer.models.own_base_model import Part
from services.trainer.ports import object_prefix

_ATTEMPT = 1
"""An upload has no attempts, but lies where the sweeper looks."""


class S3BaseModelFiles:
    """Implements `ports.base_models.BaseModelFiles`."""

    def __init__(self, store: ObjectStore, new_id: Callable[[str], str]) -> None:
        self._store = store
        self._new_id = new_id

    def key(self, name: str) -> str:
        return f"{object_prefix(name, _ATTEMPT)}{self._new_id('part')}"

    async def put(self, key: str, path: Path) -> None:
        await self._store.put(key, path)

    async def delete(self, parts: Sequence[Part]) -> None:
        if parts:
            await self._store.delete_many(part.object_key for part in parts)
