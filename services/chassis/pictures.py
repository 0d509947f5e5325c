"""The one way in which a picture becomes pixels, for storage, tagging and training alike.

File's own rules → header → draft → load → 16 bit, palettes, ICC to sRGB, alpha onto white → EXIF orientation. Pillow's
own checks are not enough: `verify()` passes a truncated JPEG, a file of 17 KB may unfold to 432 MB with only a warning,
and `convert("RGB")` clips a 16-bit picture to white.

Bytes of strangers are decoded through `services.chassis.picture_decoding.pool`, which runs this module in processes
that can be killed.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from services.chassis.errors import InvalidArgument
from services.chassis.picture_decoding import jpeg_file, png_file
from services.chassis.picture_decoding.flatten import Flat, flatten
from services.chassis.picture_decoding.formats import Format, sniff, unreadable, unsupported

__all__ = ["DEFAULT_LIMITS", "Decoded", "Format", "PictureInfo", "PictureLimits", "sniff"]

_ORIENTATION_TAG = 0x0112
_XMP_ORIENTATION = re.compile(r"""tiff:Orientation(?:=["']|>)([1-8])\b""")
# MPO is a JPEG with further pictures behind it, as phones write it; the first frame is the photo.
_PILLOW_FORMATS = ("PNG", "JPEG", "MPO")
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
# A colour profile of a scanner may inflate to more than the megabyte that Pillow allows.
PngImagePlugin.MAX_TEXT_CHUNK = png_file.MAX_PROFILE


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


@dataclass(frozen=True)
class Decoded:
    """An upright picture. rgb may be smaller than the original, whose size `info` tells. alpha: L, of rgb's size."""

    info: PictureInfo
    rgb: Image.Image
    alpha: Image.Image | None = None


def inspect(data: bytes, limits: PictureLimits = DEFAULT_LIMITS, *, field: str = "image") -> PictureInfo:
    """Reads the header only. data: the file, or its first part.

    Raises InvalidArgument with reason IMAGE_EMPTY, IMAGE_TYPE_UNSUPPORTED, IMAGE_UNREADABLE, IMAGE_TOO_COSTLY,
    IMAGE_TOO_MANY_PIXELS or IMAGE_TOO_SMALL.
    """
    with _opened(data, limits, field, whole=False) as image:
        return _info(image)


def decode(
    data: bytes, *, max_pixels: int = DEFAULT_LIMITS.max_pixels, draft_side: int | None = None, field: str = "image"
) -> Image.Image:
    """The picture as RGB: upright, in sRGB, transparency on white.

    draft_side: the picture may come out smaller as long as both sides keep this many pixels, a JPEG at 1/2, 1/4 or
    1/8, a PNG at 1/n; that is several times faster, or lighter, and enough for a thumbnail or a tagger.
    Raises InvalidArgument as `inspect` does.
    """
    return read(data, PictureLimits(max_pixels=max_pixels), draft_side=draft_side, field=field).rgb


def read(
    data: bytes,
    limits: PictureLimits = DEFAULT_LIMITS,
    *,
    draft_side: int | None = None,
    most_pixels: int | None = None,
    keep_alpha: bool = False,
    field: str = "image",
) -> Decoded:
    """The picture with what its header says; `decode` says how.

    most_pixels: the picture is reduced to no more, whatever `draft_side` asks for. keep_alpha: hands the transparency
    beside the pixels. Raises InvalidArgument as `inspect` does.
    """
    with _opened(data, limits, field) as image:
        info = _info(image)
        if info.format == "jpeg":
            jpeg_file.check_pixels(data, cmyk=image.mode == "CMYK", field=field)
            # The mode stays: drafting to RGB would make Pillow drop the colour profile's meaning for CMYK.
            image.draft(None, _draft_size(image.size, draft_side, most_pixels))
        _load(image, field)
        flat = flatten(image, factor=_factor(image.size, draft_side, most_pixels), keep_alpha=keep_alpha)
    upright = _upright(flat, info.orientation)
    return Decoded(info, upright.rgb, upright.alpha)


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


def _opened(data: bytes, limits: PictureLimits, field: str, *, whole: bool = True) -> Image.Image:
    if not data:
        raise InvalidArgument(
            "The picture is empty", field=field, reason="IMAGE_EMPTY", remedy="Send the file's bytes."
        )
    form = sniff(data)
    if form is None:
        raise unsupported(data, field=field)
    if form == "png":
        file = png_file.cleaned(data, field=field, whole=whole)
    else:
        jpeg_file.check_structure(data, field=field, whole=whole)
        file = data
    try:
        image = Image.open(BytesIO(file), formats=_PILLOW_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning arrives here only where warnings are errors; elsewhere our own cap below decides.
        raise _too_many_pixels(limits, field, "") from error
    except (UnidentifiedImageError, *_DAMAGE) as error:
        raise unreadable(field) from error
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
    if whole and form == "png":
        png_file.check_rows(file, field=field)
    return image


def _info(image: Image.Image) -> PictureInfo:
    orientation = _orientation(image)
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


def _load(image: Image.Image, field: str) -> None:
    try:
        image.load()
    except (Image.DecompressionBombError, *_DAMAGE) as error:
        raise unreadable(field) from error


def _draft_size(size: tuple[int, int], side: int | None, most_pixels: int | None) -> tuple[int, int]:
    """The size to ask of `draft`, which gives it or the next larger one that it has."""
    scale = 1.0
    if side is not None:
        scale = min(scale, side / min(size))
    if most_pixels is not None:
        scale = min(scale, math.sqrt(most_pixels / (size[0] * size[1])))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _factor(size: tuple[int, int], side: int | None, most_pixels: int | None) -> int:
    """By how much a picture is still to be reduced."""
    factor = 1 if side is None else max(1, min(size) // side)
    if most_pixels is None:
        return factor
    return max(factor, math.ceil(math.sqrt(size[0] * size[1] / most_pixels)))


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        # Pillow would decode all pixels to look for EXIF behind them; in a cleaned file it lies before.
        found = _XMP_ORIENTATION.search(str(image.info.get("XML:com.adobe.xmp", "")))
        return int(found[1]) if found else 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        # A damaged EXIF block says nothing about the pixels, which may be fine.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(flat: Flat, orientation: int) -> Flat:
    turn = _UPRIGHT.get(orientation)
    if turn is None:
        return flat
    return Flat(flat.rgb.transpose(turn), flat.alpha.transpose(turn) if flat.alpha is not None else None)


def _too_many_pixels(limits: PictureLimits, field: str, size: str) -> InvalidArgument:
    return InvalidArgument(
        f"The picture has more than {limits.max_pixels / 1e6:g} million pixels{size}",
        field=field,
        reason="IMAGE_TOO_MANY_PIXELS",
        remedy="Scale it down before sending it.",
    )
