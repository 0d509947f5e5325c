"""What each project uses, counted where it changes: the same on every store."""

from __future__ import annotations

import asyncio

import pytest

from services.dataset.models.names import DatasetRef
from services.dataset.models.usage import ProjectUsage
from services.dataset.models.versions import frozen
from services.dataset.ports import DatasetStore
from tests.contract.dataset.rows import NOW, SET, dataset, fill, image
from tests.fixtures.patience import turns


async def usage(store: DatasetStore, project: str = "acme") -> ProjectUsage:
    async with store.read() as view:
        return await view.usage(project)


async def test_usage_follows_what_is_stored_and_counts_a_pinned_picture_once(store: DatasetStore) -> None:
    assert await usage(store) == ProjectUsage()
    one, two = await fill(store, 2)
    size = one.picture.stored_bytes
    assert size == 3_000_000_901
    both = size + two.picture.stored_bytes
    assert await usage(store) == ProjectUsage(1, 2, both)
    async with store.write() as tx:
        version, pinned = frozen(await tx.dataset(SET), [one, two], description="", now=NOW)
        await tx.add_version(version, pinned)
    assert await usage(store) == ProjectUsage(1, 2, both)
    async with store.write() as tx:
        await tx.remove_image(one)
    assert await usage(store) == ProjectUsage(1, 1, both)
    async with store.write() as tx:
        await tx.remove_version(version.ref)
    assert await usage(store) == ProjectUsage(1, 1, two.picture.stored_bytes)
    await fill(store, 1, ref=DatasetRef("acme", "cats"))
    assert await usage(store) == ProjectUsage(2, 2, two.picture.stored_bytes + size)
    async with store.write() as tx:
        await tx.remove_dataset(SET)
    assert await usage(store) == ProjectUsage(1, 1, size)
    assert await usage(store, "other") == ProjectUsage()


async def test_usage_of_a_transaction_that_raises_is_taken_back(store: DatasetStore) -> None:
    await fill(store, 1)
    before = await usage(store)

    async def fail() -> None:
        async with store.write() as tx:
            await tx.add_image(image(2))
            assert (await tx.lock_usage("acme")).images == 2
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await usage(store) == before


async def test_of_those_who_look_at_the_usage_and_add_at_once_only_as_many_as_fit_do(store: DatasetStore) -> None:
    async def add(number: int) -> bool:
        ref = DatasetRef("acme", f"d-{number}")
        async with store.write() as tx:
            if (await tx.lock_usage("acme")).datasets >= 3:
                return False
            await turns()
            await tx.add_dataset(dataset(ref))
        return True

    assert sum(await asyncio.gather(*(add(number) for number in range(8)))) == 3
    assert (await usage(store)).datasets == 3
