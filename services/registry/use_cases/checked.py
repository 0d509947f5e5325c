"""Bytes on their way in or out, compared with the size and digest that were recorded for them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from services.chassis.errors import DataLoss, NotFound
from services.registry.models.resources import ModelFile, ModelVersion
from services.registry.ports import FileStore


async def checked(chunks: AsyncIterator[bytes], *, size_bytes: int, sha256: str, what: str) -> AsyncIterator[bytes]:
    """The same chunks. Raises DataLoss(FILE_CORRUPT) as soon as there are too many bytes, else at the end.

    what: the file as a person knows it.
    """
    seen = 0
    digest = hashlib.sha256()
    async for chunk in chunks:
        seen += len(chunk)
        if seen > size_bytes:
            raise _corrupt(what, f"more than the {size_bytes} bytes that were recorded")
        digest.update(chunk)
        yield chunk
    if seen != size_bytes:
        raise _corrupt(what, f"{seen} bytes instead of {size_bytes}")
    if digest.hexdigest() != sha256:
        raise _corrupt(what, f"SHA-256 {digest.hexdigest()} instead of {sha256}")


async def stored_bytes(files: FileStore, version: ModelVersion, file: ModelFile) -> AsyncIterator[bytes]:
    """A file of a version, checked. Raises DataLoss when it is lost or its bytes are not the saved ones."""
    what = f"{file.file_name} of {version.name}"
    stored = files.read(file.object_key)
    whole = checked(stored, size_bytes=file.size_bytes, sha256=file.sha256, what=what)
    async for chunk in _unless_lost(whole, what):
        yield chunk


async def stored_part(files: FileStore, version: ModelVersion, file: ModelFile, part: range) -> AsyncIterator[bytes]:
    """Some bytes of a file. A part has no digest: raises DataLoss where the file is lost or shorter, no more."""
    what = f"{file.file_name} of {version.name}"
    missing = len(part)
    async for chunk in _unless_lost(files.read(file.object_key, part), what):
        missing -= len(chunk)
        yield chunk
    if missing:
        raise _corrupt(what, f"{missing} bytes before byte {part.stop} are not there")


async def _unless_lost(chunks: AsyncIterator[bytes], what: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except NotFound as error:
        raise DataLoss(
            f"{what} is missing from the object store",
            reason="FILE_LOST",
            remedy="Restore the bucket from its backup, or save the epoch again.",
        ) from error


def _corrupt(what: str, difference: str) -> DataLoss:
    return DataLoss(
        f"{what} is damaged: {difference}",
        reason="FILE_CORRUPT",
        remedy="Try again; if it stays so, the stored bytes have changed and the epoch must be trained again.",
        metadata={"file": what},
    )
