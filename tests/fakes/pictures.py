"""Picture files for tests, good and bad, made on the spot."""

from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO

from PIL import Image


def picture(width: int = 64, height: int = 48, *, seed: int = 0) -> Image.Image:
    """A picture of coloured noise that differs with the seed."""
    generator = random.Random(seed)
    small = Image.frombytes("RGB", (8, 6), generator.randbytes(8 * 6 * 3))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def png(width: int = 64, height: int = 48, *, seed: int = 0) -> bytes:
    """A PNG file."""
    return _saved(picture(width, height, seed=seed), "PNG")


def jpeg(width: int = 64, height: int = 48, *, seed: int = 0, orientation: int = 1) -> bytes:
    """A JPEG file; orientation is the EXIF value, 1 to 8."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    picture(width, height, seed=seed).save(buffer, "JPEG", quality=92, exif=exif)
    return buffer.getvalue()


def gif() -> bytes:
    """A picture of a type that is not taken."""
    return _saved(picture(), "GIF")


def png_of_declared_size(width: int, height: int) -> bytes:
    """A small PNG whose header declares any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def heavy_png(size_bytes: int) -> bytes:
    """A valid PNG of at least so many bytes, which a text chunk in it makes up."""
    plain = png()
    data = b"Comment\0" + b"x" * size_bytes
    chunk = struct.pack(">I", len(data)) + b"tEXt" + data + struct.pack(">I", zlib.crc32(b"tEXt" + data))
    end_of_header = 8 + 25
    return plain[:end_of_header] + chunk + plain[end_of_header:]


def _saved(image: Image.Image, form: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()
