"""The one way in which a picture becomes pixels, for storage, tagging and training alike.

Header checks → draft → load → EXIF orientation → 16 bit and palettes → ICC to sRGB → alpha onto white. Pillow's own
checks are not enough: `verify()` passes a truncated JPEG, a file of 17 KB may unfold to 432 MB with only a warning, and
`convert("RGB")` clips a 16-bit picture to white.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL import Image, ImageCms, UnidentifiedImageError

from services.chassis.errors import InvalidArgument

Format = Literal["png", "jpeg"]

_MAGIC: tuple[tuple[bytes, Format], ...] = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"))
_ORIENTATION_TAG = 0x0112
# MPO is a JPEG with further pictures behind it, as phones write it; the first frame is the photo.
_PILLOW_FORMATS = ("PNG", "JPEG", "MPO")
_SRGB = ImageCms.createProfile("sRGB")
# How to turn a picture of each EXIF orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged files, besides its own classes.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, KeyError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True)
class PictureLimits:
    """What is taken. max_pixels: width times height. min_side: the shorter side in pixels."""

    max_pixels: int = 64_000_000
    min_side: int = 1


DEFAULT_LIMITS = PictureLimits()


@dataclass(frozen=True)
class PictureInfo:
    """What the header says. width and height: upright, as a viewer shows it. orientation: the EXIF value, 1 to 8."""

    format: Format
    width: int
    height: int
    mode: str
    has_alpha: bool
    orientation: int

    @property
    def content_type(self) -> str:
        """`image/png` or `image/jpeg`."""
        return f"image/{self.format}"


def sniff(data: bytes) -> Format | None:
    """The format by the first bytes, whatever the file is called."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    return None


def inspect(data: bytes, limits: PictureLimits = DEFAULT_LIMITS, *, field: str = "image") -> PictureInfo:
    """Reads the header only. data: the file, or its first part.

    Raises InvalidArgument with reason IMAGE_EMPTY, IMAGE_TYPE_UNSUPPORTED, IMAGE_UNREADABLE, IMAGE_TOO_MANY_PIXELS or
    IMAGE_TOO_SMALL.
    """
    with _opened(data, limits, field) as image:
        orientation = _orientation(image) if image.format != "PNG" or _png_tells_orientation(data) else 1
        width, height = image.size
        if orientation >= 5:
            width, height = height, width
        return PictureInfo(
            format="png" if image.format == "PNG" else "jpeg",
            width=width,
            height=height,
            mode=image.mode,
            has_alpha=image.has_transparency_data,
            orientation=orientation,
        )


def decode(
    data: bytes, *, max_pixels: int = DEFAULT_LIMITS.max_pixels, draft_side: int | None = None, field: str = "image"
) -> Image.Image:
    """The picture as RGB: upright, in sRGB, transparency on white.

    draft_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as both sides keep this many pixels; that
    is several times faster and enough for a thumbnail or a tagger. Raises InvalidArgument as `inspect` does.
    """
    with _opened(data, PictureLimits(max_pixels=max_pixels), field) as image:
        if draft_side is not None and image.format != "PNG":
            # The mode stays: drafting to RGB would make Pillow drop the colour profile's meaning for CMYK.
            image.draft(None, _draft_size(image.size, draft_side))
        _load(image, field)
        profile = image.info.get("icc_profile")
        turn = _UPRIGHT.get(_orientation(image))
        upright = image.transpose(turn) if turn is not None else image
    return _on_white(_to_srgb(_eight_bit(upright), profile))


def resize_within(image: Image.Image, max_side: int) -> Image.Image:
    """Scales the picture down until its longer side has at most `max_side` pixels; never up."""
    scale = max_side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def thumbnail(picture: bytes | Image.Image, max_side: int = 256) -> bytes:
    """A JPEG of the picture whose longer side has at most `max_side` pixels."""
    image = decode(picture, draft_side=max_side) if isinstance(picture, bytes) else picture
    return to_jpeg(resize_within(image, max_side), quality=85)


def to_jpeg(image: Image.Image, *, quality: int = 90) -> bytes:
    """An RGB picture as a JPEG file."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _opened(data: bytes, limits: PictureLimits, field: str) -> Image.Image:
    if not data:
        raise InvalidArgument(
            "The picture is empty", field=field, reason="IMAGE_EMPTY", remedy="Send the file's bytes."
        )
    if sniff(data) is None:
        raise InvalidArgument(
            "The file is neither PNG nor JPEG",
            field=field,
            reason="IMAGE_TYPE_UNSUPPORTED",
            remedy="Convert it to PNG or JPEG; renaming the file does not convert it.",
        )
    try:
        image = Image.open(BytesIO(data), formats=_PILLOW_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning arrives here only where warnings are errors; elsewhere our own cap below decides.
        raise _too_many_pixels(limits, field, "") from error
    except (UnidentifiedImageError, *_DAMAGE) as error:
        raise _unreadable(field) from error
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _too_many_pixels(limits, field, f" ({width} × {height})")
    if min(width, height) < limits.min_side:
        raise InvalidArgument(
            f"The picture has {width} × {height} pixels; the shorter side needs {limits.min_side}",
            field=field,
            reason="IMAGE_TOO_SMALL",
            remedy="Use a larger original; enlarging a small one adds no detail.",
        )
    return image


def _load(image: Image.Image, field: str) -> None:
    try:
        image.load()
    except (Image.DecompressionBombError, *_DAMAGE) as error:
        raise _unreadable(field) from error


def _draft_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size to ask of `draft` so that the shorter side is not less than `side`."""
    scale = min(1.0, side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        # A damaged EXIF block says nothing about the pixels, which may be fine.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _png_tells_orientation(data: bytes) -> bool:
    """Whether a PNG has EXIF or XMP; Pillow would decode the whole picture to find that it has neither."""
    return any(
        kind == b"eXIf" or (kind == b"iTXt" and body.startswith(b"XML:com.adobe")) for kind, body in _chunks(data)
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and first bytes of each chunk of a PNG."""
    position = 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + min(length, 32)]
        position += 12 + length


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits are kept in I;16, or in I by older files; the upper eight are the picture.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.has_transparency_data and image.mode in ("L", "RGB"):
        # One colour is declared transparent (PNG tRNS) instead of an alpha channel.
        return image.convert("LA" if image.mode == "L" else "RGBA")
    return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode.rstrip("A")) if alpha is not None else image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(colours, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, *_DAMAGE):
        # A profile that is damaged, or made for another colour model, is ignored as every viewer does.
        return image
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA", "La", "RGBa"):
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, with_alpha).convert("RGB")


def _unreadable(field: str) -> InvalidArgument:
    return InvalidArgument(
        "The picture cannot be read: the file is damaged or cut off",
        field=field,
        reason="IMAGE_UNREADABLE",
        remedy="Open and save it again in an image editor, or send the original.",
    )


def _too_many_pixels(limits: PictureLimits, field: str, size: str) -> InvalidArgument:
    return InvalidArgument(
        f"The picture has more than {limits.max_pixels / 1e6:g} million pixels{size}",
        field=field,
        reason="IMAGE_TOO_MANY_PIXELS",
        remedy="Scale it down before sending it.",
    )
