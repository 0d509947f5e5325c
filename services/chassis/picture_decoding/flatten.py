"""Any of Pillow's modes to RGB: eight bits, sRGB, transparency on white, in bands of the picture.

Done at once, a palette with transparency would be in memory four times at four bytes a pixel; in bands the peak is the
picture as it was decoded and the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms

BAND_PIXELS = 2_000_000
_SRGB = ImageCms.createProfile("sRGB")
_PROFILE_FAULTS = (ImageCms.PyCMSError, OSError, SyntaxError, ValueError, TypeError, EOFError, KeyError, IndexError)


@dataclass(frozen=True)
class Flat:
    """rgb: the picture. alpha: L of the same size, None unless it was asked for and the picture has transparency."""

    rgb: Image.Image
    alpha: Image.Image | None = None


def flatten(image: Image.Image, *, factor: int = 1, keep_alpha: bool = False) -> Flat:
    """A loaded picture as RGB, reduced by the mean of factor × factor pixels on the way."""
    profile = image.info.get("icc_profile")
    has_alpha = keep_alpha and image.has_transparency_data
    width, height = image.size
    size = -(-width // factor), -(-height // factor)
    rows = max(1, BAND_PIXELS // (width * factor)) * factor
    if rows >= height:
        return _band(image, profile, factor, has_alpha)
    rgb = Image.new("RGB", size)
    alpha = Image.new("L", size) if has_alpha else None
    to_srgb = _Transform()
    for top in range(0, height, rows):
        part = image.crop((0, top, width, min(height, top + rows)))
        band = _band(part, profile, factor, has_alpha, to_srgb)
        rgb.paste(band.rgb, (0, top // factor))
        if alpha is not None and band.alpha is not None:
            alpha.paste(band.alpha, (0, top // factor))
    return Flat(rgb, alpha)


class _Transform:
    """The colour transform of a picture, made for its first band."""

    def __init__(self) -> None:
        self._known = False
        self._transform: ImageCms.ImageCmsTransform | None = None

    def __call__(self, image: Image.Image, profile: bytes | None) -> Image.Image:
        """The picture in sRGB; itself when there is no profile, or one that is damaged or made for another colour
        model, which every viewer ignores."""
        if not profile:
            return image
        alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
        colours = image.convert(image.mode.rstrip("A")) if alpha is not None else image
        if not self._known:
            self._known = True
            self._transform = _built(profile, colours.mode)
        if self._transform is None:
            return image
        try:
            converted = ImageCms.applyTransform(colours, self._transform)
        except _PROFILE_FAULTS:
            return image
        if converted is None:
            return image
        if alpha is not None:
            converted.putalpha(alpha)
        return converted


def _built(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        return ImageCms.buildTransform(ImageCms.ImageCmsProfile(BytesIO(profile)), _SRGB, mode, "RGB")
    except _PROFILE_FAULTS:
        return None


def _band(
    image: Image.Image, profile: bytes | None, factor: int, has_alpha: bool, to_srgb: _Transform | None = None
) -> Flat:
    coloured = (to_srgb or _Transform())(_eight_bit(image), profile)
    alpha = coloured.convert("RGBA").getchannel("A") if has_alpha else None
    rgb = _on_white(coloured)
    if factor > 1:
        rgb = rgb.reduce(factor)
        alpha = alpha.reduce(factor) if alpha is not None else None
    return Flat(rgb, alpha)


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


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA", "La", "RGBa"):
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, with_alpha).convert("RGB")
