"""What every PictureStore owes: one suite over the fake and a real S3 server."""

from __future__ import annotations

import pytest

from services.chassis.errors import NotFound
from services.dataset.adapters.s3_pictures import S3PictureStore
from services.dataset.ports import PictureStore
from tests.fakes.dataset import FakePictureStore


@pytest.fixture(params=["fake", "seaweedfs"])
def pictures(request: pytest.FixtureRequest) -> PictureStore:
    if request.param == "fake":
        return FakePictureStore()
    return S3PictureStore(request.getfixturevalue("object_store"))


async def read(pictures: PictureStore, key: str) -> list[bytes]:
    return [chunk async for chunk in pictures.stream(key)]


async def test_bytes_come_back_in_chunks(pictures: PictureStore) -> None:
    data = bytes(range(256)) * 2500
    await pictures.put("datasets/a/b/originals/x/img-1", data, content_type="image/png")
    chunks = await read(pictures, "datasets/a/b/originals/x/img-1")
    assert b"".join(chunks) == data
    assert len(chunks) >= 3
    assert max(map(len, chunks)) <= 256 * 1024


async def test_a_key_is_replaced_whole(pictures: PictureStore) -> None:
    await pictures.put("k/1", b"long before", content_type="image/png")
    await pictures.put("k/1", b"after", content_type="image/png")
    assert b"".join(await read(pictures, "k/1")) == b"after"


async def test_an_absent_key_is_not_found(pictures: PictureStore) -> None:
    with pytest.raises(NotFound):
        await read(pictures, "k/none")


async def test_delete_takes_what_is_there_and_does_not_mind_the_rest(pictures: PictureStore) -> None:
    for key in ("k/1", "k/2"):
        await pictures.put(key, b"x", content_type="image/png")
    await pictures.delete(["k/1", "k/none"])
    with pytest.raises(NotFound):
        await read(pictures, "k/1")
    assert await read(pictures, "k/2") == [b"x"]
