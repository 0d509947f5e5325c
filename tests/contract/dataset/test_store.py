"""What every DatasetStore owes: one suite over the fake, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.chassis.errors import Aborted, AlreadyExists, DomainError, InvalidArgument, NotFound
from services.chassis.listing.pages import Query
from services.chassis.requests.keys import RequestKey
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.resources import Crop, DatasetVersion, ImageFields, TextFrom
from services.dataset.models.versions import frozen
from services.dataset.ports import VERSION_IMAGES, VERSIONS, DatasetStore
from tests.contract.dataset.rows import NOW, SET, dataset, fill, image
from tests.fixtures.lists import every_page, first_page
from tests.fixtures.patience import turns


async def test_what_is_written_reads_back_equal(store: DatasetStore) -> None:
    images = await fill(store, 2)
    cropped = images[0].changed(ImageFields("x", (), Crop(0.1, 0.2, 0.30000000000000004, 1.0), 7), NOW)
    async with store.write() as tx:
        await tx.save_image(cropped)
    async with store.read() as view:
        found = await view.dataset(SET)
        assert (found.image_count, found.size_bytes, found.last_position) == (2, 6_000_000_003, 2)
        assert (found.create_time, found.revision) == (NOW, 3)
        assert await view.image(cropped.ref) == cropped
        assert await view.images(SET) == [cropped, images[1]]
        assert await view.image_with_bytes(SET, images[1].picture.sha256) == images[1]
        assert await view.image_with_bytes(SET, "0" * 64) is None
        assert (await view.has_dataset(SET), await view.has_dataset(DatasetRef("other", "dogs"))) == (True, False)


async def test_what_is_not_there_is_not_found_by_name(store: DatasetStore) -> None:
    await fill(store, 1)
    version = VersionRef(SET, 1)
    async with store.read() as view:
        for call, name in (
            (view.dataset(DatasetRef("other", "dogs")), "projects/other/datasets/dogs"),
            (view.image(ImageRef(SET, "img-9")), f"{SET.name}/images/img-9"),
            (view.version(version), version.name),
            (view.version_image(VersionImageRef(version, "img-1")), f"{version.name}/images/img-1"),
        ):
            with pytest.raises(NotFound) as caught:
                await call
            assert (caught.value.reason, caught.value.metadata["name"]) == ("RESOURCE_NOT_FOUND", name)
    with pytest.raises(NotFound):
        async with store.write() as tx:
            await tx.lock_dataset(DatasetRef("acme", "none"))


async def test_a_transaction_that_raises_leaves_no_trace(store: DatasetStore) -> None:
    async def fail() -> None:
        async with store.write() as tx:
            await tx.add_dataset(dataset())
            await tx.add_image(image(1))
            await tx.reserve_keys(["k"], until=NOW)
            assert await tx.has_dataset(SET)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with store.read() as view:
        assert not await view.has_dataset(SET)
        assert await view.images(SET) == []
    assert await store.claim_keys(due=NOW) == []


async def test_a_taken_name_is_refused(store: DatasetStore) -> None:
    await fill(store, 0)
    with pytest.raises(AlreadyExists) as caught:
        async with store.write() as tx:
            await tx.add_dataset(dataset(display_name="other"))
    assert caught.value.reason == "DATASET_EXISTS"
    async with store.read() as view:
        assert (await view.dataset(SET)).fields.display_name == ""


async def test_locked_changes_do_not_lose_each_other(store: DatasetStore) -> None:
    await fill(store, 0)

    async def add(number: int) -> None:
        async with store.write() as tx:
            current = await tx.lock_dataset(SET)
            await turns()
            new = replace(image(number), position=current.last_position + 1)
            await tx.add_image(new)
            await tx.save_dataset(current.with_image(new))

    await asyncio.gather(*(add(number) for number in range(1, 9)))
    async with store.read() as view:
        assert [each.position for each in await view.images(SET)] == list(range(1, 9))
        assert (await view.dataset(SET)).image_count == 8


async def test_a_view_does_not_change_while_it_is_open(store: DatasetStore) -> None:
    await fill(store, 1)
    async with store.read() as view:
        before = await view.dataset(SET)
        async with store.write() as tx:
            await tx.save_dataset((await tx.lock_dataset(SET)).touched(NOW + timedelta(hours=1)))
        assert await view.dataset(SET) == before


async def test_versions(store: DatasetStore) -> None:
    images = await fill(store, 3)
    async with store.write() as tx:
        current = await tx.lock_dataset(SET)
        for count in (1, 3):
            version, pinned = frozen(current, images[:count], description="n", now=NOW)
            await tx.add_version(version, pinned)
            current = current.with_version(version.ref.number)
            await tx.save_dataset(current)
    async with store.read() as view:
        assert await view.version(version.ref) == version
        found, total = await view.versions(SET, first_page(VERSIONS))
        assert ([v.ref.number for v in found], total) == ([2, 1], 2)

        async def listed(query: Query) -> list[DatasetVersion]:
            return (await view.versions(SET, query))[0]

        paged = await every_page(VERSIONS, listed, page_size=1)
        assert [v.ref.number for v in paged] == [2, 1]
        oldest = await every_page(VERSIONS, listed, order_by="create_time")
        assert [v.ref.number for v in oldest] == [1, 2]
        assert await view.count_versions(SET) == 2
        assert await view.version_images(version.ref, first_page(VERSION_IMAGES)) == pinned
        for order, wanted in (("", pinned), ("file_name desc", pinned[::-1])):
            images_of = partial(view.version_images, version.ref)
            assert await every_page(VERSION_IMAGES, images_of, order_by=order) == list(wanted)
        assert await view.version_image(pinned[2].ref) == pinned[2]
        assert await view.version_like(version) == version
        assert await view.version_like(replace(version, trigger_word="sks")) is None
        assert await view.version_like(replace(version, subject="cat")) is None
        assert await view.version_like(replace(version, text_from=TextFrom.TAGS)) is None
        assert (await view.dataset(SET)).last_version == 2


async def test_removing_an_image_releases_its_keys_unless_it_is_pinned(store: DatasetStore) -> None:
    images = await fill(store, 2)
    async with store.write() as tx:
        current = await tx.lock_dataset(SET)
        await tx.add_version(*frozen(current, images[:1], description="", now=NOW))
        for each in images:
            await tx.remove_image(each)
    assert sorted(await store.claim_keys(due=NOW - timedelta(days=9))) == ["o/dogs/2", "t/dogs/2"]
    async with store.read() as view:
        assert await view.images(SET) == []
        assert len(await view.version_images(VersionRef(SET, 1), first_page(VERSION_IMAGES))) == 1


async def test_removing_a_dataset_takes_everything_of_it_and_nothing_else(store: DatasetStore) -> None:
    images = await fill(store, 2)
    others = await fill(store, 1, ref=DatasetRef("acme", "cats"))
    async with store.write() as tx:
        current = await tx.lock_dataset(SET)
        version, pinned = frozen(current, images, description="", now=NOW)
        await tx.add_version(version, pinned)
        await tx.remove_image(images[0])
        await tx.remove_dataset(SET)
    async with store.read() as view:
        assert not await view.has_dataset(SET)
        assert await view.images(SET) == []
        assert await view.count_versions(SET) == 0
        assert await view.version_images(version.ref, first_page(VERSION_IMAGES)) == []
        assert await view.images(others[0].ref.dataset) == others
    released = ["o/dogs/1", "o/dogs/2", "t/dogs/1", "t/dogs/2"]
    assert sorted(await store.claim_keys(due=NOW)) == released


async def test_reserved_keys_come_out_only_after_their_time_and_never_once_kept(store: DatasetStore) -> None:
    async with store.write() as tx:
        await tx.reserve_keys(["a", "b", "c"], until=NOW)
    assert await store.claim_keys(due=NOW - timedelta(microseconds=1)) == []
    async with store.write() as tx:
        await tx.keep_keys(["a"])
    assert sorted(await store.claim_keys(due=NOW)) == ["b", "c"]
    # A claimed key comes again until it is forgotten: whoever claimed it may have died.
    assert sorted(await store.claim_keys(due=NOW)) == ["b", "c"]
    await store.forget_keys(["b"])
    assert await store.claim_keys(due=NOW) == ["c"]
    assert len(await store.claim_keys(due=NOW, limit=1)) == 1
    with pytest.raises(Aborted) as caught:
        async with store.write() as tx:
            await tx.keep_keys(["c"])
    assert caught.value.reason == "UPLOAD_TOO_SLOW"


async def test_given_keys_are_claimed_before_their_time_and_others_are_not(store: DatasetStore) -> None:
    later = NOW + timedelta(hours=1)
    async with store.write() as tx:
        await tx.reserve_keys(["a", "b"], until=later)
    assert await store.claim_keys(due=NOW, keys=["a", "unknown"]) == ["a"]
    # Forgetting does not drop a reservation that runs.
    await store.forget_keys(["a", "b"])
    assert await store.claim_keys(due=later) == ["b"]


async def test_requests_are_remembered_by_project_and_method(store: DatasetStore) -> None:
    key = RequestKey("acme", "CreateDataset", "r-1", "d" * 64)
    async with store.write() as tx:
        assert await tx.recall(key) is None
        await tx.remember(key, SET.name)
        assert await tx.recall(key) == SET.name
    async with store.write() as tx:
        assert await tx.recall(replace(key, project="other")) is None
        assert await tx.recall(replace(key, method="UploadImage")) is None
        assert await tx.recall(replace(key, request_id="")) is None
        await tx.remember(replace(key, request_id=""), "x")
        await tx.remember(replace(key, request_id=""), "y")
        with pytest.raises(InvalidArgument) as caught:
            await tx.recall(replace(key, digest="e" * 64))
    assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")
    async with store.read() as view:
        assert await view.request_is_known(replace(key, digest="anything"))
        assert not await view.request_is_known(replace(key, request_id=""))
    assert await store.forget_requests(before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert await store.forget_requests(before=datetime.now(UTC) + timedelta(seconds=1)) == 1


async def test_equal_requests_at_once_make_one_thing(store: DatasetStore) -> None:
    async def create() -> str:
        key = RequestKey("acme", "CreateDataset", "r-1", "d" * 64)
        async with store.write() as tx:
            known = await tx.recall(key)
            if known:
                return known
            await tx.add_dataset(dataset())
            await tx.remember(key, SET.name)
        return SET.name

    results = await asyncio.gather(*(create() for _ in range(5)), return_exceptions=True)
    assert not [result for result in results if isinstance(result, DomainError)]
    assert set(results) == {SET.name}
