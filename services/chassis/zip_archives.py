"""Zip archives of strangers: opened within bounds, and read entry by entry; nothing of them is ever unpacked to a disk.

The whole directory is checked before a single entry is inflated: how many there are, what they claim to unfold to,
whether they lie on one another (one piece of deflated data that many entries share is a bomb), what they are called.
What an entry claims is then held to: `zipfile` inflates no more than that, and compares the CRC.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from services.chassis.errors import InvalidArgument

CHUNK_BYTES = 256 * 1024
_DAMAGE = (
    BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OverflowError, IndexError, struct.error,
    zlib.error,
)  # fmt: skip
_DIRECTORY_BYTES_AN_ENTRY = 512
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8_NAME = 0x800
_UNCHECKED_BYTES = 1024 * 1024
"""An entry may unfold to so much whatever its ratio: texts and flat pictures do."""
_MAX_DEPTH, _MAX_PATH = 16, 1000
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class ArchiveLimits:
    """max_entries: folders included. max_total_bytes: of all entries inflated. max_ratio: inflated to deflated."""

    max_entries: int = 2000
    max_total_bytes: int = 1024 * 1024 * 1024
    max_ratio: int = 200


@dataclass(frozen=True)
class Entry:
    """A file in an archive. size_bytes: inflated, as it claims. fault: why it cannot be read; "" when it can."""

    path: PurePosixPath
    size_bytes: int
    info: ZipInfo
    fault: str = ""


class Archive:
    """An archive that is as it should be. entries: its files by path, in the archive's order."""

    def __init__(self, archive: ZipFile, entries: dict[PurePosixPath, Entry], field: str) -> None:
        self._archive = archive
        self._field = field
        self.entries = entries

    def chunks(self, path: PurePosixPath) -> Iterator[bytes]:
        """The bytes of an entry. Raises InvalidArgument(ARCHIVE_ENTRY_DAMAGED), at the very end for a wrong CRC."""
        try:
            with self._archive.open(self.entries[path].info) as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except _DAMAGE as error:
            remedy = "Pack it again, and test the archive."
            raise _refused("ARCHIVE_ENTRY_DAMAGED", f"{path} is damaged in the archive", remedy, self._field) from error


def open_archive(file: IO[bytes], limits: ArchiveLimits, *, field: str) -> Archive:
    """Reads and checks the directory of a zip archive. field: the field of the request that holds it.

    Raises InvalidArgument. ARCHIVE_UNREADABLE: no zip, or a damaged one. ARCHIVE_TOO_MANY_ENTRIES. ARCHIVE_TOO_LARGE:
    it unfolds to too much. ARCHIVE_RATIO: an entry does. ARCHIVE_OVERLAPPING: entries share bytes. ARCHIVE_ENCRYPTED.
    ARCHIVE_NAME_UNSAFE: a name leads out of the archive. ARCHIVE_NAME_REPEATED.
    """
    try:
        archive = ZipFile(cast(IO[bytes], _Bounded(file, limits.max_entries * _DIRECTORY_BYTES_AN_ENTRY)))
    except _TooLargeError as error:
        raise _too_many(limits, field) from error
    except _DAMAGE as error:
        raise _refused(
            "ARCHIVE_UNREADABLE", "The file is no zip archive that can be read",
            "Pack the pictures into a plain zip archive, and send it whole.", field,
        ) from error  # fmt: skip
    infos = archive.infolist()
    if len(infos) > limits.max_entries:
        raise _too_many(limits, field)
    entries: dict[PurePosixPath, Entry] = {}
    for info in infos:
        path, is_folder = _path(info, field)
        if info.flag_bits & _ENCRYPTED:
            remedy = "Pack the pictures without a password."
            raise _refused("ARCHIVE_ENCRYPTED", f"{path} is encrypted", remedy, field)
        if is_folder:
            continue
        if path in entries:
            remedy = "Give every file of the archive a name of its own."
            raise _refused("ARCHIVE_NAME_REPEATED", f"The archive holds {path} twice", remedy, field)
        entries[path] = Entry(path, info.file_size, info, _fault(info))
    _check_sizes(entries, limits, field)
    _check_places(infos, archive.start_dir, field)
    return Archive(archive, entries, field)


def _path(info: ZipInfo, field: str) -> tuple[PurePosixPath, bool]:
    """Where an entry lies, and whether it is a folder."""
    name = info.filename
    if not info.flag_bits & _UTF8_NAME:
        # Many tools write UTF-8 and do not say so.
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.filename
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    # Some tools of Windows separate folders as Windows does.
    name = name.replace("\\", "/")
    path, is_folder = PurePosixPath(name), name.endswith("/")
    outside = path.is_absolute() or _DRIVE.match(name) or ".." in path.parts or not (path.parts or is_folder)
    if outside or len(path.parts) > _MAX_DEPTH or len(name) > _MAX_PATH:
        raise _refused(
            "ARCHIVE_NAME_UNSAFE", f"'{name[:200]}' is no name of a file within the archive",
            "Pack the folder itself, with short names that begin at it.", field,
        )  # fmt: skip
    return path, is_folder


def _fault(info: ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device, not a file"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "is compressed by a method other than deflate"
    return ""


def _check_sizes(entries: dict[PurePosixPath, Entry], limits: ArchiveLimits, field: str) -> None:
    total = sum(entry.size_bytes for entry in entries.values())
    if total > limits.max_total_bytes:
        raise _refused(
            "ARCHIVE_TOO_LARGE", f"The archive unfolds to {total} bytes, and {limits.max_total_bytes} are allowed",
            "Send the pictures in several archives.", field,
        )  # fmt: skip
    for entry in entries.values():
        if entry.size_bytes > max(_UNCHECKED_BYTES, limits.max_ratio * entry.info.compress_size):
            raise _refused(
                "ARCHIVE_RATIO", f"{entry.path} unfolds to more than {limits.max_ratio} times its size",
                "Leave it out; no photo packs that small.", field,
            )  # fmt: skip


def _check_places(infos: list[ZipInfo], end: int, field: str) -> None:
    """Whether every entry has its own place before the directory. The names of the local headers come on top."""
    spans = sorted((at := info.header_offset, at + _LOCAL_HEADER_BYTES + info.compress_size) for info in infos)
    for (start, stop), (following, _) in pairwise([*spans, (end, end)]):
        if start < 0 or stop > following:
            raise _refused(
                "ARCHIVE_OVERLAPPING", "Entries of the archive lie on one another, or past its end",
                "Pack the pictures again with a common tool.", field,
            )  # fmt: skip


def _too_many(limits: ArchiveLimits, field: str) -> InvalidArgument:
    return _refused(
        "ARCHIVE_TOO_MANY_ENTRIES", f"The archive has more than {limits.max_entries} entries",
        "Pack only the pictures and their captions.", field,
    )  # fmt: skip


def _refused(reason: str, message: str, remedy: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, field=field, reason=reason, remedy=remedy)


class _TooLargeError(Exception):
    """More was to be read at once than a directory may have."""


class _Bounded:
    """A file that gives out no more than `limit` bytes at once: `zipfile` reads a directory whole, however long."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._limit = max(limit, CHUNK_BYTES)
        self.tell, self.seekable = file.tell, file.seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:
            raise BadZipFile("a place before the beginning")
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._limit + 1 if size < 0 else min(size, self._limit + 1))
        if len(data) > self._limit:
            raise _TooLargeError
        return data
