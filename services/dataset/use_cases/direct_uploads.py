"""Pictures past this service: by addresses of the object store, checked when the caller says that they are there.

A picture on its way lies under a key that is reserved as any other; whatever becomes of it, the sweeper takes it away
when the reservation has run out. Until then a repeated completion finds it again, and the image that it has become.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis.errors import DomainError, NotFound, relocated, within
from services.chassis.names import new_id
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef
from services.dataset.models.resources import Image
from services.dataset.ports import Clock, DatasetStore, PictureStore
from services.dataset.use_cases.images import ImageVerbs, View
from services.dataset.use_cases.uploads import UploadHeader, UploadVerb

# As many as may hold their bytes at once within one call; the budget of all uploads holds beside it.
_AT_ONCE = 4


@dataclass(frozen=True)
class Address:
    """An address of the object store. upload_id: "" for one that serves."""

    url: str
    expire_time: datetime
    upload_id: str = ""


@dataclass(frozen=True)
class DirectUpload:
    """A picture that was put to its address, and what it is."""

    upload_id: str
    file_name: str
    sha256: str = ""
    caption: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the image, or the error that an upload of it gets.

    differing: of a picture that was there already, fields in which it has something else. updated: they were changed.
    """

    file_name: str
    image: Image | None = None
    error: DomainError | None = None
    differing: tuple[str, ...] = ()
    updated: bool = False


class DirectUploads:
    """validity: of an address; a picture may be completed for twice as long."""

    def __init__(
        self,
        store: DatasetStore,
        pictures: PictureStore,
        uploads: UploadVerb,
        images: ImageVerbs,
        clock: Clock,
        *,
        validity: timedelta,
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._uploads = uploads
        self._images = images
        self._clock = clock
        self._validity = validity

    async def addresses(self, ref: DatasetRef, count: int) -> list[Address]:
        """So many addresses that take a picture each. Raises NotFound."""
        ids = [new_id("upl") for _ in range(count)]
        now = self._clock()
        async with self._store.write() as tx:
            await tx.lock_dataset(ref)
            # Longer than the address is good for: what is put at its last moment is still known to the sweeper.
            await tx.reserve_keys([_key(ref, one) for one in ids], until=now + 2 * self._validity)
        return [
            Address(await self._pictures.address_to_put(_key(ref, one), self._validity), now + self._validity, one)
            for one in ids
        ]

    async def complete(self, ref: DatasetRef, uploads: Sequence[DirectUpload]) -> list[Outcome]:
        """Takes the pictures in, each as an upload of its own. Raises NotFound for the dataset."""
        async with self._store.read() as view:
            await view.dataset(ref)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(index: int, upload: DirectUpload) -> Outcome:
            async with turns:
                return await self._complete(ref, index, upload)

        return list(await asyncio.gather(*(one(index, upload) for index, upload in enumerate(uploads))))

    async def address_of(self, ref: ImageRef | VersionImageRef, form: View) -> Address:
        """An address that serves a picture. Raises NotFound."""
        key, file_name = await self._images.stored(ref, form)
        url = await self._pictures.address_to_get(key, self._validity, file_name=file_name)
        return Address(url, self._clock() + self._validity)

    async def _complete(self, ref: DatasetRef, index: int, upload: DirectUpload) -> Outcome:
        try:
            return Outcome(upload.file_name, image=await self._uploads.upload(self._messages(ref, upload)))
        except DomainError as error:
            named = within(relocated(error, _field), f"uploads[{index}]", otherwise="upload_id")
            return Outcome(upload.file_name, error=named)

    async def _messages(self, ref: DatasetRef, upload: DirectUpload) -> AsyncIterator[UploadHeader | bytes]:
        yield UploadHeader(
            ref,
            upload.file_name,
            sha256=upload.sha256,
            caption=upload.caption,
            tags=upload.tags,
            request_id=upload.upload_id,
        )
        try:
            async for chunk in self._pictures.stream(_key(ref, upload.upload_id)):
                yield chunk
        except NotFound as error:
            raise NotFound(
                f"Nothing lies at the address of {upload.upload_id}",
                field="upload_id",
                reason="UPLOAD_NOT_FOUND",
                remedy="Put the picture to its address first; when that has expired, ask for a new one.",
            ) from error


def _key(ref: DatasetRef, upload_id: str) -> str:
    return f"datasets/{ref.project}/{ref.dataset}/incoming/{upload_id}"


def _field(field: str) -> str:
    return "upload_id" if field == "chunk" else field.removeprefix("header.")
