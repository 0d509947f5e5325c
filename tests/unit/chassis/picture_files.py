"""Writes the awkward picture files that the tests of the intake need, byte by byte where no library would."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image, ImageCms

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 40), (30, 40, 210), (255, 255, 255)


def four_corners(width: int = 64, height: int = 48) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right: every turn and flip looks different."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of the kind "PNG" or "JPEG"."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, bit_depth: int, color_type: int, raw: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of raw scanlines (each with its filter byte), with extra chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def gray_16(values: list[int]) -> bytes:
    """A one-row 16-bit grey PNG."""
    return png(len(values), 1, 16, 0, b"\0" + struct.pack(f">{len(values)}H", *values))


def wide_gamut_profile() -> bytes:
    """An RGB profile with the primaries of Adobe RGB (1998) and gamma 2.2, written by hand after ICC.1:2010.

    Red, green and blue columns are the D50-adapted XYZ of the primaries; a colour that this profile calls
    (100, 200, 100) is a more saturated green than sRGB calls by these numbers.
    """

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + s15(x) + s15(y) + s15(z)

    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"wide gamut test\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * (4 + 4 + 2 + 1 + 67)
    tags = {
        b"desc": description + b"\0" * (-len(description) % 4),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"rTRC": gamma,
        b"gTRC": gamma,
        b"bTRC": gamma,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, bodies = b"", b""
    for name, body in tags.items():
        table += struct.pack(">4sII", name, offset + len(bodies), len(body))
        bodies += body
    total = offset + len(bodies)
    header = struct.pack(">I4sI4s4s4s", total, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + s15(0.9642) + s15(1.0) + s15(0.8249)
    profile = header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + bodies
    ImageCms.ImageCmsProfile(BytesIO(profile))
    return profile
