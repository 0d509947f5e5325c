"""One suite for every FileStore: the fake, and S3 over a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import DataLoss, NotFound
from services.chassis.s3 import ObjectStore
from services.registry.adapters.s3_files import S3FileStore
from services.registry.ports import FileStore
from tests.fakes.registry import FakeFileStore

KEY = "projects/pets/models/rex/save-1/kohya"
CONTENT = bytes(range(251)) * 4000


@pytest.fixture(params=["fake", "s3"])
def store(request: pytest.FixtureRequest) -> FileStore:
    return FakeFileStore() if request.param == "fake" else S3FileStore(request.getfixturevalue("object_store"))


async def chunks(content: bytes, *, fails: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]
    if fails:
        raise DataLoss("not the recorded bytes")


async def keys(store: FileStore) -> list[str]:
    return [key async for key in store.list_older_than(datetime.now(UTC) + timedelta(minutes=5))]


async def test_bytes_come_back_in_chunks(store: FileStore) -> None:
    await store.put(KEY, chunks(CONTENT), "application/octet-stream")
    got = [chunk async for chunk in store.read(KEY)]
    assert b"".join(got) == CONTENT
    assert max(len(chunk) for chunk in got) <= 256 * 1024


@pytest.mark.parametrize(
    "part",
    [
        range(1), range(1000, 700_000), range(len(CONTENT) - 1, len(CONTENT)), range(900_000, len(CONTENT) + 9),
        range(len(CONTENT), len(CONTENT) + 9), range(len(CONTENT) + 5, len(CONTENT) + 9),
    ],
)  # fmt: skip
async def test_a_part_is_read_by_itself(store: FileStore, part: range) -> None:
    await store.put(KEY, chunks(CONTENT), "application/octet-stream")
    got = [chunk async for chunk in store.read(KEY, part)]
    assert b"".join(got) == CONTENT[part.start : part.stop]
    assert all(len(chunk) <= 256 * 1024 for chunk in got)


async def test_an_empty_file_is_kept(store: FileStore) -> None:
    await store.put(KEY, chunks(b""), "image/png")
    assert [chunk async for chunk in store.read(KEY)] == []
    assert await keys(store) == [KEY]


async def test_a_stream_that_fails_leaves_no_object(store: FileStore) -> None:
    with pytest.raises(DataLoss):
        await store.put(KEY, chunks(CONTENT, fails=True), "image/png")
    assert await keys(store) == []
    with pytest.raises(NotFound):
        _ = [chunk async for chunk in store.read(KEY)]


async def test_deleting_what_is_absent_is_fine(store: FileStore) -> None:
    await store.put(KEY, chunks(CONTENT), "image/png")
    await store.put(KEY + "-2", chunks(b"2"), "image/png")
    await store.delete([KEY, "projects/unknown"])
    await store.delete([])
    assert await keys(store) == [KEY + "-2"]


async def test_only_old_objects_are_listed_as_old(store: FileStore) -> None:
    await store.put(KEY, chunks(CONTENT), "image/png")
    assert [key async for key in store.list_older_than(datetime.now(UTC) - timedelta(minutes=5))] == []
    assert await keys(store) == [KEY]


async def test_objects_of_other_services_in_the_bucket_are_not_seen(object_store: ObjectStore) -> None:
    await object_store.put("datasets/original", b"theirs")
    assert await keys(S3FileStore(object_store)) == []
