"""Freezing, and reading what was frozen, over the fakes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import (
    FailedPrecondition,
    NotFound,
)
from services.chassis.listing.pages import ListRequest
from services.dataset.models.names import VersionRef
from services.dataset.models.resources import DatasetFields, ImageFields, TextFrom
from tests.unit.dataset.conftest import SET, Service


async def test_an_empty_dataset_cannot_be_frozen(service: Service) -> None:
    await service.new_set()
    with pytest.raises(FailedPrecondition) as caught:
        await service.versions.create(SET, description="", request_id="")
    assert caught.value.reason == "DATASET_EMPTY"
    assert not service.store.state.versions


async def test_the_same_contents_give_the_same_version_and_others_the_next(service: Service) -> None:
    await service.new_set(trigger_word="sks")
    image = await service.add(1, tags=("dog",))
    first = await service.versions.create(SET, description="one", request_id="")
    assert await service.versions.create(SET, description="again", request_id="") == first
    await service.images.update(image.ref, ImageFields(caption="a dog"), (), "")
    second = await service.versions.create(SET, description="two", request_id="")
    assert (first.ref.number, second.ref.number, first.digest != second.digest) == (1, 2, True)
    pinned, _, total = await service.versions.list_images(ListRequest(first.ref.name))
    assert (total, pinned[0].fields.caption) == (1, "sks, dog")


async def test_another_trigger_word_is_another_version_although_the_texts_agree(service: Service) -> None:
    await service.new_set()
    await service.add(1, caption="a sks dog")
    first = await service.versions.create(SET, description="", request_id="")
    await service.datasets.update(SET, DatasetFields(trigger_word="sks"), (), "")
    second = await service.versions.create(SET, description="", request_id="")
    assert (first.digest, first.trigger_word) == (second.digest, "")
    assert (second.ref.number, second.trigger_word) == (2, "sks")


async def test_rows_from_before_the_trigger_word_was_frozen_are_given_out_with_it(service: Service) -> None:
    await service.new_set(trigger_word="sks")
    for seed, caption in enumerate(("a dog", "a photo of sks.")):
        await service.add(seed, caption=caption)
    version = await service.versions.create(SET, description="", request_id="")
    stored = service.store.state.version_images
    first = next(image for image in stored.values() if image.position == 1)
    stored[first.ref] = replace(first, fields=replace(first.fields, caption="a dog"))
    given, _, _ = await service.versions.list_images(ListRequest(version.ref.name))
    assert [image.fields.caption for image in given] == ["sks, a dog", "a photo of sks."]
    assert (await service.versions.get(version.ref)).digest == version.digest


async def test_a_version_keeps_what_was_measured_of_its_pictures(service: Service) -> None:
    await service.new_set()
    image = await service.add()
    version = await service.versions.create(SET, description="", request_id="")
    await service.images.delete(image.ref, etag="")
    ((pinned,), _, _) = await service.versions.list_images(ListRequest(version.ref.name))
    assert image.facts
    assert (pinned.facts, pinned.perceptual_hash) == (image.facts, image.perceptual_hash)
    assert pinned.content_area == image.content_area


async def test_what_texts_are_made_of_is_frozen_with_them(service: Service) -> None:
    await service.new_set(text_from=TextFrom.CAPTION)
    await service.add(0, tags=("red",))
    await service.add(1, tags=("red",), caption="a dog")
    texts = {}
    for text_from in TextFrom:
        await service.datasets.update(SET, DatasetFields(text_from=text_from), ("text_from",), "")
        version = await service.versions.create(SET, description="", request_id="")
        found, _, _ = await service.versions.list_images(ListRequest(version.ref.name))
        texts[version.text_from] = [each.fields.caption for each in found]
    assert texts == {
        TextFrom.CAPTION_OR_TAGS: ["red", "a dog"],
        TextFrom.CAPTION: ["", "a dog"],
        TextFrom.CAPTION_AND_TAGS: ["red", "a dog, red"],
        TextFrom.TAGS: ["red", "red"],
    }


async def test_a_choice_of_the_text_is_kept_by_updates_that_do_not_name_it(service: Service) -> None:
    await service.new_set(text_from=TextFrom.TAGS)
    changed = await service.datasets.update(SET, DatasetFields(display_name="Dogs"), (), "")
    assert (changed.fields.display_name, changed.fields.text_from) == ("Dogs", TextFrom.TAGS)


async def test_a_repeated_request_gives_the_first_version(service: Service) -> None:
    await service.new_set()
    await service.add(1)
    first = await service.versions.create(SET, description="", request_id="r")
    await service.add(2)
    assert await service.versions.create(SET, description="", request_id="r") == first


async def test_lists_page(service: Service) -> None:
    await service.new_set()
    for seed in range(3):
        await service.add(seed)
        await service.versions.create(SET, description="", request_id="")
    page, token, total = await service.versions.list_versions(ListRequest(SET.name, page_size=2))
    assert ([v.ref.number for v in page], total) == ([3, 2], 3)
    rest, end, _ = await service.versions.list_versions(ListRequest(SET.name, page_size=2, page_token=token))
    assert ([v.ref.number for v in rest], end) == ([1], "")
    third = VersionRef(SET, 3)
    images, token, total = await service.versions.list_images(ListRequest(third.name, page_size=2))
    more, end, _ = await service.versions.list_images(ListRequest(third.name, page_size=2, page_token=token))
    assert ([i.picture.file_name for i in images + more], total, end) == (["0.png", "1.png", "2.png"], 3, "")
    with pytest.raises(NotFound):
        await service.versions.list_images(ListRequest(VersionRef(SET, 9).name))
