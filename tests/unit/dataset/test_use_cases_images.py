"""The verbs on images that are stored, over the fakes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import (
    Aborted,
    DataLoss,
    InvalidArgument,
    NotFound,
)
from services.chassis.listing.pages import ListRequest
from services.dataset.models.names import ImageRef, VersionImageRef
from services.dataset.models.resources import CaptionOrigin, Crop, ImageFields, PictureFeatures
from services.dataset.models.tags import Tag, TagSource
from services.dataset.use_cases.images import View
from tests.fakes.pictures import png
from tests.unit.dataset.conftest import SET, Service


async def bytes_of(service: Service, ref: ImageRef | VersionImageRef, view: View = View.ORIGINAL) -> bytes:
    download = await service.images.download(ref, view)
    data = b"".join([chunk async for chunk in download.chunks])
    assert len(data) == download.size_bytes
    return data


async def test_list_filters_and_pages_in_upload_order(service: Service) -> None:
    await service.new_set()
    for seed in range(5):
        await service.add(seed, tags=("red",) if seed % 2 else ("Blue_Sky", "red"), caption=f"number {seed}")
    page, token, total = await service.images.list(ListRequest(SET.name, page_size=2, filter='tags:"blue sky"'))
    assert ([i.picture.file_name for i in page], total) == (["0.png", "2.png"], 3)
    rest, end, _ = await service.images.list(
        ListRequest(SET.name, page_size=2, filter='tags:"blue sky"', page_token=token)
    )
    assert ([i.picture.file_name for i in rest], end) == (["4.png"], "")
    counts = {'caption:"NUMBER 3"': 1, 'file_name = "1.png" tags:red': 1, "tags:*": 5, "caption < n": 0}
    for text, count in counts.items():
        assert (await service.images.list(ListRequest(SET.name, filter=text)))[2] == count


async def test_facts_are_kept_at_upload_and_filterable_and_no_part_of_the_caption(service: Service) -> None:
    await service.new_set()
    image = await service.add(1, tags=("red",))
    assert {"landscape", "low resolution"} <= set(image.facts)
    assert [tag.label for tag in image.fields.tags] == ["red"]
    counts = {'facts:"LANDSCAPE"': 1, "facts:*": 1, 'facts:"low resolution" tags:red': 1, "facts:blurry": 0}
    counts |= {"tags:landscape": 0}
    for text, count in counts.items():
        assert (await service.images.list(ListRequest(SET.name, filter=text)))[2] == count, text


async def test_list_of_an_unknown_dataset(service: Service) -> None:
    with pytest.raises(NotFound) as caught:
        await service.images.list(ListRequest(SET.name))
    assert caught.value.metadata["name"] == SET.name


async def test_update_guards_with_the_etag_and_touches_the_dataset(service: Service) -> None:
    await service.new_set()
    made = await service.add(1)
    before = await service.datasets.get(SET)
    crop, found = Crop(0.1, 0.1, 0.9, 0.9), Tag("b", TagSource.AUTO, 0.5, "wd")
    given = ImageFields("a dog", (Tag(" Red ", score=0.4, tagger="x"), found), crop, 2)
    changed = await service.images.update(made.ref, given, (), made.etag)
    assert changed.fields == ImageFields("a dog", (Tag("Red"), found), crop, 2)
    assert (await service.datasets.get(SET)).etag != before.etag
    with pytest.raises(Aborted) as caught:
        await service.images.update(made.ref, ImageFields("other"), (), made.etag)
    assert caught.value.field == "image.etag"
    cleared = await service.images.update(made.ref, ImageFields(), ("crop", "tags"), changed.etag)
    assert cleared.fields == ImageFields("a dog", (), None, 2)


async def test_a_caption_says_who_wrote_it_until_a_person_changes_it(service: Service) -> None:
    await service.new_set()
    image = await service.add()
    origin = CaptionOrigin("qwen", "qwen2.5-vl")
    written = ImageFields(caption="a dog", caption_origin=origin)
    by_machine = await service.images.update(image.ref, written, ("caption", "caption_origin"), "")
    assert by_machine.fields.caption_origin == origin
    tagged = await service.images.update(image.ref, ImageFields(tags=(Tag("dog"),)), ("tags",), "")
    assert tagged.fields.caption_origin == origin
    for mask in (("caption",), (), ("*",)):
        await service.images.update(image.ref, written, ("caption", "caption_origin"), "")
        # A whole image that comes back with another caption was edited.
        by_hand = await service.images.update(image.ref, replace(written, caption="my dog"), mask, "")
        assert (by_hand.fields.caption, by_hand.fields.caption_origin) == ("my dog", None)
    emptied = await service.images.update(image.ref, replace(written, caption=""), ("caption", "caption_origin"), "")
    assert emptied.fields.caption_origin is None, "nobody wrote what is not there"


async def test_what_is_written_in_a_picture_is_a_fact_of_it_and_no_edit(service: Service) -> None:
    await service.new_set()
    image = await service.add()
    areas = (Crop(0.6, 0.9, 0.95, 0.97),)
    seen = await service.images.update(image.ref, ImageFields(text_areas=areas), ("text_areas",), "")
    assert (seen.fields.text_areas, seen.facts) == (areas, (*image.facts, "text"))
    assert await service.edits.list(image.ref.dataset) == []
    both = ImageFields(tags=(Tag("dog"),))
    tagged = await service.images.update(image.ref, both, ("tags", "text_areas"), seen.etag)
    assert (tagged.facts, tagged.fields.tags) == (image.facts, (Tag("dog"),))
    again = await service.images.update(image.ref, ImageFields(text_areas=areas), ("text_areas",), "")
    (edit,) = await service.edits.list(image.ref.dataset)
    assert edit.fields == ("tags",)
    await service.edits.undo(edit.ref, validate_only=False)
    undone = await service.images.get(image.ref)
    assert (undone.fields.tags, undone.fields.text_areas, undone.facts) == ((), areas, again.facts)


async def test_what_a_network_saw_is_no_edit_and_stays_with_an_image_that_comes_back_whole(service: Service) -> None:
    await service.new_set()
    image = await service.add()
    features = PictureFeatures("a" * 64, bytes(800))
    seen = await service.images.update(image.ref, ImageFields(features=features), ("features",), "")
    assert (seen.fields.features, await service.edits.list(image.ref.dataset)) == (features, [])
    shown = ImageFields(caption="my dog", features=PictureFeatures("a" * 64, b""))
    for mask in (("*",), ()):
        whole = await service.images.update(image.ref, shown, mask, "")
        assert (whole.fields.caption, whole.fields.features) == ("my dog", features)
    version = await service.versions.create(image.ref.dataset, description="", request_id="")
    pinned, _, _ = await service.versions.list_images(ListRequest(version.ref.name))
    assert [each.fields.features for each in pinned] == [features]


async def test_a_bad_label_says_which(service: Service) -> None:
    await service.new_set()
    made = await service.add(1)
    with pytest.raises(InvalidArgument) as caught:
        await service.images.update(made.ref, ImageFields(tags=(Tag("ok"), Tag("  "))), (), "")
    assert caught.value.field == "image.tags[1].label"
    assert await service.images.get(made.ref) == made


async def test_delete_removes_bytes_unless_a_version_pins_them(service: Service) -> None:
    await service.new_set()
    free, pinned = await service.add(1), await service.add(2)
    await service.images.delete(free.ref, etag=free.etag)
    assert set(service.pictures.objects) == set(pinned.picture.keys)
    version = await service.versions.create(SET, description="", request_id="")
    await service.images.delete(pinned.ref, etag="")
    assert (await service.datasets.get(SET)).image_count == 0
    assert await bytes_of(service, VersionImageRef(version.ref, pinned.ref.image)) == png(seed=2)
    with pytest.raises(NotFound):
        await service.images.download(pinned.ref, View.ORIGINAL)


async def test_delete_succeeds_although_the_object_store_is_away_and_is_swept_later(service: Service) -> None:
    await service.new_set()
    image = await service.add(1)
    service.pictures.broken = True
    await service.images.delete(image.ref, etag="")
    assert len(service.pictures.objects) == 2
    service.pictures.broken = False
    assert await service.upkeep.sweep() == 2
    assert not service.pictures.objects
    assert not service.store.state.keys


async def test_downloads(service: Service) -> None:
    await service.new_set()
    image = await service.add(data=png(600, 300), name="wide.png")
    assert await bytes_of(service, image.ref) == png(600, 300)
    thumbnail = await bytes_of(service, image.ref, View.THUMBNAIL)
    assert thumbnail.startswith(b"\xff\xd8\xff")
    assert (await service.images.download(image.ref, View.THUMBNAIL)).content_type == "image/jpeg"


async def test_damaged_or_lost_bytes_are_said_to_be_so(service: Service) -> None:
    await service.new_set()
    image = await service.add(1)
    service.pictures.objects[image.picture.original_key] = png(seed=9)
    with pytest.raises(DataLoss):
        await bytes_of(service, image.ref)
    del service.pictures.objects[image.picture.original_key]
    with pytest.raises(DataLoss) as caught:
        await bytes_of(service, image.ref)
    assert caught.value.reason == "IMAGE_LOST"


async def test_a_download_of_what_is_deleted_meanwhile_is_not_found(service: Service) -> None:
    await service.new_set()
    image = await service.add(1)
    download = await service.images.download(image.ref, View.ORIGINAL)
    await service.images.delete(image.ref, etag="")
    with pytest.raises(NotFound) as caught:
        await anext(download.chunks)
    assert caught.value.metadata["name"] == image.ref.name
