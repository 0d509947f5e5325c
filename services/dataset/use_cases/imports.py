"""Take in a zip archive of pictures with their captions: each picture is checked and stored as an upload of its own.

The archive lies in a temporary file meanwhile, and at most one picture of it in memory. Within the archive a picture's
request id follows from that of the import, so a repeated import stores nothing twice, and one that broke off goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO

from fiveshot.layouts import EXTENSIONS, LayoutError, Placed, Why, caption_text, is_hidden

from services.chassis.budgets import UPLOADS
from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import (
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    relocated,
)
from services.chassis.requests.keys import RequestKey, digest
from services.chassis.uploads import chunks_of, header_of
from services.chassis.zip_archives import Archive, ArchiveLimits, open_archive
from services.dataset.models.checks import check_text
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.models.resources import Crop, ImageFields
from services.dataset.ports import Clock, DatasetStore
from services.dataset.use_cases.archive_files import (
    FIELD,
    MAX_CAPTION_FILE,
    arranged,
    checked_caption,
    fault_of,
    file_name,
    small,
    unreadable,
)
from services.dataset.use_cases.direct_uploads import Outcome
from services.dataset.use_cases.images import edited
from services.dataset.use_cases.masks import MaskHeader, MaskVerbs
from services.dataset.use_cases.uploads import UploadHeader, UploadVerb

_IN_MEMORY = 1024 * 1024
# What is wrong with one picture; all else is wrong with the call, which can be repeated.
_OF_A_PICTURE = (InvalidArgument, AlreadyExists, FailedPrecondition)


@dataclass(frozen=True)
class ImportHeader:
    """What an import announces. sha256: of the archive, "" when not known.

    update_present: give pictures that the dataset holds already what the archive says of them.
    """

    dataset: DatasetRef
    sha256: str = ""
    request_id: str = ""
    captions: bool = True
    folder_repeats: bool = True
    update_present: bool = False


@dataclass
class Imported:
    """What became of an archive for a dataset. outcomes: of its pictures, and of what cannot be read, named by path.

    words: the subjects that kohya folders name, such as `sks cat`.
    """

    dataset: DatasetRef
    outcomes: list[Outcome] = field(default_factory=list)
    passed_over: list[tuple[PurePosixPath, Why]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


class ImportVerb:
    """ImportImages. budget: bytes of archives that may lie here. max_bytes: of one. idle_s: longest pause."""

    def __init__(
        self,
        store: DatasetStore,
        uploads: UploadVerb,
        masks: MaskVerbs,
        budget: ByteBudget,
        limits: ArchiveLimits,
        clock: Clock,
        *,
        max_bytes: int,
        idle_s: float,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._masks = masks
        self._budget = budget
        self._limits = limits
        self._clock = clock
        self._max_bytes = max_bytes
        self._idle_s = idle_s

    async def run(self, messages: AsyncIterator[ImportHeader | bytes]) -> Imported:
        """Reads a header and then the archive's bytes, and stores its pictures one by one.

        Raises NotFound for the dataset, DeadlineExceeded(UPLOAD_STALLED), ResourceExhausted(BYTES_IN_FLIGHT), and
        InvalidArgument: ARCHIVE_DIGEST_MISMATCH, ARCHIVE_EMPTY, REQUEST_ID_REUSED, METADATA_UNREADABLE and the reasons
        of `open_archive`. With all of these nothing has been stored. What is wrong with a picture stands in its
        outcome. Any other error ends the import with what it has stored; the same call with the same request_id goes
        on.
        """
        header = await header_of(messages, ImportHeader, idle_s=self._idle_s, field=FIELD)
        check_text(header.request_id, field="request_id")
        async with self._store.read() as view:
            await view.dataset(header.dataset)
        with self._budget.holding(header.dataset.project) as held, SpooledTemporaryFile(_IN_MEMORY) as file:
            running, size = hashlib.sha256(), 0
            async for chunk in chunks_of(messages, idle_s=self._idle_s, field=FIELD):
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large()
                held.at_least(size)
                running.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            if header.sha256 not in ("", running.hexdigest()):
                raise InvalidArgument(
                    "The received bytes do not match the announced SHA-256",
                    field="sha256",
                    reason="ARCHIVE_DIGEST_MISMATCH",
                    remedy="Upload the archive again; it was damaged in transit, or the digest is of another file.",
                )
            return await self._take(header, file, running.hexdigest())

    async def _take(self, header: ImportHeader, file: IO[bytes], sha256: str) -> Imported:
        archive = await asyncio.to_thread(open_archive, file, self._limits, field=FIELD)
        hidden = [path for path in archive.entries if is_hidden(path)]
        faults = {path: fault for path, entry in archive.entries.items() if (fault := fault_of(entry))}
        files = [path for path in archive.entries if not is_hidden(path) and path not in faults]
        options = {"captions": header.captions, "folder_repeats": header.folder_repeats}
        found = await asyncio.to_thread(arranged, archive, files, **options)
        if not found.pictures and not faults:
            raise InvalidArgument(
                "The archive holds no picture",
                field=FIELD,
                reason="ARCHIVE_EMPTY",
                remedy=f"Fiveshot takes {', '.join(EXTENSIONS)}.",
            )
        await self._remember(header, sha256)
        imported = Imported(header.dataset, words=found.words)
        imported.passed_over = [*found.passed_over, *((path, Why.HIDDEN) for path in hidden)]
        for placed in found.pictures:
            imported.outcomes += await self._picture(header, archive, placed, imported)
        imported.outcomes += [Outcome(str(path), error=fault) for path, fault in faults.items() if not is_hidden(path)]
        return imported

    async def _remember(self, header: ImportHeader, sha256: str) -> None:
        updating = ("update_present",) if header.update_present else ()
        key = RequestKey(
            header.dataset.project,
            "ImportImages",
            header.request_id,
            # Requests of before there was a choice must be recognised.
            digest(header.dataset, sha256, header.captions, header.folder_repeats, *updating),
        )
        async with self._store.write() as tx:
            await tx.lock_dataset(header.dataset)
            if await tx.recall(key) is None:
                await tx.remember(key, header.dataset.name)

    async def _picture(self, header: ImportHeader, archive: Archive, placed: Placed, so_far: Imported) -> list[Outcome]:
        """What became of a picture, and of its mask where that was refused."""
        name = str(placed.path)
        try:
            given = await self._header_of(header, archive, placed)
            image = await self._uploads.upload(_messages(archive, placed, given))
        except DomainError as error:
            if error.reason == "IMAGE_DUPLICATE":
                return [await self._present(header, given, Outcome(name, error=relocated(error, _field)), so_far)]
            gone = isinstance(error, NotFound) and error.metadata.get("name") != header.dataset.name
            full = isinstance(error, ResourceExhausted) and error.metadata.get("budget", "") != UPLOADS.name
            full = full and error.reason in ("DATASET_FULL", "BUDGET_USED_UP")
            if gone or full or isinstance(error, _OF_A_PICTURE):
                return [Outcome(name, error=relocated(error, _field))]
            raise
        if placed.mask is None:
            return [Outcome(name, image=image)]
        try:
            mask = await self._masks.upload(_mask(archive, placed.mask, image.ref))
        except DomainError as error:
            if not isinstance(error, (*_OF_A_PICTURE, ResourceExhausted)):
                raise
            return [Outcome(name, image=image), Outcome(str(placed.mask), error=relocated(error, _field))]
        return [Outcome(name, image=mask)]

    async def _present(self, header: ImportHeader, given: UploadHeader, refused: Outcome, so_far: Imported) -> Outcome:
        """Of a picture that the dataset holds already: what the archive says otherwise, changed if that is wanted.

        A second copy within the archive changes nothing: the first has said what is to be said.
        """
        assert refused.error is not None
        ref = ImageRef.parse(refused.error.metadata["image"])
        twice = any(one.image is not None and one.image.ref == ref for one in so_far.outcomes)
        said = ImageFields(caption=given.caption.strip(), crop=given.crop, num_repeats=given.num_repeats)
        async with self._store.write() as tx:
            try:
                dataset = await tx.lock_dataset(ref.dataset)
                image = await tx.image(ref)
            except NotFound:
                # Deleted in this moment: it is as if the import had come before.
                return refused
            told = [path for path in ("caption", "crop", "num_repeats") if getattr(said, path)]
            differing = tuple(path for path in told if getattr(said, path) != getattr(image.fields, path))
            if not differing or twice or not header.update_present:
                return replace(refused, differing=differing)
            now = self._clock()
            updated = edited(image, said, differing, "", now)
            await tx.save_image(updated)
            await tx.save_dataset(dataset.touched(now))
        return Outcome(refused.file_name, image=updated, differing=differing, updated=True)

    async def _header_of(self, header: ImportHeader, archive: Archive, placed: Placed) -> UploadHeader:
        caption = placed.caption
        if placed.caption_file:
            data = await asyncio.to_thread(small, archive, placed.caption_file, MAX_CAPTION_FILE)
            try:
                caption = caption_text(data, placed.caption_file.name)
            except LayoutError as error:
                raise unreadable(error) from error
        return UploadHeader(
            header.dataset,
            file_name(placed.path),
            size_bytes=archive.entries[placed.path].size_bytes,
            caption=checked_caption(caption),
            request_id=_request_id(header.request_id, placed.path),
            num_repeats=placed.repeats,
            crop=Crop(*placed.crop) if placed.crop else None,
        )

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(
            f"The archive has more than {self._max_bytes} bytes",
            field=FIELD,
            reason="ARCHIVE_TOO_LARGE",
            remedy="Send the pictures in several archives.",
            metadata={"limit_bytes": str(self._max_bytes)},
        )


async def _messages(archive: Archive, placed: Placed, header: UploadHeader) -> AsyncIterator[UploadHeader | bytes]:
    yield header
    chunks = archive.chunks(placed.path)
    while (chunk := await asyncio.to_thread(next, chunks, b"")) != b"":
        yield chunk


async def _mask(archive: Archive, path: PurePosixPath, image: ImageRef) -> AsyncIterator[MaskHeader | bytes]:
    yield MaskHeader(image)
    chunks = archive.chunks(path)
    while (chunk := await asyncio.to_thread(next, chunks, b"")) != b"":
        yield chunk


def _request_id(request_id: str, path: PurePosixPath) -> str:
    return f"import-{digest(request_id, str(path))}" if request_id else ""


def _field(name: str) -> str:
    return FIELD if name == "chunk" else name.removeprefix("header.")
