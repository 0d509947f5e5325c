"""Files of versions in S3."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

from services.chassis.s3 import ObjectStore

# All objects of the registry lie below it, so that a bucket can be shared with other services.
PREFIX = "registry/"


class S3FileStore:
    """Implements ports.FileStore.

    A stream is spooled to a temporary file first: an object appears only when every byte of it has arrived and was
    found right by the reader of the stream.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def put(self, object_key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        """See ports.FileStore."""
        with tempfile.TemporaryDirectory(prefix="fiveshot-registry-") as folder:
            path = Path(folder) / "file"
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            await self._objects.put(PREFIX + object_key, path, content_type=content_type)

    async def read(self, object_key: str, part: range | None = None) -> AsyncIterator[bytes]:
        """See ports.FileStore."""
        offset, length = (0, None) if part is None else (part.start, len(part))
        async for chunk in self._objects.stream(PREFIX + object_key, offset=offset, length=length):
            yield chunk

    async def delete(self, object_keys: Sequence[str]) -> None:
        """See ports.FileStore."""
        if object_keys:
            await self._objects.delete_many([PREFIX + key for key in object_keys])

    async def list_older_than(self, moment: datetime) -> AsyncIterator[str]:
        """See ports.FileStore."""
        async for info in self._objects.list(PREFIX):
            if info.last_modified is not None and info.last_modified < moment:
                yield info.key.removeprefix(PREFIX)
