"""What a file is by its first bytes, and what to tell the sender when it is neither PNG nor JPEG."""

from __future__ import annotations

import re
from typing import Literal

from services.chassis.errors import InvalidArgument

Format = Literal["png", "jpeg"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAGIC: tuple[tuple[bytes, Format], ...] = ((PNG_SIGNATURE, "png"), (b"\xff\xd8\xff", "jpeg"))

_CONVERT = "Convert it to PNG or JPEG; renaming the file does not convert it."
_HEIC = (
    "Export it as JPEG; on an iPhone, Settings > Camera > Formats > Most Compatible makes it write JPEG from then on."
)
_RAW = "Develop it in a raw converter and export it as JPEG or PNG."
_DRAWING = "Export the drawing or page as a PNG at the size that you need."
_UNPACK = "Unpack it and upload the pictures one by one."
_VIDEO = "Take still pictures from the video and upload those."
_PAGE = "It is a web page, not the picture on it: save the picture itself."

# Name and remedy by the first bytes. ISO files (HEIC, AVIF, MP4) and RIFF files name themselves a little later.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"GIF87a", "a GIF", _CONVERT),
    (b"GIF89a", "a GIF", _CONVERT),
    (b"BM", "a BMP", _CONVERT),
    (b"II*\0", "a TIFF or a camera's raw file", "Export it as PNG or JPEG, a raw file from a raw converter."),
    (b"MM\0*", "a TIFF or a camera's raw file", "Export it as PNG or JPEG, a raw file from a raw converter."),
    (b"II+\0", "a BigTIFF", _CONVERT),
    (b"MM\0+", "a BigTIFF", _CONVERT),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", _RAW),
    (b"\xff\x0a", "a JPEG XL", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL", _CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000", _CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000", _CONVERT),
    (b"8BPS", "a Photoshop file", "Export it as a PNG."),
    (b"gimp xcf", "a GIMP file", "Export it as a PNG."),
    (b"\0\0\x01\0", "an icon file", _CONVERT),
    (b"\x76\x2f\x31\x01", "an OpenEXR", _CONVERT),
    (b"qoif", "a QOI", _CONVERT),
    (b"P5", "a PNM", _CONVERT),
    (b"P6", "a PNM", _CONVERT),
    (b"\x8aMNG", "an MNG", _CONVERT),
    (b"%PDF", "a PDF", _DRAWING),
    (b"%!PS", "a PostScript file", _DRAWING),
    (b"PK\x03\x04", "a ZIP archive or an office document", _UNPACK),
    (b"PK\x05\x06", "an empty ZIP archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", _VIDEO),
    (b"MZ", "a program", "Send a picture."),
    (b"\x7fELF", "a program", "Send a picture."),
)
# https://mp4ra.org/registered-types/brands
_BRANDS: dict[bytes, tuple[str, str]] = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), ("a HEIC", _HEIC)),
    **dict.fromkeys((b"avif", b"avis"), ("an AVIF", _CONVERT)),
    b"crx ": ("a camera's raw file", _RAW),
}
_RIFF = {b"WEBP": ("a WebP", _CONVERT), b"AVI ": ("an AVI video", _VIDEO), b"WAVE": ("a sound file", "Send a picture.")}
_HEAD = 1024
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<body|<script)", re.IGNORECASE)
_JSON = re.compile(rb"^\s*[\[{]\s*[\"\]}]")


def sniff(data: bytes) -> Format | None:
    """The format by the first bytes, whatever the file is called."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    return None


def named(data: bytes) -> tuple[str, str]:
    """What a file is that is neither PNG nor JPEG, with its article ("a WebP"; "" when unknown), and a remedy."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], ("a video", _VIDEO))
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], ("a RIFF file", _CONVERT))
    for magic, name, remedy in _OTHERS:
        if data.startswith(magic):
            return name, remedy
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    if _HTML.search(head):
        return "an HTML page", _PAGE
    if _SVG.search(head):
        return "an SVG", _DRAWING
    if _JSON.search(head):
        return "a JSON text", "Send the picture's bytes as they are."
    if head.lstrip()[:1] == b"<":
        return "an XML text", _CONVERT
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "a text", "Send the picture's bytes as they are, not base64 and not a link."
    return "", _CONVERT


def unsupported(data: bytes, *, field: str) -> InvalidArgument:
    """The answer to a file that is neither PNG nor JPEG."""
    name, remedy = named(data)
    return InvalidArgument(
        f"The file is {name}; PNG and JPEG are taken" if name else "The file is neither PNG nor JPEG",
        field=field,
        reason="IMAGE_TYPE_UNSUPPORTED",
        remedy=remedy,
        metadata={"found": name.partition(" ")[2]},
    )


def unreadable(field: str, what: str = "") -> InvalidArgument:
    """The answer to a damaged file. what: the damage, as the end of a sentence."""
    return InvalidArgument(
        f"The picture cannot be read: {what or 'the file is damaged or cut off'}",
        field=field,
        reason="IMAGE_UNREADABLE",
        remedy="Open and save it again in an image editor, or send the original.",
    )


def too_costly(field: str, what: str) -> InvalidArgument:
    """The answer to a file that would take more than its share. what: of which, as the end of a sentence."""
    return InvalidArgument(
        f"Decoding the picture takes too much: {what}",
        field=field,
        reason="IMAGE_TOO_COSTLY",
        remedy="Save it again in an image editor, as a JPEG that is not progressive or as a PNG, or scale it down.",
    )
