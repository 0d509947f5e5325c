"""The picture intake, over the files that break others: turned, wide-gamut, 16-bit, transparent, cut off, exploding."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from PIL import Image, ImageFile

from services.chassis import pictures
from services.chassis.errors import InvalidArgument
from services.chassis.pictures import PictureLimits
from tests.unit.chassis.picture_files import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    encoded,
    four_corners,
    gray_16,
    png,
    wide_gamut_profile,
)

# What a viewer shows at the four corners (top left, top right, bottom left, bottom right) of the stored picture when
# the camera wrote this orientation, after the table in EXIF 2.32, section 4.6.4.
UPRIGHT = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    width, height = image.size
    points = [(x, y) for y in (height // 8, height * 7 // 8) for x in (width // 8, width * 7 // 8)]
    return [pixel(image, *point) for point in points]


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def close(one: tuple[int, ...], other: tuple[int, ...], tolerance: int) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def reason(data: bytes, limits: PictureLimits = pictures.DEFAULT_LIMITS) -> str:
    """Why the intake refuses the file: by its header, or else when it is decoded."""
    try:
        pictures.inspect(data, limits)
    except InvalidArgument as error:
        return checked(error)
    with pytest.raises(InvalidArgument) as caught:
        pictures.decode(data, max_pixels=limits.max_pixels)
    return checked(caught.value)


def checked(error: InvalidArgument) -> str:
    assert error.field == "image"
    assert error.remedy
    return error.reason


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("draft_side", [None, 24])
def test_a_turned_picture_comes_out_upright(orientation: int, kind: str, draft_side: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(four_corners(), kind, exif=exif)
    info = pictures.inspect(data)
    image = pictures.decode(data, draft_side=draft_side)
    assert info.orientation == orientation
    assert (info.width, info.height) == ((64, 48) if orientation < 5 else (48, 64))
    assert (image.width > image.height) == (info.width > info.height)
    for found, expected in zip(corners(image), UPRIGHT[orientation], strict=True):
        assert close(found, expected, 12), (orientation, found, expected)


def test_exif_behind_the_pixels_of_a_png_is_seen_by_the_header_check_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    plain = encoded(four_corners(), "PNG")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    data = plain[:-12] + chunk + plain[-12:]
    assert pictures.inspect(data).orientation == 6
    assert pictures.decode(data).size == (48, 64)


def test_wide_gamut_colours_become_srgb() -> None:
    image = Image.new("RGB", (16, 16), (100, 200, 100))
    data = encoded(image, "PNG", icc_profile=wide_gamut_profile())
    # Computed by hand: linear = (v/255)^2.2, Adobe RGB to XYZ (D50) to linear sRGB, then the sRGB curve, clipped.
    assert close(pixel(pictures.decode(data), 8, 8), (0, 201, 90), 4)


def test_a_grey_picture_with_a_colour_profile_keeps_its_values() -> None:
    data = encoded(Image.new("L", (8, 8), 77), "PNG", icc_profile=wide_gamut_profile())
    assert pixel(pictures.decode(data), 4, 4) == (77, 77, 77)


def test_a_damaged_profile_is_ignored() -> None:
    data = encoded(Image.new("RGB", (8, 8), (10, 20, 30)), "PNG", icc_profile=b"not a profile at all")
    assert pixel(pictures.decode(data), 4, 4) == (10, 20, 30)


@pytest.mark.parametrize(("alpha", "expected"), [(0, (255, 255, 255)), (255, (200, 0, 0)), (128, (227, 127, 127))])
def test_transparency_lies_on_white(alpha: int, expected: tuple[int, ...]) -> None:
    data = encoded(Image.new("RGBA", (8, 8), (200, 0, 0, alpha)), "PNG")
    assert pictures.inspect(data).has_alpha
    assert close(pixel(pictures.decode(data), 4, 4), expected, 1)


def test_transparency_survives_the_colour_profile() -> None:
    image = Image.new("RGBA", (8, 8), (100, 200, 100, 0))
    assert pixel(pictures.decode(encoded(image, "PNG", icc_profile=wide_gamut_profile())), 4, 4) == WHITE


def test_grey_with_alpha() -> None:
    assert close(pixel(pictures.decode(encoded(Image.new("LA", (8, 8), (0, 128)), "PNG")), 4, 4), (127, 127, 127), 1)


def test_a_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([9, 9, 9, 200, 10, 20])
    image.paste(1, (4, 0, 8, 8))
    data = encoded(image, "PNG", transparency=0)
    assert pictures.inspect(data).has_alpha
    decoded = pictures.decode(data)
    assert pixel(decoded, 1, 1) == WHITE
    assert pixel(decoded, 6, 1) == (200, 10, 20)


@pytest.mark.parametrize(
    ("color_type", "key", "row"), [(2, (9, 8, 7), b"\0" + bytes((9, 8, 7, 50, 60, 70))), (0, (9,), b"\0\x09\x32")]
)
def test_one_colour_declared_transparent(color_type: int, key: tuple[int, ...], row: bytes) -> None:
    data = png(2, 1, 8, color_type, row, (b"tRNS", struct.pack(f">{len(key)}H", *key)))
    decoded = pictures.decode(data)
    assert pixel(decoded, 0, 0) == WHITE
    assert pixel(decoded, 1, 0) == ((50, 60, 70) if color_type == 2 else (50, 50, 50))


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    decoded = pictures.decode(gray_16([0, 0x0100, 0x7FFF, 0x8000, 0xFF00, 0xFFFF]))
    assert [pixel(decoded, x, 0)[0] for x in range(6)] == [0, 1, 127, 128, 255, 255]


def test_sixteen_bit_colour_and_sixteen_bit_grey_with_alpha() -> None:
    colour = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0x4000, 0x8000, 0xC000))
    assert pixel(pictures.decode(colour), 0, 0) == (0x40, 0x80, 0xC0)
    alpha = png(2, 1, 16, 4, b"\0" + struct.pack(">4H", 0x4000, 0xFFFF, 0x4000, 0))
    decoded = pictures.decode(alpha)
    assert [pixel(decoded, x, 0)[0] for x in range(2)] == [0x40, 255]


def test_one_bit_pictures() -> None:
    decoded = pictures.decode(png(2, 1, 1, 0, b"\0\x40"))
    assert [pixel(decoded, x, 0) for x in range(2)] == [(0, 0, 0), (255, 255, 255)]


def test_cmyk_jpegs() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert pictures.inspect(data).mode == "CMYK"
    assert close(pixel(pictures.decode(data, draft_side=8), 4, 4), (255, 0, 0), 6)


def test_the_first_picture_of_a_phone_photo_is_taken() -> None:
    second = Image.new("RGB", (64, 48), (1, 2, 3))
    data = encoded(four_corners(), "MPO", save_all=True, append_images=[second])
    assert pictures.inspect(data).format == "jpeg"
    assert close(corners(pictures.decode(data))[0], RED, 12)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_refused(kind: str, kept: float) -> None:
    noise = Image.frombytes("RGB", (120, 90), random.Random(3).randbytes(120 * 90 * 3))
    data = encoded(noise, kind)
    assert reason(data[: int(len(data) * kept)]) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "IMAGE_EMPTY"),
        (b"\0" * 1000, "IMAGE_TYPE_UNSUPPORTED"),
        (b"GIF89a" + b"\0" * 100, "IMAGE_TYPE_UNSUPPORTED"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "IMAGE_TYPE_UNSUPPORTED"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "IMAGE_TYPE_UNSUPPORTED"),
        (b"\x89PNG\r\n\x1a\n", "IMAGE_UNREADABLE"),
        (b"\xff\xd8\xff", "IMAGE_UNREADABLE"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 5000, "IMAGE_UNREADABLE"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_a_picture_that_unfolds_to_gigabytes_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfold(_: object) -> None:
        pytest.fail("its pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", unfold)
    bomb = png(20_000, 20_000, 8, 2, b"")
    assert reason(bomb) == "IMAGE_TOO_MANY_PIXELS"
    assert reason(png(2_000_000_000, 2_000_000_000, 8, 2, b"")) in ("IMAGE_TOO_MANY_PIXELS", "IMAGE_UNREADABLE")


def test_the_limits_are_those_of_the_caller() -> None:
    data = encoded(four_corners(), "PNG")
    assert reason(data, PictureLimits(max_pixels=64 * 48 - 1)) == "IMAGE_TOO_MANY_PIXELS"
    assert pictures.inspect(data, PictureLimits(max_pixels=64 * 48)).width == 64
    assert reason(data, PictureLimits(min_side=49)) == "IMAGE_TOO_SMALL"


def test_the_header_check_does_not_decode() -> None:
    data = encoded(four_corners(), "PNG")
    first_part = data[:60]
    assert pictures.inspect(first_part).width == 64
    assert reason(first_part) == "IMAGE_UNREADABLE"


# Pillow warns of odd EXIF and goes on, and so does the intake.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damaged_files_give_a_picture_or_a_typed_error(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encoded(four_corners(), kind, exif=exif, icc_profile=wide_gamut_profile())
    source = random.Random(11)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(source.randint(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        refused += outcome(bytes(data)) != "decoded"
    assert refused > 0


def outcome(data: bytes) -> str:
    try:
        image = pictures.decode(data)
    except InvalidArgument as error:
        return checked(error)
    assert image.mode == "RGB"
    return "decoded"


def test_draft_gives_enough_pixels_and_not_all() -> None:
    data = encoded(Image.new("RGB", (1600, 1200), RED), "JPEG")
    image = pictures.decode(data, draft_side=256)
    assert min(image.size) >= 256
    assert image.size == (400, 300)


def test_within_never_enlarges() -> None:
    assert pictures.resize_within(Image.new("RGB", (40, 20)), 100).size == (40, 20)
    assert pictures.resize_within(Image.new("RGB", (4000, 2), WHITE), 100).size == (100, 1)


def test_a_thumbnail_is_a_small_jpeg() -> None:
    thumb = pictures.thumbnail(encoded(four_corners(640, 480), "PNG"), 64)
    info = pictures.inspect(thumb)
    assert (info.format, info.width, info.height, info.content_type) == ("jpeg", 64, 48, "image/jpeg")
