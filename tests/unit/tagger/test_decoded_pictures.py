from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from services.chassis.errors import InvalidArgument
from services.tagger.adapters.decoded_pictures import DRAFT_SIDE, DecodedPictures
from tests.fakes.decoder import InlineDecoder

DECODER = DecodedPictures(InlineDecoder(), max_pixels=20_000_000)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


async def test_transparency_is_kept_beside_the_picture_on_white() -> None:
    image = Image.new("RGBA", (30, 20), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    picture = await DECODER.decode(encoded(image, "PNG"), field="image", owner="acme")
    assert picture.rgb.shape == (20, 30, 3)
    assert picture.alpha is not None
    assert picture.alpha.shape == (20, 30)
    assert (picture.alpha[:, :10] == 0).all()
    assert (picture.alpha[:, 10:] == 255).all()
    assert (picture.rgb[:, :10] == 255).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
async def test_a_picture_without_a_transparent_pixel_is_opaque(mode: str) -> None:
    opaque = Image.new("RGB", (8, 8), "red").convert(mode)
    assert (await DECODER.decode(encoded(opaque, "PNG"), field="image", owner="acme")).alpha is None


async def test_a_transparent_palette_entry_is_transparency() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 4, 8))
    alpha = (await DECODER.decode(encoded(image, "PNG", transparency=1), field="image", owner="acme")).alpha
    assert alpha is not None
    assert alpha[0].tolist() == [0, 0, 0, 0, 255, 255, 255, 255]


async def test_a_large_photo_is_decoded_smaller_but_known_by_its_size_and_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encoded(Image.new("RGB", (4000, 3200), "gray"), "JPEG", exif=exif)
    picture = await DECODER.decode(photo, field="image", owner="acme")
    assert (picture.width, picture.height) == (3200, 4000)
    height, width, _ = picture.rgb.shape
    assert height > width
    assert DRAFT_SIDE <= width < 3200


async def test_files_that_are_no_pictures_name_the_field() -> None:
    for data, reason in ((b"", "IMAGE_EMPTY"), (b"GIF89a", "IMAGE_TYPE_UNSUPPORTED")):
        with pytest.raises(InvalidArgument) as caught:
            (await DECODER.decode(data, field="content", owner="acme"))
        assert (caught.value.field, caught.value.reason) == ("content", reason)
    large = encoded(Image.fromarray(np.zeros((5000, 5000), np.uint8)), "PNG")
    with pytest.raises(InvalidArgument) as caught:
        (await DECODER.decode(large, field="content", owner="acme"))
    assert caught.value.reason == "IMAGE_TOO_MANY_PIXELS"
