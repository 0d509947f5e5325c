"""Take in a zip archive of pictures with their captions: each picture is checked and stored as an upload of its own.

The archive lies in a temporary file meanwhile, and at most one picture of it in memory. Within the archive a picture's
request id follows from that of the import, so a repeated import stores nothing twice, and one that broke off goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO

from fiveshot.layouts import (
    EXTENSIONS,
    Arranged,
    LayoutError,
    Placed,
    Why,
    arrange,
    caption_text,
    is_hidden,
    stored_name,
)

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
from services.chassis.patience import next_in_time
from services.chassis.requests.keys import RequestKey, digest
from services.chassis.zip_archives import Archive, ArchiveLimits, Entry, open_archive
from services.dataset.models.checks import MAX_CAPTION, MAX_FILE_NAME, check_text
from services.dataset.models.names import DatasetRef
from services.dataset.models.resources import Crop
from services.dataset.ports import DatasetStore
from services.dataset.use_cases.direct_uploads import Outcome
from services.dataset.use_cases.uploads import UploadHeader, UploadVerb

_FIELD = "content"
_IN_MEMORY = 1024 * 1024
_MAX_CAPTION_FILE = 64 * 1024
_MAX_METADATA = 8 * 1024 * 1024
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".gz", ".cbz")
# What is wrong with one picture; all else is wrong with the call, which can be repeated.
_OF_A_PICTURE = (InvalidArgument, AlreadyExists, FailedPrecondition)


@dataclass(frozen=True)
class ImportHeader:
    """What an import announces. sha256: of the archive, "" when not known."""

    dataset: DatasetRef
    sha256: str = ""
    request_id: str = ""
    captions: bool = True
    folder_repeats: bool = True


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
        budget: ByteBudget,
        limits: ArchiveLimits,
        *,
        max_bytes: int,
        idle_s: float,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._budget = budget
        self._limits = limits
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
        header = await next_in_time(messages, self._idle_s)
        if not isinstance(header, ImportHeader):
            raise InvalidArgument(
                "The import ended before it began",
                field="content",
                reason="UPLOAD_HEADER_MISSING",
                remedy="Send the file; its first message says what it is and where it goes.",
            )
        check_text(header.request_id, field="request_id")
        async with self._store.read() as view:
            await view.dataset(header.dataset)
        with self._budget.holding(header.dataset.project) as held, SpooledTemporaryFile(_IN_MEMORY) as file:
            running, size = hashlib.sha256(), 0
            while (chunk := await next_in_time(messages, self._idle_s)) is not None:
                assert isinstance(chunk, bytes)
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
        archive = await asyncio.to_thread(open_archive, file, self._limits, field=_FIELD)
        hidden = [path for path in archive.entries if is_hidden(path)]
        faults = {path: fault for path, entry in archive.entries.items() if (fault := _fault(entry))}
        files = [path for path in archive.entries if not is_hidden(path) and path not in faults]
        arranged = await asyncio.to_thread(_arranged, header, archive, files)
        if not arranged.pictures and not faults:
            raise InvalidArgument(
                "The archive holds no picture",
                field=_FIELD,
                reason="ARCHIVE_EMPTY",
                remedy=f"Fiveshot takes {', '.join(EXTENSIONS)}.",
            )
        await self._remember(header, sha256)
        imported = Imported(header.dataset, words=arranged.words)
        imported.passed_over = [*arranged.passed_over, *((path, Why.HIDDEN) for path in hidden)]
        for placed in arranged.pictures:
            imported.outcomes.append(await self._picture(header, archive, placed))
        imported.outcomes += [Outcome(str(path), error=fault) for path, fault in faults.items() if not is_hidden(path)]
        return imported

    async def _remember(self, header: ImportHeader, sha256: str) -> None:
        key = RequestKey(
            header.dataset.project,
            "ImportImages",
            header.request_id,
            digest(header.dataset, sha256, header.captions, header.folder_repeats),
        )
        async with self._store.write() as tx:
            await tx.lock_dataset(header.dataset)
            if await tx.recall(key) is None:
                await tx.remember(key, header.dataset.name)

    async def _picture(self, header: ImportHeader, archive: Archive, placed: Placed) -> Outcome:
        name = str(placed.path)
        try:
            image = await self._uploads.upload(self._messages(header, archive, placed))
        except DomainError as error:
            gone = isinstance(error, NotFound) and error.metadata.get("name") != header.dataset.name
            full = isinstance(error, ResourceExhausted) and error.metadata.get("budget", "") != UPLOADS.name
            full = full and error.reason in ("DATASET_FULL", "BUDGET_USED_UP")
            if gone or full or isinstance(error, _OF_A_PICTURE):
                return Outcome(name, error=relocated(error, _field))
            raise
        return Outcome(name, image=image)

    async def _messages(
        self, header: ImportHeader, archive: Archive, placed: Placed
    ) -> AsyncIterator[UploadHeader | bytes]:
        caption = placed.caption
        if placed.caption_file:
            data = await asyncio.to_thread(_small, archive, placed.caption_file, _MAX_CAPTION_FILE)
            try:
                caption = caption_text(data, placed.caption_file.name)
            except LayoutError as error:
                raise _unreadable(error) from error
        yield UploadHeader(
            header.dataset,
            _file_name(placed.path),
            size_bytes=archive.entries[placed.path].size_bytes,
            caption=_checked_caption(caption),
            request_id=_request_id(header.request_id, placed.path),
            num_repeats=placed.repeats,
            crop=Crop(*placed.crop) if placed.crop else None,
        )
        chunks = archive.chunks(placed.path)
        while (chunk := await asyncio.to_thread(next, chunks, b"")) != b"":
            yield chunk

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(
            f"The archive has more than {self._max_bytes} bytes",
            field=_FIELD,
            reason="ARCHIVE_TOO_LARGE",
            remedy="Send the pictures in several archives.",
            metadata={"limit_bytes": str(self._max_bytes)},
        )


def _arranged(header: ImportHeader, archive: Archive, files: list[PurePosixPath]) -> Arranged:
    try:
        return arrange(
            files,
            lambda path: _small(archive, path, _MAX_METADATA),
            captions=header.captions,
            folder_repeats=header.folder_repeats,
        )
    except LayoutError as error:
        raise _unreadable(error) from error


def _unreadable(error: LayoutError) -> InvalidArgument:
    return InvalidArgument(
        error.message,
        field="caption",
        reason=error.reason,
        remedy="Mend the text, or set ignore_captions.",
    )


def _fault(entry: Entry) -> InvalidArgument | None:
    if entry.fault:
        return InvalidArgument(
            f"{entry.path.name} {entry.fault}",
            field=_FIELD,
            reason="ARCHIVE_ENTRY_UNSUPPORTED",
            remedy="Pack the file itself, by the usual method.",
        )
    if entry.path.suffix.lower() in _ARCHIVES:
        return InvalidArgument(
            f"{entry.path.name} is an archive within the archive",
            field=_FIELD,
            reason="ARCHIVE_NESTED",
            remedy="Unpack it, and pack its pictures themselves.",
        )
    return None


def _small(archive: Archive, path: PurePosixPath, limit: int) -> bytes:
    """A text of the archive. Raises InvalidArgument."""
    if archive.entries[path].size_bytes > limit:
        raise InvalidArgument(
            f"{path} has more than {limit} bytes",
            field="caption",
            reason="CAPTION_TOO_LONG",
            remedy=f"Shorten the text; a caption has at most {MAX_CAPTION} characters.",
        )
    return b"".join(archive.chunks(path))


def _checked_caption(caption: str) -> str:
    if len(caption) > MAX_CAPTION:
        raise InvalidArgument(
            f"The caption has {len(caption)} characters, and {MAX_CAPTION} are allowed",
            field="caption",
            reason="CAPTION_TOO_LONG",
            remedy="Shorten it.",
        )
    return caption


def _file_name(path: PurePosixPath) -> str:
    name = stored_name(path)
    if len(name) > MAX_FILE_NAME:
        raise InvalidArgument(
            f"The file's name has more than {MAX_FILE_NAME} characters",
            field="file_name",
            reason="FILE_NAME_INVALID",
            remedy="Rename the file.",
        )
    return name


def _request_id(request_id: str, path: PurePosixPath) -> str:
    return f"import-{digest(request_id, str(path))}" if request_id else ""


def _field(name: str) -> str:
    return _FIELD if name == "chunk" else name.removeprefix("header.")
