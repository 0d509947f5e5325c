"""Undoing over the fakes."""

from __future__ import annotations

import pytest

from services.chassis import request_context
from services.chassis.errors import Aborted, FailedPrecondition, NotFound
from services.chassis.request_context import RequestContext
from services.dataset.models.edits import KEPT_EDITS
from services.dataset.models.names import EditRef, ImageRef
from services.dataset.models.resources import Crop, Image, ImageFields
from services.dataset.models.tags import AddTag
from services.dataset.use_cases.image_batches import ImageEdit
from services.dataset.use_cases.masks import NewMask
from tests.fakes.pictures import png
from tests.unit.dataset.conftest import SET, Service
from tests.unit.dataset.test_masks import mask

HALF = Crop(0, 0, 0.5, 1)


async def filled(service: Service, count: int = 2) -> list[ImageRef]:
    await service.new_set()
    return [(await service.add(seed, data=png(128, 96, seed=seed), tags=("dog",))).ref for seed in range(count)]


async def contents(service: Service) -> list[tuple[object, object]]:
    return [(image.fields, image.mask) for image in service.store.state.images.values()]


async def tag(service: Service, label: str) -> EditRef:
    outcome = await service.tags.edit(SET, filter_text="", edits=[AddTag(label)], validate_only=False)
    assert outcome.edit is not None
    return outcome.edit.ref


async def test_every_kind_of_bulk_edit_is_taken_back_and_done_again(service: Service) -> None:
    refs = await filled(service)

    async def crops() -> EditRef:
        edits = [ImageEdit(ref.name, ImageFields(crop=HALF, caption="x"), ("crop", "caption")) for ref in refs]
        made = (await service.batches.update(SET, edits))[1]
        assert made is not None
        return made.ref

    async def masks() -> EditRef:
        made = (await service.masks.set_all(SET, [NewMask(ref.name, mask()) for ref in refs]))[1]
        assert made is not None
        return made.ref

    async def tags() -> EditRef:
        return await tag(service, "red")

    before = await contents(service)
    for change, fields in (
        (tags, ("tags",)),
        (crops, ("caption", "crop")),
        (masks, ("mask",)),
    ):
        made = await change()
        after = await contents(service)
        assert after != before
        undo = await service.edits.undo(made, validate_only=False)
        assert (undo.fields, undo.changed_images, undo.undoes) == (fields, 2, made.number)
        assert await contents(service) == before
        with pytest.raises(FailedPrecondition) as twice:
            await service.edits.undo(made, validate_only=False)
        assert twice.value.reason == "EDIT_UNDONE"
        await service.edits.undo(undo.ref, validate_only=False)
        assert await contents(service) == after
        await service.edits.undo((await service.edits.list(SET))[0].ref, validate_only=False)
        assert await contents(service) == before


async def test_who_changed_the_same_since_is_named_and_nothing_is_taken_back(service: Service) -> None:
    _, two = await filled(service)
    made = await tag(service, "red")
    with request_context.use(RequestContext("r-9", None, "key:ada")):
        await service.images.update(two, ImageFields(caption="other field"), ("caption",), "")
        await service.images.update(two, ImageFields(), ("tags",), "")
    before = await contents(service)
    with pytest.raises(Aborted) as late:
        await service.edits.undo(made, validate_only=False)
    assert late.value.reason == "EDIT_OVERTAKEN"
    assert "tags of 1.png changed since: key:ada changed tags of 1 image" in late.value.message
    assert late.value.metadata["image"] == two.name
    assert await contents(service) == before


async def test_a_change_of_another_field_does_not_stand_in_the_way(service: Service) -> None:
    one, _ = await filled(service)
    made = await tag(service, "red")
    await service.images.update(one, ImageFields(caption="a dog"), ("caption",), "")
    await service.edits.undo(made, validate_only=False)
    image = await service.images.get(one)
    assert (image.fields.caption, [tag.label for tag in image.fields.tags]) == ("a dog", ["dog"])


async def test_deleted_images_stay_deleted(service: Service) -> None:
    one, two = await filled(service)
    made = await tag(service, "red")
    await service.images.delete(one, etag="")
    undo = await service.edits.undo(made, validate_only=True)
    assert undo.images == (two.image,)
    await service.edits.undo(made, validate_only=False)
    assert [tag.label for tag in (await service.images.get(two)).fields.tags] == ["dog"]
    await service.images.delete(two, etag="")
    with pytest.raises(FailedPrecondition) as gone:
        await service.edits.undo(EditRef(SET, 2), validate_only=False)
    assert gone.value.reason == "EDIT_IMAGES_GONE"


async def test_the_last_twenty_of_many_images_and_of_one_are_kept(service: Service) -> None:
    one, _ = await filled(service)
    for number in range(KEPT_EDITS + 2):
        await tag(service, f"t{number}")
        await service.images.update(one, ImageFields(caption=f"c{number}"), ("caption",), "")
    kept = await service.edits.list(SET)
    assert [edit.method for edit in kept] == ["UpdateImage", "EditTags"] * KEPT_EDITS
    assert kept[-1].ref.number == 5
    with pytest.raises(NotFound):
        await service.edits.undo(EditRef(SET, 1), validate_only=False)


async def test_the_calls_of_one_job_are_one_edit(service: Service) -> None:
    refs = await filled(service, 3)

    async def update(ref: ImageRef, caption: str) -> Image:
        return await service.images.update(ref, ImageFields(caption=caption), ("caption",), "")

    with request_context.use(RequestContext("job-1", None, "key:ada")):
        for ref in refs:
            await update(ref, "by the job")
        # The same image again is no part of the same edit: it could not be told which was before.
        await update(refs[0], "corrected")
    kept = await service.edits.list(SET)
    assert [(edit.changed_images, edit.editor) for edit in kept] == [(1, "key:ada"), (3, "key:ada")]
    for edit in kept:
        await service.edits.undo(edit.ref, validate_only=False)
    assert [image.fields.caption for image in service.store.state.images.values()] == [""] * 3


async def test_an_old_etag_of_the_dataset_names_who_was_faster(service: Service) -> None:
    await filled(service)
    etag = (await service.datasets.get(SET)).etag
    await tag(service, "red")
    for validate_only in (True, False):
        with pytest.raises(Aborted, match="changed tags of 2 images"):
            await service.tags.edit(SET, filter_text="", edits=[AddTag("x")], validate_only=validate_only, etag=etag)
