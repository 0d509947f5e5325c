"""Objects in any S3 server, async, with typed errors: plain calls of the `minio` client only.

The client blocks, so each store has its own small thread pool; waiting for bytes never holds up the event loop or the
threads that others use.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from services.chassis.errors import Internal, NotFound, OutOfRange
from services.chassis.needs import Need
from services.chassis.s3_connection import ABSENT, connected, pool, tls, translating
from services.chassis.s3_identity import identity
from services.chassis.store_settings import S3Settings

CHUNK_BYTES = 256 * 1024
THREADS = 16
_LIST_BATCH = 500
T = TypeVar("T")


@dataclass(frozen=True)
class ObjectInfo:
    """What the server knows about an object. etag: without quotes, not a content digest for multipart uploads."""

    key: str
    size_bytes: int
    etag: str
    content_type: str
    last_modified: datetime | None


class ObjectStore:
    """One bucket. Every method raises Unavailable when the server cannot be reached after three attempts."""

    def __init__(self, settings: S3Settings) -> None:
        self.bucket = settings.s3_bucket
        self._pool = pool(settings, THREADS)
        self._identity = identity(settings, self._pool)
        self._client = connected(settings, settings.s3_endpoint, settings.s3_secure, self._pool, self._identity)
        # Signing is arithmetic; this client never connects, so the public name need not resolve here.
        self._signer = (
            connected(settings, settings.s3_public_endpoint, settings.s3_public_secure, self._pool, self._identity)
            if settings.s3_public_endpoint
            else self._client
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        # Pings have a thread and a connection of their own and try once: a busy store is not one that is away.
        self._ping_pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=1.5, read=1.5), retries=False, ssl_context=tls(settings)
        )
        self._pinger = connected(settings, settings.s3_endpoint, settings.s3_secure, self._ping_pool, self._identity)
        self._ping_thread = ThreadPoolExecutor(1, thread_name_prefix="s3-ping")

    def need(self) -> Need:
        """The need of this bucket."""
        return Need("object store", self.ensure_bucket, self.ping, self._closed)

    async def ensure_bucket(self) -> None:
        """Creates the bucket unless it is there; replicas may race."""
        await self._run(self._ensure_bucket)

    async def ping(self) -> None:
        """Asks the server once for the bucket, beside all that is at work. Raises Unavailable, or NotFound when the
        bucket is gone."""
        ask = partial(self._pinger.bucket_exists, bucket_name=self.bucket)
        if not await asyncio.get_running_loop().run_in_executor(self._ping_thread, translating(ask)):
            raise NotFound(
                f"The bucket {self.bucket} does not exist",
                reason="OBJECT_NOT_FOUND",
                remedy="Restart the service, which makes the bucket, or restore it from its backup.",
            )

    async def put(self, key: str, data: bytes | Path, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        """Stores bytes or a file under `key`, whole or not at all; an object of that name is replaced."""
        return await self._run(partial(self._put, _checked(key), data, content_type))

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """The object, or `length` bytes of it from `offset`. Raises NotFound."""
        return await self._run(partial(self._get, _checked(key), offset, length))

    async def stream(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncGenerator[bytes, None]:
        """The object in chunks, so that it is never in memory as a whole; nothing of what lies beyond its end.

        Raises NotFound at the first chunk.
        """
        try:
            response = await self._run(partial(self._open, _checked(key), offset, length))
        except OutOfRange:
            return
        try:
            while chunk := await self._run(partial(response.read, chunk_bytes)):
                yield chunk
        finally:
            response.close()
            response.release_conn()

    async def download_to(self, key: str, path: Path) -> ObjectInfo:
        """Writes the object to `path`, which appears only when it is complete. Raises NotFound."""
        return await self._run(partial(self._download, _checked(key), path))

    async def stat(self, key: str) -> ObjectInfo:
        """Size, etag and type of the object. Raises NotFound."""
        return await self._run(partial(self._stat, _checked(key)))

    async def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            await self.stat(key)
        except NotFound:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Removes the object; one that is absent is fine."""
        await self.delete_many([key])

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Removes the objects; absent ones are fine. Raises Internal with the first that the server refused."""
        await self._run(partial(self._delete_many, [_checked(key) for key in keys]))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in key order. Content types are not listed by S3: ""."""
        found = self._client.list_objects(self.bucket, prefix=prefix, recursive=True)
        while batch := await self._run(lambda: [_listed(item) for item in islice(found, _LIST_BATCH)]):
            for info in batch:
                yield info

    async def copy(self, source_key: str, key: str) -> ObjectInfo:
        """Copies inside the bucket without moving the bytes through this process. Raises NotFound."""
        return await self._run(partial(self._copy, _checked(source_key), _checked(key)))

    async def presign_get(self, key: str, *, expires: timedelta, filename: str = "") -> str:
        """A URL that reads the object until it expires; `filename` is what a browser saves it as."""
        safe = "".join(letter for letter in filename if letter.isalnum() or letter in "._- ")
        headers: dict[str, Any] = {"response-content-disposition": f'attachment; filename="{safe}"'} if safe else {}
        sign = partial(
            self._signer.presigned_get_object,
            self.bucket,
            _checked(key),
            expires=expires,
            response_headers=headers or None,
        )
        return await self._signed(sign)

    async def presign_put(self, key: str, *, expires: timedelta) -> str:
        """A URL that writes the object until it expires. What arrives must be checked afterwards."""
        return await self._signed(
            partial(self._signer.presigned_put_object, self.bucket, _checked(key), expires=expires)
        )

    def close(self) -> None:
        """Closes the pooled connections and lets the threads end."""
        for threads, connections in ((self._threads, self._pool), (self._ping_thread, self._ping_pool)):
            threads.shutdown(wait=False, cancel_futures=True)
            connections.clear()

    async def _signed(self, sign: Callable[[], str]) -> str:
        # With a key signing is arithmetic; an identity may have to be fetched first.
        return sign() if self._identity is None or self._identity.fixed else await self._run(sign)

    async def _closed(self) -> None:
        self.close()

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, translating(call))

    def _ensure_bucket(self) -> None:
        if self._client.bucket_exists(self.bucket):
            return
        try:
            self._client.make_bucket(self.bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def _put(self, key: str, data: bytes | Path, content_type: str) -> ObjectInfo:
        if isinstance(data, Path):
            size = data.stat().st_size
            written = self._client.fput_object(self.bucket, key, str(data), content_type=content_type)
        else:
            size = len(data)
            written = self._client.put_object(self.bucket, key, BytesIO(data), size, content_type=content_type)
        return ObjectInfo(key, size, _bare(written.etag), content_type, written.last_modified)

    def _open(self, key: str, offset: int, length: int | None) -> Any:
        return self._client.get_object(self.bucket, key, offset=offset, length=length or 0)

    def _get(self, key: str, offset: int, length: int | None) -> bytes:
        if length == 0:
            return b""
        response = self._open(key, offset, length)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    def _download(self, key: str, path: Path) -> ObjectInfo:
        path.parent.mkdir(parents=True, exist_ok=True)
        info = self._stat(key)
        with _replacing(path) as partial_path, partial_path.open("wb") as file:
            response = self._open(key, 0, None)
            try:
                for chunk in response.stream(CHUNK_BYTES):
                    file.write(chunk)
            finally:
                response.close()
                response.release_conn()
        return info

    def _stat(self, key: str) -> ObjectInfo:
        found = self._client.stat_object(self.bucket, key)
        return ObjectInfo(key, found.size or 0, _bare(found.etag), found.content_type or "", found.last_modified)

    def _delete_many(self, keys: Iterable[str]) -> None:
        refused = list(self._client.remove_objects(self.bucket, (DeleteObject(key) for key in keys)))
        refused = [item for item in refused if item.code not in ABSENT]
        if refused:
            raise Internal(
                f"The object {refused[0].name} could not be deleted",
                reason="STORAGE_REFUSED",
                remedy="Check that this service's keys allow it to delete.",
                metadata={"code": refused[0].code},
            )

    def _copy(self, source_key: str, key: str) -> ObjectInfo:
        self._client.copy_object(self.bucket, key, CopySource(self.bucket, source_key))
        return self._stat(key)


def _checked(key: str) -> str:
    """Some servers silently turn `a//b` into `a/b`, and `..` means different things to different servers."""
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not an object key: {key!r}")
    return key


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


def _listed(item: Any) -> ObjectInfo:
    return ObjectInfo(item.object_name, item.size or 0, _bare(item.etag), "", item.last_modified)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    partial_path = Path(name)
    try:
        yield partial_path
        partial_path.replace(path)
    finally:
        partial_path.unlink(missing_ok=True)
