"""A PNG's own rules (https://www.w3.org/TR/png-3/), checked before a decoder sees the file.

Pillow shows a picture whose rows are missing as black, and refuses one with a large text. Here every chunk that makes
up the picture has its right CRC and place, the pixels are all there, and what is no part of the picture is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from services.chassis.picture_decoding.formats import PNG_SIGNATURE, unreadable

# Bits of a pixel by colour type, for the bit depths that the type allows.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# First column, first row, column step, row step of the seven passes of an interlaced picture.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_CRITICAL = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
# What changes how the pixels look. Text, times, histograms and an animation's further frames do not.
_KEPT = frozenset((b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM"))
_XMP = b"XML:com.adobe.xmp\0"
_MAX_XMP = 1 << 20
MAX_PROFILE = 4 << 20
_INFLATE_STEP = 1 << 20
_EMPTY_IDAT = b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
_LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class PngHeader:
    """IHDR. width, height: pixels. depth: bits of a sample. interlaced: in seven passes."""

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool

    @property
    def inflated_bytes(self) -> int:
        """Bytes of all rows with their filter bytes."""
        bits = _SAMPLES[self.color_type] * self.depth
        if not self.interlaced:
            return _rows_bytes(self.width, self.height, bits)
        return sum(
            _rows_bytes(-(-(self.width - column) // across), -(-(self.height - row) // down), bits)
            for column, row, across, down in _ADAM7
            if self.width > column and self.height > row
        )


def cleaned(data: bytes, *, field: str, whole: bool = True) -> bytes:
    """The file with nothing but the picture in it, EXIF and XMP before the pixels.

    whole: False when `data` is only the first part of the file.
    Raises InvalidArgument(IMAGE_UNREADABLE): a chunk with a wrong CRC or in a wrong place, no palette where one is
    needed, a file that is cut off.
    """
    facts: list[bytes] = []
    kept: list[bytes] = []
    header: PngHeader | None = None
    seen: set[bytes] = set()
    last = b""
    for kind, chunk in _chunks(data, field, whole):
        critical = not kind[0] & 0x20
        if not _crc_is_right(chunk):
            if critical:
                raise unreadable(field, f"the checksum of its {kind.decode('latin-1')} part is wrong")
            continue
        if header is None:
            header = _header(kind, chunk, field)
        else:
            _check_place(kind, chunk, header, seen, last, critical, field)
        if kind == b"eXIf" or (kind == b"iTXt" and chunk[8 : 8 + len(_XMP)] == _XMP and len(chunk) <= _MAX_XMP):
            facts.append(chunk)
        elif kind in _CRITICAL or (kind in _KEPT and kind not in seen and not _is_huge_profile(kind, chunk)):
            kept.append(chunk)
        seen.add(kind)
        last = kind
        if kind == b"IEND":
            break
    if header is None:
        raise unreadable(field, "the file ends in its header")
    if whole and b"IEND" not in seen:
        raise unreadable(field, "the file is cut off")
    if b"IDAT" not in seen:
        # Only of a first part: a reader of the header looks no further than to here.
        kept.append(_EMPTY_IDAT)
    return b"".join((PNG_SIGNATURE, kept[0], *facts, *kept[1:]))


def check_rows(png: bytes, *, field: str) -> None:
    """Inflates the pixels of a cleaned file without keeping them. Raises InvalidArgument(IMAGE_UNREADABLE)."""
    header: PngHeader | None = None
    missing = 0
    inflater = zlib.decompressobj()
    for kind, chunk in _chunks(png, field, True):
        if kind == b"IHDR":
            header = _header(kind, chunk, field)
            missing = header.inflated_bytes
        if kind != b"IDAT":
            continue
        rest = chunk[8:-4]
        while rest and missing > 0 and not inflater.eof:
            try:
                missing -= len(inflater.decompress(rest, _INFLATE_STEP))
            except zlib.error as error:
                raise unreadable(field, "its pixels are damaged") from error
            rest = inflater.unconsumed_tail
    # What the inflater holds back comes out only when it is asked.
    while missing > 0 and not inflater.eof:
        try:
            out = inflater.decompress(inflater.unconsumed_tail, _INFLATE_STEP)
        except zlib.error as error:
            raise unreadable(field, "its pixels are damaged") from error
        if not out:
            break
        missing -= len(out)
    if header is None or missing > 0:
        raise unreadable(field, "some of its rows are missing")


def _chunks(data: bytes, field: str, whole: bool) -> Iterator[tuple[bytes, bytes]]:
    """Type and whole bytes (length, type, body, CRC) of each chunk."""
    position = len(PNG_SIGNATURE)
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if length > _LARGEST or end > len(data):
            if whole:
                raise unreadable(field, "the file is cut off")
            return
        yield data[position + 4 : position + 8], data[position:end]
        position = end


def _crc_is_right(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _is_huge_profile(kind: bytes, chunk: bytes) -> bool:
    """A profile that inflates beyond any real one; a reader would refuse the picture for it."""
    if kind != b"iCCP":
        return False
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(chunk[8:-4].partition(b"\0")[2][1:], MAX_PROFILE)
    except zlib.error:
        return False
    return len(profile) == MAX_PROFILE


def _header(kind: bytes, chunk: bytes, field: str) -> PngHeader:
    body = chunk[8:-4]
    if kind != b"IHDR" or len(body) != 13:
        raise unreadable(field, "its header is damaged")
    width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
    depth, color_type, compression, filtering, interlace = body[8:]
    if not 0 < width <= _LARGEST or not 0 < height <= _LARGEST:
        raise unreadable(field, "its header gives it no size")
    if depth not in _DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
        raise unreadable(field, "its header asks for a kind of PNG that does not exist")
    return PngHeader(width, height, depth, color_type, bool(interlace))


def _check_place(
    kind: bytes, chunk: bytes, header: PngHeader, seen: set[bytes], last: bytes, critical: bool, field: str
) -> None:
    if critical and kind not in _CRITICAL:
        raise unreadable(field, "it has a part that no reader knows")
    if kind == b"IHDR":
        raise unreadable(field, "it has two headers")
    if kind == b"PLTE":
        entries, rest = divmod(len(chunk) - 12, 3)
        if rest or not 1 <= entries <= 256 or b"PLTE" in seen or b"IDAT" in seen or header.color_type in (0, 4):
            raise unreadable(field, "its palette is damaged")
    if kind == b"IDAT":
        if header.color_type == 3 and b"PLTE" not in seen:
            raise unreadable(field, "its palette is missing")
        if b"IDAT" in seen and last != b"IDAT":
            raise unreadable(field, "its pixels are in pieces")
    if kind == b"IEND" and b"IDAT" not in seen:
        raise unreadable(field, "it has no pixels")


def _rows_bytes(width: int, height: int, bits: int) -> int:
    return height * (1 + (width * bits + 7) // 8)
