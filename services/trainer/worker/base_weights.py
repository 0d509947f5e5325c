"""Base models of projects on this worker's disk: fetched by digest, checked, and kept until others need the room."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import IO

from fiveshot.trainer.v1 import worker_service_pb2

from services.chassis.errors import DataLoss, FailedPrecondition, ResourceExhausted
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore

Own = worker_service_pb2.OwnBaseModel
log = get_logger(__name__)
_MIB = 1 << 20
_SUFFIX = ".safetensors"


class BaseWeights:
    """Workers of a machine may share the folder: a file has the name of its content and appears when it is complete."""

    def __init__(
        self, objects: ObjectStore, folder: Path, partial: Path, *, limit_mib: int, room_mib: int, patience_s: float
    ) -> None:
        """partial: where this worker alone writes, on the same disk. limit_mib: of all files. room_mib: stay free."""
        self._objects = objects
        self._folder = folder
        self._partial = partial
        self._limit = limit_mib * _MIB
        self._room = room_mib * _MIB
        self._patience_s = patience_s

    def place(self, own: Own) -> Path:
        """Where its file lies, once it was fetched."""
        return self._folder / f"{own.sha256}{_SUFFIX}"

    async def fetch(self, own: Own, *, anew: bool = False) -> Path:
        """Its file; fetched unless it is here.

        anew: fetched in any case. What nobody has checked yet may claim the digest of a file that another project has
        uploaded, and must not be taken for that one.

        Raises ResourceExhausted(DISK_FULL) when there is no room for it, DataLoss(DIGEST_MISMATCH) when the store lost
        some of it, FailedPrecondition(BASE_MODEL_DIGEST_DIFFERS) when what was uploaded is not what was announced.
        """
        path = self.place(own)
        if not anew and await asyncio.to_thread(_used_again, path, own.size_bytes):
            return path
        await asyncio.to_thread(self._make_room, own)
        log.info("base_model_fetching", base_model=own.name, bytes=own.size_bytes)
        try:
            await self._download(own)
            await asyncio.to_thread(os.replace, self._partial, path)
        finally:
            await asyncio.to_thread(self._partial.unlink, True)
        return path

    def _make_room(self, own: Own) -> None:
        """Removes the files that were not used for the longest time, as many as must go."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        if own.size_bytes > self._limit:
            raise _no_room(own, f"this worker keeps {self._limit // _MIB} MiB of base models at most")
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_atime, status.st_size, path))
        kept = sum(size for _, size, _ in found)
        for _, size, path in sorted(found, key=lambda one: one[0]):
            if kept + own.size_bytes <= self._limit and self._free() >= own.size_bytes:
                break
            path.unlink(missing_ok=True)
            kept -= size
            log.info("base_model_let_go", sha256=path.stem, bytes=size)
        if self._free() < own.size_bytes:
            raise _no_room(own, f"its disk has {max(0, self._free()) // _MIB} MiB to spare")

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free - self._room

    async def _download(self, own: Own) -> None:
        whole, offset = hashlib.sha256(), 0
        with self._partial.open("wb") as file:
            for part in own.parts:

                async def fetch(part: Own.Part = part, offset: int = offset) -> None:
                    await self._part(file, part, offset)

                await patiently(fetch, what="object store", patience_s=self._patience_s)
                offset += part.size_bytes
        await asyncio.to_thread(_hash, self._partial, whole)
        if offset != own.size_bytes or whole.hexdigest() != own.sha256:
            raise FailedPrecondition(
                "The file that was uploaded is not the one that was announced: its SHA-256 is another",
                reason="BASE_MODEL_DIGEST_DIFFERS",
                remedy="Upload it again; it was damaged on its way, or the digest is of another file.",
                metadata={"expected": own.sha256, "found": whole.hexdigest()},
            )

    async def _part(self, file: IO[bytes], part: Own.Part, offset: int) -> None:
        digest = hashlib.sha256()
        file.seek(offset)
        file.truncate()
        async for chunk in self._objects.stream(part.object_key, chunk_bytes=_MIB):
            await asyncio.to_thread(_write, file, chunk, digest)
        if digest.hexdigest() != part.sha256:
            raise DataLoss(
                "A part of the stored base model is not what was uploaded",
                reason="DIGEST_MISMATCH",
                remedy="Upload the base model again; tell the operator that the object store lost data.",
                metadata={"expected": part.sha256, "found": digest.hexdigest()},
            )


def _write(file: IO[bytes], chunk: bytes, digest: hashlib._Hash) -> None:
    file.write(chunk)
    digest.update(chunk)


def _hash(path: Path, digest: hashlib._Hash) -> None:
    with path.open("rb") as file:
        while chunk := file.read(_MIB):
            digest.update(chunk)


def _used_again(path: Path, size: int) -> bool:
    """Whether the file is here; notes that it is used. Its time of change stays: its fingerprint is kept by that."""
    try:
        status = path.stat()
        if status.st_size != size:
            return False
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def _no_room(own: Own, why: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"The base model takes {own.size_bytes // _MIB} MiB, and {why}",
        reason="DISK_FULL",
        remedy="Give the worker a larger disk or WORKER_BASE_MODEL_CACHE_MIB, then retry the job.",
        metadata={"size_bytes": str(own.size_bytes)},
    )
