"""The picture store on any S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from services.chassis.s3 import ObjectStore


class S3PictureStore:
    """Implements ports.PictureStore."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """See the port."""
        await self._objects.put(key, data, content_type=content_type)

    async def address_to_put(self, key: str, validity: timedelta) -> str:
        """See the port."""
        return await self._objects.presign_put(key, expires=validity)

    async def address_to_get(self, key: str, validity: timedelta, *, file_name: str) -> str:
        """See the port."""
        return await self._objects.presign_get(key, expires=validity, filename=file_name)

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """See the port."""
        return self._objects.stream(key)

    async def delete(self, keys: Sequence[str]) -> None:
        """See the port."""
        await self._objects.delete_many(keys)
