"""A JPEG's own rules (ITU-T T.81), checked around the decoder.

Pillow passes libjpeg's warnings over: a picture that is cut off and closed with an end marker comes out half grey. And
a progressive file may ask for any number of passes over all pixels, each for a few bytes.
"""

from __future__ import annotations

import re

from services.chassis.errors import InvalidArgument
from services.chassis.picture_decoding.formats import too_costly, unreadable

MAX_SCANS = 100
"""A progressive file has about ten; each costs a pass over the whole picture."""

# Start of frame: baseline, extended and progressive with Huffman codes. What is not here no common reader opens.
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_OTHER_FRAMES = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic-coded"),
}
_SOS, _EOI, _SOI = 0xDA, 0xD9, 0xD8
# A marker among coded pixels: not a stuffed zero, not a restart marker, not a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")
# Cameras and editors leave padding before a marker; more than this is a decoder that has lost its place.
_MAX_EXTRANEOUS = 256
_DAMAGE = ("premature end", "bad huffman", "corrupt jpeg data", "inconsistent progression", "invalid progressive")


def check_structure(data: bytes, *, field: str, whole: bool = True) -> None:
    """Walks over the segments up to the end of the first picture. whole: False when `data` is only the first part.

    Raises InvalidArgument: IMAGE_UNREADABLE, IMAGE_TYPE_UNSUPPORTED (a kind of JPEG that few programs read) or
    IMAGE_TOO_COSTLY (more than `MAX_SCANS` scans).
    """
    position, scans, frames = 2, 0, 0
    while True:
        position = _next_marker(data, position)
        if position + 2 > len(data):
            if whole:
                raise unreadable(field, "the file is cut off")
            return
        marker = data[position + 1]
        position += 2
        if marker == _EOI:
            break
        if 0xD0 <= marker <= _SOI or marker in (0x00, 0x01):
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > len(data):
            if whole:
                raise unreadable(field, "the file is cut off in its header" if not scans else "the file is cut off")
            return
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frames += 1
            _check_frame(marker, data[position : position + length], frames, field)
        position += length
        if marker == _SOS:
            scans += 1
            if not frames:
                raise unreadable(field, "its pixels come before its size")
            if scans > MAX_SCANS:
                raise too_costly(field, f"it is built up in more than {MAX_SCANS} passes")
            found = _MARKER.search(data, position)
            position = found.start() if found else len(data)
    if not scans:
        raise unreadable(field, "it has no pixels")


def check_pixels(data: bytes, *, cmyk: bool, field: str) -> None:
    """Decodes everything at an eighth of the size and reads what libjpeg warns of.

    Raises InvalidArgument(IMAGE_UNREADABLE).
    """
    # Loaded where it decodes and nowhere else: a service that has its pictures decoded needs no NumPy.
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, colorspace="CMYK" if cmyk else "GRAY", min_factor=8, fastdct=True)
    except ValueError as error:
        if "insufficient memory" in str(error).lower():
            raise MemoryError from error
        if _is_damage(str(error)):
            raise unreadable(field, "its pixels are damaged or cut off") from error


def _is_damage(warning: str) -> bool:
    extraneous = _EXTRANEOUS.search(warning)
    if extraneous:
        return int(extraneous[1]) > _MAX_EXTRANEOUS
    return any(word in warning.lower() for word in _DAMAGE)


def _next_marker(data: bytes, position: int) -> int:
    """Where the next marker begins; the standard allows any number of fill bytes before it."""
    position = data.find(b"\xff", position)
    if position < 0:
        return len(data)
    while data[position + 1 : position + 2] == b"\xff":
        position += 1
    return position


def _check_frame(marker: int, segment: bytes, number: int, field: str) -> None:
    if number > 1:
        raise unreadable(field, "it has two sizes")
    if marker not in _FRAMES or (len(segment) > 2 and segment[2] != 8):
        kind = _OTHER_FRAMES.get(marker, "12-bit")
        raise InvalidArgument(
            f"The file is a {kind} JPEG, which few programs read",
            field=field,
            reason="IMAGE_TYPE_UNSUPPORTED",
            remedy="Save it again as an ordinary JPEG or as a PNG.",
            metadata={"found": f"{kind} JPEG"},
        )
    if len(segment) < 8:
        raise unreadable(field, "its header is damaged")
    height, width = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[5:7], "big")
    if not height or not width:
        raise unreadable(field, "its header gives it no size")
