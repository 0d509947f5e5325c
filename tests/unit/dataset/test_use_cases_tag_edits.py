"""The verbs on the tags of a dataset, over the fakes."""

from __future__ import annotations

import pytest

from services.chassis.errors import (
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.dataset.models.names import DatasetRef
from services.dataset.models.tags import AddTag, RemoveTag, ReplaceTag, Tag, TagEdit
from tests.unit.dataset.conftest import SET, Service


async def test_edit_counts_what_matches_and_changes(service: Service) -> None:
    await service.new_set()
    first = await service.add(1, tags=("red", "dog"))
    second = await service.add(2, tags=("blue",))
    edits: list[TagEdit] = [ReplaceTag("RED", "crimson"), AddTag("dog")]
    dry = await service.tags.edit(SET, filter_text="", edits=edits, validate_only=True)
    assert (dry.matched_images, dry.changed_images) == (2, 2)
    assert await service.images.get(first.ref) == first
    done = await service.tags.edit(SET, filter_text="tags:red", edits=edits, validate_only=False)
    assert (done.matched_images, done.changed_images) == (1, 1)
    assert (await service.images.get(first.ref)).fields.tags == (Tag("crimson"), Tag("dog"))
    assert await service.images.get(second.ref) == second
    again = await service.tags.edit(SET, filter_text="", edits=[RemoveTag("nothing")], validate_only=False)
    assert (again.matched_images, again.changed_images) == (2, 0)


async def test_an_edit_that_fails_for_one_image_changes_none(service: Service) -> None:
    await service.new_set()
    first = await service.add(1)
    full = await service.add(2, tags=tuple(f"t{index}" for index in range(200)))
    with pytest.raises(ResourceExhausted) as caught:
        await service.tags.edit(SET, filter_text="", edits=[AddTag("more")], validate_only=False)
    assert caught.value.metadata["image"] == full.ref.name
    assert await service.images.get(first.ref) == first


async def test_a_bad_edit_says_which(service: Service) -> None:
    await service.new_set()
    with pytest.raises(InvalidArgument) as caught:
        await service.tags.edit(SET, filter_text="", edits=[AddTag("a"), ReplaceTag("b", " ")], validate_only=False)
    assert caught.value.field == "edits[1].replace.new_label"


async def test_stats(service: Service) -> None:
    await service.new_set()
    await service.add(1, tags=("red", "dog"))
    await service.add(2, tags=("Red",))
    assert [(s.label, s.image_count) for s in await service.tags.stats(SET)] == [("Red", 2), ("dog", 1)]
    with pytest.raises(NotFound):
        await service.tags.stats(DatasetRef("acme", "none"))
