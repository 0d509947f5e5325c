"""VIEW_CROP: the part of a picture that is trained."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow

from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import InvalidArgument, NotFound
from services.dataset.models.checks import Limits
from services.dataset.models.names import ImageRef
from services.dataset.models.resources import Crop, Image, ImageFields
from services.dataset.use_cases.images import View
from services.dataset.use_cases.trained_pictures import Form, TrainedPictures
from tests.fakes.decoder import InlineDecoder
from tests.unit.dataset.conftest import SET, Service


def halves() -> bytes:
    """Red at the left, blue at the right: 80 × 40."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40, 0] = pixels[:, 40:, 2] = 200
    buffer = BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Drawn:
    """The verb over a dataset with one picture."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.budget = ByteBudget(total=100_000, per_project=100_000)
        self.verb = TrainedPictures(service.images, InlineDecoder(), self.budget, limits=Limits())

    async def add(self) -> Image:
        await self.service.new_set()
        return await self.service.add(data=halves(), name="halves.png")

    async def picture(self, image: Image, form: Form) -> Pillow.Image:
        answer = await self.verb.download(image.ref, form)
        data = b"".join([chunk async for chunk in answer.chunks])
        assert (answer.content_type, answer.size_bytes) == ("image/jpeg", len(data))
        assert answer.file_name == "halves-crop.jpg"
        return Pillow.open(BytesIO(data))


async def test_the_images_own_crop_is_drawn(service: Service) -> None:
    drawn = Drawn(service)
    image = await drawn.add()
    whole = await drawn.picture(image, Form(View.CROP))
    assert whole.size == (80, 40)
    changed = await service.images.update(image.ref, ImageFields(crop=Crop(0.5, 0, 1, 1)), ("crop",), "")
    part = await drawn.picture(changed, Form(View.CROP))
    assert part.size == (40, 40)
    red, _, blue = part.getpixel((20, 20))  # type: ignore[misc]
    assert (red < 30, blue > 170) == (True, True)
    assert drawn.budget.in_flight == 0


async def test_another_part_is_drawn_at_the_size_that_is_asked_for(service: Service) -> None:
    drawn = Drawn(service)
    part = await drawn.picture(await drawn.add(), Form(View.CROP, Crop(0, 0, 0.25, 1), (64, 128)))
    assert part.size == (64, 128)
    assert part.getpixel((60, 64))[0] > 170  # type: ignore[index]


async def test_a_part_needs_the_view_of_parts(service: Service) -> None:
    drawn = Drawn(service)
    image = await drawn.add()
    with pytest.raises(InvalidArgument) as caught:
        await drawn.verb.download(image.ref, Form(View.ORIGINAL, size=(8, 8)))
    assert (caught.value.reason, caught.value.violations[0].field) == ("VIEW_TAKES_NO_CROP", "view")
    with pytest.raises(InvalidArgument) as caught:
        await service.images.stored(image.ref, View.CROP)
    assert caught.value.reason == "VIEW_NOT_STORED"
    with pytest.raises(NotFound):
        await drawn.verb.download(ImageRef(SET, "img-none"), Form(View.CROP))


async def test_the_crop_before_the_last_change_is_kept(service: Service) -> None:
    image = await Drawn(service).add()
    first, second = Crop(0, 0, 0.5, 1), Crop(0.5, 0, 1, 1)
    one = await service.images.update(image.ref, ImageFields(crop=first), ("crop",), "")
    two = await service.images.update(image.ref, ImageFields(crop=second), ("crop",), "")
    captioned = await service.images.update(image.ref, ImageFields(caption="a"), ("caption",), "")
    back = await service.images.update(image.ref, ImageFields(crop=captioned.previous_crop), ("crop",), "")
    assert (one.previous_crop, two.previous_crop, captioned.previous_crop) == (None, first, first)
    assert (back.fields.crop, back.previous_crop) == (first, second)
