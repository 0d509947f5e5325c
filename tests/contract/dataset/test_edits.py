"""Edits and masks in the dataset's store: one suite over the fake, SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import Aborted, NotFound
from services.dataset.models.edits import Edit, change_of
from services.dataset.models.names import EditRef
from services.dataset.models.resources import Crop, Image, ImageFields, Mask, MaskSource
from services.dataset.models.tags import Tag, TagSource
from services.dataset.models.versions import frozen
from services.dataset.ports import DatasetStore
from tests.contract.dataset.rows import NOW, SET, fill

BYTES = 5_000_000_000


def mask(number: int) -> Mask:
    return Mask(640, 480, BYTES + number, f"{number:064x}", f"m/{number}", 0.25, NOW, MaskSource.SUGGESTED, "photo")


def edit(number: int, *, changed: int = 2) -> Edit:
    return Edit(EditRef(SET, number), "EditTags", "key:ada", "r-1", ("tags", "mask"), changed, NOW)


async def masked(store: DatasetStore, image: Image, number: int) -> Image:
    """Sets a mask as the use case does: its key reserved, kept, and the change recorded."""
    after = image.masked(mask(number), NOW)
    async with store.write() as tx:
        await tx.reserve_keys([mask(number).key], until=NOW + timedelta(hours=1))
    async with store.write() as tx:
        await tx.keep_mask(SET, mask(number))
        await tx.save_image(after)
        last = await tx.newest_edit(SET)
        made = edit(last.ref.number + 1 if last else 1, changed=1)
        await tx.add_edit(made)
        await tx.add_changes(made.ref, [change_of(image, after)])
    return after


async def stored(store: DatasetStore) -> int:
    async with store.read() as view:
        return (await view.usage("acme")).stored_bytes


async def released(store: DatasetStore) -> list[str]:
    return sorted(key for key in await store.claim_keys(due=NOW) if key.startswith("m/"))


async def test_edits_read_back_equal_newest_first(store: DatasetStore) -> None:
    one, two = await fill(store, 2)
    tags = (Tag("Ä"), Tag("b", TagSource.AUTO, 0.25, "wd", "f" * 64, "general"))
    later = [
        one.changed(ImageFields("x\n☃", tags, Crop(0.1, 0.2, 0.30000000000000004, 1.0), 7), NOW),
        two.changed(replace(two.fields, tags=()), NOW).masked(mask(1), NOW),
    ]
    changes = [change_of(one, later[0]), change_of(two, later[1])]
    async with store.write() as tx:
        await tx.add_edit(edit(1))
        await tx.add_changes(edit(1).ref, changes)
        await tx.add_edit(edit(2))
        await tx.save_edit(edit(2, changed=3))
        await tx.mark_undone(edit(1).ref, 2)
    async with store.read() as view:
        first = replace(edit(1), undone_by=2, images=("img-1", "img-2"))
        assert await view.edits(SET) == [edit(2, changed=3), first]
        assert await view.newest_edit(SET) == edit(2, changed=3)
        assert await view.edit(first.ref) == first
        assert await view.changes(first.ref) == changes
        with pytest.raises(NotFound):
            await view.edit(EditRef(SET, 3))
    async with store.write() as tx:
        await tx.remove_image(one)
        assert [change.image for change in await tx.changes(first.ref)] == ["img-2"]
        await tx.remove_dataset(SET)
        assert (await tx.edits(SET), await tx.newest_edit(SET)) == ([], None)


async def test_a_mask_is_counted_and_released_with_the_last_who_refers_to_it(store: DatasetStore) -> None:
    (image,) = await fill(store, 1)
    pictures = await stored(store)
    first = await masked(store, image, 1)
    async with store.read() as view:
        assert await view.image(image.ref) == first
    async with store.write() as tx:
        version, pinned = frozen(await tx.dataset(SET), [first], description="", now=NOW)
        await tx.add_version(version, pinned)
        assert await tx.version_image(pinned[0].ref) == pinned[0]
    assert pinned[0].mask == mask(1)
    second = await masked(store, first, 2)
    await masked(store, second, 3)
    assert await stored(store) == pictures + 3 * BYTES + 6
    async with store.write() as tx:
        await tx.thin_edits(SET, keep=0)
        assert await tx.edits(SET) == []
    assert await released(store) == ["m/2"], "the version has the first, the image the third"
    assert await stored(store) == pictures + 2 * BYTES + 4
    async with store.write() as tx:
        await tx.remove_version(version.ref)
    assert await released(store) == ["m/1", "m/2"]
    assert await stored(store) == pictures + BYTES + 3
    async with store.write() as tx:
        await tx.remove_image(await tx.image(image.ref))
    assert await released(store) == ["m/1", "m/2", "m/3"]
    assert await stored(store) == 0


async def test_a_dataset_takes_its_masks_along(store: DatasetStore) -> None:
    (image,) = await fill(store, 1)
    await masked(store, await masked(store, image, 1), 2)
    async with store.write() as tx:
        await tx.remove_dataset(SET)
    assert await released(store) == ["m/1", "m/2"]
    assert await stored(store) == 0


async def test_the_newest_of_each_size_are_kept(store: DatasetStore) -> None:
    await fill(store, 1)
    async with store.write() as tx:
        for number in range(1, 9):
            await tx.add_edit(edit(number, changed=1 + number % 2))
        await tx.thin_edits(SET, keep=2)
        assert [one.ref.number for one in await tx.edits(SET)] == [8, 7, 6, 5]


async def test_a_mask_whose_key_was_claimed_is_refused(store: DatasetStore) -> None:
    await fill(store, 1)
    async with store.write() as tx:
        await tx.reserve_keys(["m/1"], until=NOW)
    assert await store.claim_keys(due=NOW) == ["m/1"]
    with pytest.raises(Aborted):
        async with store.write() as tx:
            await tx.keep_mask(SET, mask(1))
