"""Masks over the fakes: what is taken, what is refused, whose bytes they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from PIL import Image as Pillow

from services.chassis import request_context
from services.chassis.errors import Aborted, DomainError, InvalidArgument, Unavailable
from services.chassis.request_context import RequestContext
from services.dataset.models.names import ImageRef
from services.dataset.models.resources import Crop, ImageFields, MaskSource
from services.dataset.models.versions import contents_digest
from services.dataset.use_cases.images import View
from services.dataset.use_cases.masks import MaskHeader, NewMask
from tests.fakes.pictures import png
from tests.unit.dataset.conftest import SET, Service


def mask(size: tuple[int, int] = (64, 48), *, mode: str = "L", marked: int = 255) -> bytes:
    """A mask whose left half is marked."""
    image = Pillow.new(mode, size, 0)
    image.paste(marked if mode != "RGBA" else (9, 9, 9, marked), (0, 0, size[0] // 2, size[1]))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


async def stream(ref: ImageRef, data: bytes, **header: str) -> AsyncIterator[MaskHeader | bytes]:
    yield MaskHeader(ref, **header)
    yield data[:7]
    yield data[7:]


async def filled(service: Service, count: int = 1) -> list[ImageRef]:
    await service.new_set()
    return [(await service.add(seed, data=png(128, 96, seed=seed))).ref for seed in range(count)]


async def test_a_mask_is_kept_as_it_came_and_read_again(service: Service) -> None:
    (ref,) = await filled(service)
    image = await service.masks.upload(stream(ref, mask()))
    assert image.mask is not None
    assert (image.mask.width, image.mask.height, image.mask.covered_share) == (64, 48, 0.5)
    assert (image.mask.source, image.mask.tagger) == (MaskSource.UPLOADED, "")
    found = await service.images.download(ref, View.MASK)
    assert b"".join([chunk async for chunk in found.chunks]) == mask()
    assert (found.file_name, found.content_type) == ("0-mask.png", "image/png")


@pytest.mark.parametrize(
    ("data", "share"),
    [
        pytest.param(mask(mode="1", marked=1), 0.5, id="one bit"),
        pytest.param(mask(mode="RGB", marked=0xFFFFFF), 0.5, id="colour"),
        pytest.param(mask(mode="RGBA", marked=255), 0.5, id="a cut-out: its alpha"),
        pytest.param(mask((256, 192)), 0.5, id="larger than the picture"),
        pytest.param(mask((4200, 3150)), 0.5, id="larger than masks are stored"),
        pytest.param(mask(marked=128), 0.251, id="grey"),
    ],
)
async def test_what_programs_write_as_masks_is_taken_as_grey(service: Service, data: bytes, share: float) -> None:
    (ref,) = await filled(service)
    image = await service.masks.upload(stream(ref, data))
    assert image.mask is not None
    assert image.mask.covered_share == pytest.approx(share, abs=0.001)
    stored = Pillow.open(BytesIO(service.pictures.objects[image.mask.key]))
    assert (stored.mode, stored.size) == ("L", (image.mask.width, image.mask.height))
    assert max(stored.size) <= 2048


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xd8\xff\xe0 a photo", "MASK_TYPE_UNSUPPORTED"),
        (b"GIF89a and so on", "MASK_TYPE_UNSUPPORTED"),
        (b"<!doctype html><html>not found</html>", "MASK_TYPE_UNSUPPORTED"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "MASK_TYPE_UNSUPPORTED"),
        (b"\x93NUMPY\x01\x00" + bytes(99), "MASK_TYPE_UNSUPPORTED"),
        (b"PK\x03\x04" + bytes(99), "MASK_TYPE_UNSUPPORTED"),
        (mask()[:30], "IMAGE_UNREADABLE"),
        (mask().replace(b"IDAT", b"IDAX"), "IMAGE_UNREADABLE"),
        (mask()[:60] + bytes([mask()[60] ^ 255]) + mask()[61:], "IMAGE_UNREADABLE"),
        (b"", "IMAGE_EMPTY"),
        (mask()[:-20], "IMAGE_UNREADABLE"),
        (mask((64, 64)), "MASK_SHAPE_MISMATCH"),
        (mask((48, 64)), "MASK_SHAPE_MISMATCH"),
        (mask(marked=0), "MASK_EMPTY"),
        (mask(marked=100), "MASK_EMPTY"),
        (b"\x89PNG\r\n\x1a\n" + bytes(6 << 20), "MASK_TOO_LARGE"),
    ],
)
async def test_what_is_no_mask_is_refused_and_leaves_nothing(service: Service, data: bytes, reason: str) -> None:
    (ref,) = await filled(service)
    before = dict(service.pictures.objects)
    with pytest.raises(InvalidArgument) as refused:
        await service.masks.upload(stream(ref, data))
    assert (refused.value.reason, refused.value.field) == (reason, "content")
    assert refused.value.remedy
    assert (await service.images.get(ref)).mask is None
    assert service.pictures.objects == before
    assert not service.store.state.keys


async def test_a_digest_and_an_etag_are_checked(service: Service) -> None:
    (ref,) = await filled(service)
    old = (await service.images.get(ref)).etag
    with pytest.raises(InvalidArgument, match="SHA-256"):
        await service.masks.upload(stream(ref, mask(), sha256="0" * 64))
    with request_context.use(RequestContext("r-1", None, "key:ada")):
        await service.images.update(ref, ImageFields(caption="a dog"), (), "")
    with pytest.raises(Aborted) as late:
        await service.masks.upload(stream(ref, mask(), etag=old))
    assert "key:ada changed caption of 1 image" in late.value.message
    assert late.value.metadata == {"edit": f"{SET.name}/edits/1", "editor": "key:ada"}


async def test_masks_are_set_and_taken_away_together_or_not_at_all(service: Service) -> None:
    one, two = await filled(service, 2)
    both = [NewMask(one.name, mask(), source=MaskSource.SUGGESTED, tagger="photo"), NewMask(two.name, mask((32, 24)))]
    images, edit = await service.masks.set_all(SET, both)
    assert edit is not None
    assert [image.mask and image.mask.tagger for image in images] == ["photo", ""]
    wrong = [NewMask(one.name, b""), NewMask(two.name, mask((48, 64)))]
    with pytest.raises(DomainError) as refused:
        await service.masks.set_all(SET, wrong)
    assert refused.value.field == "requests[1].png"
    assert all([(await service.images.get(ref)).mask for ref in (one, two)])
    again, none = await service.masks.set_all(SET, both)
    assert (none, again) == (None, images)
    images, edit = await service.masks.set_all(SET, [NewMask(one.name, b""), NewMask(two.name, b"")])
    assert [image.mask for image in images] == [None, None]
    assert edit is not None
    assert (edit.fields, edit.changed_images) == (("mask",), 2)


async def test_a_store_that_fails_halfway_leaves_no_mask(service: Service) -> None:
    one, two = await filled(service, 2)
    service.pictures.fail_put_number = service.pictures.puts + 2
    with pytest.raises(Unavailable):
        await service.masks.set_all(SET, [NewMask(one.name, mask()), NewMask(two.name, mask())])
    assert not any("/masks/" in key for key in service.pictures.objects)
    assert not service.store.state.keys


async def test_a_version_pins_the_mask_and_its_digest_changes_only_then(service: Service) -> None:
    (ref,) = await filled(service)
    plain = await service.versions.create(SET, description="", request_id="")
    await service.masks.upload(stream(ref, mask()))
    masked = await service.versions.create(SET, description="", request_id="")
    assert masked.digest != plain.digest
    pinned = list(service.store.state.version_images.values())
    assert [image.mask is None for image in pinned] == [True, False]
    # As versions were digested before there were masks.
    assert contents_digest(pinned[:1]) == plain.digest
    await service.masks.set_all(SET, [NewMask(ref.name, b"")])
    assert (await service.versions.create(SET, description="", request_id="")).ref == plain.ref


async def test_a_mask_goes_with_the_last_who_needs_it(service: Service) -> None:
    (ref,) = await filled(service)

    def stored() -> int:
        return sum("/masks/" in key for key in service.pictures.objects)

    await service.masks.upload(stream(ref, mask()))
    version = await service.versions.create(SET, description="", request_id="")
    await service.masks.upload(stream(ref, mask((32, 24))))
    await service.masks.set_all(SET, [NewMask(ref.name, b"")])
    assert stored() == 2, "for the undoing"
    await service.images.delete(ref, etag="")
    assert stored() == 1, "the version's"
    await service.versions.delete(version.ref, etag="", force=True)
    assert stored() == 0


async def test_a_crop_leaves_the_mask_on_the_whole_picture(service: Service) -> None:
    (ref,) = await filled(service)
    await service.masks.upload(stream(ref, mask()))
    cropped = await service.images.update(ref, ImageFields(crop=Crop(0.5, 0, 1, 1)), (), "")
    assert cropped.mask is not None
    assert cropped.mask.width == 64
