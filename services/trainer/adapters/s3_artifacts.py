"""Files that workers stored, in S3."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

from services.chassis.errors import DataLoss, FailedPrecondition, NotFound
from services.chassis.s3 import ObjectStore
from services.trainer.models.epoch import EpochFile
from services.trainer.ports import object_prefix

_ATTEMPT = re.compile(r"trainer/(projects/[^/]+/(?:trainingJobs|previewRequests|baseModels)/[^/]+)/attempts/(\d+)/.+")


class S3Artifacts:
    """Implements `ports.Artifacts`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, file: EpochFile, part: range | None = None) -> AsyncIterator[bytes]:
        if part is not None:
            async for chunk in self._read_part(file, part):
                yield chunk
            return
        digest = hashlib.sha256()
        async for chunk in self._store.stream(file.object_key):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != file.sha256:
            raise _lost(file, {"expected": file.sha256, "found": digest.hexdigest()})

    async def _read_part(self, file: EpochFile, part: range) -> AsyncIterator[bytes]:
        missing = len(part)
        async for chunk in self._store.stream(file.object_key, offset=part.start, length=missing):
            missing -= len(chunk)
            yield chunk
        if missing:
            raise _lost(file, {"missing_bytes": str(missing)})

    async def check(self, files: Sequence[EpochFile]) -> None:
        for file in files:
            try:
                size = (await self._store.stat(file.object_key)).size_bytes
            except (NotFound, ValueError):
                # What is no key at all, such as `a/../b`, holds nothing either.
                size = -1
            if size != file.size_bytes:
                raise FailedPrecondition(
                    f"The file {file.file_id} is not stored under {file.object_key} with {file.size_bytes} bytes",
                    field="epoch.files",
                    reason="FILE_MISSING",
                    remedy="Store every file before reporting the epoch.",
                )

    async def delete(self, files: Sequence[EpochFile]) -> None:
        await self._store.delete_many(file.object_key for file in files)

    async def attempts(self) -> AsyncIterator[tuple[str, int]]:
        last: tuple[str, int] | None = None
        async for item in self._store.list("trainer/"):
            found = _ATTEMPT.fullmatch(item.key)
            if found is None:
                continue
            attempt = (found.group(1), int(found.group(2)))
            if attempt != last:
                last = attempt
                yield attempt

    async def sweep(self, job: str, attempt: int, *, keep: Collection[str], older_than: datetime) -> int:
        gone = [
            item.key
            async for item in self._store.list(object_prefix(job, attempt))
            if item.key not in keep and item.last_modified is not None and item.last_modified <= older_than
        ]
        if gone:
            await self._store.delete_many(gone)
        return len(gone)


def _lost(file: EpochFile, metadata: dict[str, str]) -> DataLoss:
    return DataLoss(
        f"The stored file {file.file_name} is not what the worker wrote",
        reason="DIGEST_MISMATCH",
        remedy="Save another epoch, or train again; tell the operator that the object store lost data.",
        metadata=metadata,
    )
