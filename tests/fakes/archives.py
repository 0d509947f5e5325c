"""Zip archives for tests: plain ones, and those that strangers make."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping


def zipped(files: Mapping[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these files, in this order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    """The files of an archive, each with its right CRC."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pieces(data: bytes, size: int = 64 * 1024) -> Iterator[bytes]:
    """The archive as it travels."""
    for start in range(0, max(1, len(data)), size):
        yield data[start : start + size]


def _patched(data: bytes, *changes: tuple[bytes, int, str, int]) -> bytes:
    """Writes `value` of `form` at `offset` behind the first `mark`."""
    result = bytearray(data)
    for mark, offset, form, value in changes:
        struct.pack_into(form, result, result.index(mark) + offset, value)
    return bytes(result)


def raw_archive(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Stored entries with names as they are: `zipfile` would mend them."""
    body, directory = bytearray(), bytearray()
    count = 0
    for name, data in entries:
        sizes = struct.pack("<IIIHH", zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 0) + sizes
        directory += struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, len(body)) + name
        body += b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 0, 0, 0) + sizes + name + data
        count += 1
    return bytes(body + directory) + _end(count, len(directory), len(body))


def _end(count: int, size: int, offset: int) -> bytes:
    return b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, size, offset, 0)


def _overlapping() -> bytes:
    """Many entries that are one deflated piece, each with a local header inside the entry before it."""
    one = zipped({"a0.png": bytes(4096)}, compression=zipfile.ZIP_STORED)
    at = one.index(b"PK\1\2")
    entry = one[at : one.index(b"PK\5\6")]
    directory = b"".join(entry.replace(b"a0.png", b"a%d.png" % number) for number in range(5))
    return one[:at] + directory + _end(5, len(directory), at)


def _link() -> bytes:
    info = zipfile.ZipInfo("link.png")
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def _zip64_lie() -> bytes:
    """The directory says that the entry is long, in a record of the long form that is not there."""
    plain = zipped({"a.png": b"x" * 100})
    return _patched(plain, (b"PK\1\2", 20, "<I", 0xFFFFFFFF), (b"PK\1\2", 24, "<I", 0xFFFFFFFF))


def _zip64_place() -> bytes:
    """The end of the archive points to a directory of the long form far outside."""
    plain = zipped({"a.png": b"x"})
    at = plain.index(b"PK\5\6")
    long_end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 1 << 60, 1 << 60)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, at, 1)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:at] + long_end + locator + end


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "ARCHIVE_UNREADABLE"),
    "no zip": (lambda: b"\x89PNG" + bytes(1000), "ARCHIVE_UNREADABLE"),
    "cut short": (lambda: zipped({"a.png": bytes(9000)})[:-30], "ARCHIVE_UNREADABLE"),
    "no entries": (lambda: zipped({}), "ARCHIVE_EMPTY"),
    "no picture": (lambda: zipped({"a.txt": b"x", ".DS_Store": b"x"}), "ARCHIVE_EMPTY"),
    "parent": (lambda: zipped({"../a.png": b"x"}), "ARCHIVE_NAME_UNSAFE"),
    "parent inside": (lambda: zipped({"a/../../a.png": b"x"}), "ARCHIVE_NAME_UNSAFE"),
    "parent of windows": (lambda: raw_archive([(rb"..\a.png", b"x")]), "ARCHIVE_NAME_UNSAFE"),
    "absolute": (lambda: raw_archive([(b"/etc/a.png", b"x")]), "ARCHIVE_NAME_UNSAFE"),
    "drive": (lambda: raw_archive([(rb"C:\a.png", b"x")]), "ARCHIVE_NAME_UNSAFE"),
    "deep": (lambda: zipped({"a/" * 2000 + "a.png": b"x"}), "ARCHIVE_NAME_UNSAFE"),
    "no name": (lambda: raw_archive([(b"", b"x")]), "ARCHIVE_NAME_UNSAFE"),
    "twice": (lambda: raw_archive([(b"a.png", b"x"), (b"a.png", b"y")]), "ARCHIVE_NAME_REPEATED"),
    "twice in other words": (lambda: raw_archive([(b"a/b.png", b"x"), (rb"a\.\b.png", b"y")]), "ARCHIVE_NAME_REPEATED"),
    "encrypted": (
        lambda: _patched(zipped({"a.png": b"x"}), (b"PK\3\4", 6, "<H", 1), (b"PK\1\2", 8, "<H", 1)),
        "ARCHIVE_ENCRYPTED",
    ),
    "many": (lambda: zipped({f"{n}.txt": b"" for n in range(51)}), "ARCHIVE_TOO_MANY_ENTRIES"),
    "long directory": (lambda: raw_archive([(b"%05d.txt" % n, b"") for n in range(9000)]), "ARCHIVE_TOO_MANY_ENTRIES"),
    "bomb": (lambda: zipped({"a.png": bytes(3_000_000)}), "ARCHIVE_RATIO"),
    "much in all": (lambda: zipped({f"{n}.png": bytes(1_000_000) for n in range(12)}), "ARCHIVE_TOO_LARGE"),
    "quoted": (_overlapping, "ARCHIVE_OVERLAPPING"),
    "longer than the file": (
        lambda: _patched(zipped({"a.png": b"x"}), (b"PK\1\2", 20, "<I", 1 << 30)),
        "ARCHIVE_OVERLAPPING",
    ),
    "zip64 without its record": (_zip64_lie, "ARCHIVE_TOO_LARGE"),
    "zip64 elsewhere": (_zip64_place, "ARCHIVE_UNREADABLE"),
    "metadata that is none": (
        lambda: zipped({"a.png": b"x", "metadata.jsonl": b"[" * 100_000}),
        "METADATA_UNREADABLE",
    ),
    "metadata of half a letter": (
        lambda: zipped({"a.png": b"x", "metadata.jsonl": b'{"file_name": "a.png", "text": "\\ud800"}'}),
        "METADATA_UNREADABLE",
    ),
    "crop outside": (
        lambda: zipped({"a.png": b"x", "metadata.jsonl": b'{"file_name": "a.png", "crop": [0, 0, NaN, 1]}'}),
        "METADATA_UNREADABLE",
    ),
    "crop beyond all numbers": (
        lambda: zipped(
            {"a.png": b"x", "metadata.jsonl": b'{"file_name": "a.png", "crop": [0, 0, 1, 1%s]}' % (b"0" * 400)}
        ),
        "METADATA_UNREADABLE",
    ),
}
"""Archives that are refused whole, each with its reason, for limits of 50 entries and 10 MB inflated."""

BAD_ENTRIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "link": (_link, "ARCHIVE_ENTRY_UNSUPPORTED"),
    "other method": (lambda: zipped({"a.png": b"x" * 99}, compression=zipfile.ZIP_LZMA), "ARCHIVE_ENTRY_UNSUPPORTED"),
    "nested": (lambda: zipped({"inner.zip": zipped({"a.png": b"x"})}), "ARCHIVE_NESTED"),
    "wrong crc": (
        lambda: _patched(zipped({"a.png": b"x" * 99}), (b"PK\3\4", 14, "<I", 7), (b"PK\1\2", 16, "<I", 7)),
        "ARCHIVE_ENTRY_DAMAGED",
    ),
    "more than it says": (
        lambda: _patched(zipped({"a.png": b"x" * 999}), (b"PK\3\4", 22, "<I", 9), (b"PK\1\2", 24, "<I", 9)),
        "ARCHIVE_ENTRY_DAMAGED",
    ),
    "damaged": (
        lambda: _patched(zipped({"a.png": bytes(range(256))}), (b"a.png", 5, "<I", 0xFFFFFFFF)),
        "ARCHIVE_ENTRY_DAMAGED",
    ),
    "other name inside": (
        lambda: zipped({"a.png": b"x"}).replace(b"a.png", b"b.png", 1),
        "ARCHIVE_ENTRY_DAMAGED",
    ),
    "no picture inside": (lambda: zipped({"a.png": b"x"}), "IMAGE_TYPE_MISMATCH"),
    "empty": (lambda: zipped({"a.png": b""}), "IMAGE_EMPTY"),
    "large": (lambda: zipped({"a.png": bytes(9_000)}), "IMAGE_TOO_LARGE"),
    "caption that is no text": (lambda: zipped({"a.png": b"x", "a.txt": b"\xff\xfe"}), "CAPTION_UNREADABLE"),
    "caption that is long": (lambda: zipped({"a.png": b"x", "a.txt": b"x" * 2001}), "CAPTION_TOO_LONG"),
    "caption file that is long": (lambda: zipped({"a.png": b"x", "a.txt": b" " * 70_000}), "CAPTION_TOO_LONG"),
    "reading direction": (lambda: zipped({"a.png": b"x", "a.txt": "a\u202eb".encode()}), "TEXT_INVALID"),
    "control character": (lambda: zipped({"a.png": b"x", "a.txt": b"a\x07"}), "TEXT_INVALID"),
    "long name": (lambda: zipped({"a" * 300 + ".png": b"x"}), "FILE_NAME_INVALID"),
    "other type": (lambda: zipped({"a.webp": b"x"}), "IMAGE_TYPE_UNSUPPORTED"),
}
"""Archives of one entry that is refused by name, each with its reason, for pictures of at most 8 KB."""
