"""The object store on a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
import random
from datetime import timedelta
from pathlib import Path

import pytest
import urllib3
from pydantic import SecretStr

from services.chassis.errors import Internal, NotFound, Unavailable
from services.chassis.s3 import ObjectStore
from services.chassis.store_settings import S3Settings

MIB = 1024 * 1024
LARGE = random.Random(5).randbytes(7 * MIB + 13)


async def test_an_object_comes_back_byte_for_byte(object_store: ObjectStore) -> None:
    written = await object_store.put("a/b.bin", LARGE, content_type="image/png")
    info = await object_store.stat("a/b.bin")
    assert (info.key, info.size_bytes, info.content_type) == ("a/b.bin", len(LARGE), "image/png")
    assert info.etag == written.etag
    assert '"' not in info.etag
    assert info.last_modified is not None
    assert await object_store.get("a/b.bin") == LARGE


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (5, 10), (0, None), (len(LARGE) - 3, None), (7, 0), (3, 5 * MIB)]
)
async def test_ranges(object_store: ObjectStore, offset: int, length: int | None) -> None:
    await object_store.put("x", LARGE)
    end = None if length is None else offset + length
    assert await object_store.get("x", offset=offset, length=length) == LARGE[offset:end]


async def test_an_empty_object(object_store: ObjectStore) -> None:
    await object_store.put("empty", b"")
    assert (await object_store.stat("empty")).size_bytes == 0
    assert await object_store.get("empty") == b""


async def test_a_stream_comes_in_chunks(object_store: ObjectStore) -> None:
    await object_store.put("x", LARGE)
    chunks = [chunk async for chunk in object_store.stream("x", chunk_bytes=256 * 1024)]
    assert b"".join(chunks) == LARGE
    assert max(map(len, chunks)) <= 256 * 1024
    assert len(chunks) >= 28
    part = [chunk async for chunk in object_store.stream("x", offset=MIB, length=100)]
    assert b"".join(part) == LARGE[MIB : MIB + 100]


async def test_a_stream_that_is_left_early_frees_its_connection(object_store: ObjectStore) -> None:
    await object_store.put("x", LARGE)
    for _ in range(40):
        chunks = object_store.stream("x", chunk_bytes=1000)
        assert len(await anext(chunks)) == 1000
        await chunks.aclose()
    assert await object_store.get("x", length=4) == LARGE[:4]


async def test_files_go_up_and_come_down(object_store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(LARGE)
    await object_store.put("file", source)
    info = await object_store.download_to("file", target)
    assert info.size_bytes == len(LARGE)
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(LARGE).digest()
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["deep", "target", "source"]


async def test_a_download_that_fails_leaves_the_old_file(object_store: ObjectStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(NotFound):
        await object_store.download_to("absent", target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


async def first_chunk(store: ObjectStore) -> bytes:
    return await anext(store.stream("absent"))


async def test_what_is_absent_is_a_typed_error(object_store: ObjectStore) -> None:
    for ask in (object_store.get("absent"), object_store.stat("absent"), object_store.copy("absent", "b")):
        with pytest.raises(NotFound) as caught:
            await ask
        assert caught.value.reason == "OBJECT_NOT_FOUND"
    with pytest.raises(NotFound):
        await first_chunk(object_store)
    assert not await object_store.exists("absent")
    await object_store.delete("absent")


async def test_listing_copying_and_deleting(object_store: ObjectStore) -> None:
    keys = [f"set/{number:04d}" for number in range(25)]
    await asyncio.gather(*(object_store.put(key, key.encode()) for key in keys), object_store.put("other/x", b"x"))
    assert [info.key async for info in object_store.list("set/")] == keys
    copied = await object_store.copy("set/0003", "copies/c")
    assert copied.size_bytes == len("set/0003")
    assert await object_store.get("copies/c") == b"set/0003"
    await object_store.delete_many(keys[:20])
    assert [info.key async for info in object_store.list("set/")] == keys[20:]
    assert await object_store.exists("other/x")


async def test_replicas_that_start_together_share_the_bucket(s3_settings: S3Settings) -> None:
    stores = [ObjectStore(s3_settings) for _ in range(4)]
    with pytest.raises(NotFound):
        await stores[0].ping()
    await asyncio.gather(*(store.ensure_bucket() for store in stores))
    await stores[0].put("x", b"1")
    assert await stores[3].get("x") == b"1"
    await stores[0].ping()
    for store in stores:
        store.close()


async def test_presigned_urls_read_and_write_without_keys(object_store: ObjectStore) -> None:
    expires = timedelta(minutes=5)
    with urllib3.PoolManager() as http:
        put_url = await object_store.presign_put("up/load", expires=expires)
        assert (await asyncio.to_thread(http.request, "PUT", put_url, body=b"sent")).status == 200
        assert await object_store.get("up/load") == b"sent"
        get_url = await object_store.presign_get("up/load", expires=expires, filename="my photo.png")
        answer = await asyncio.to_thread(http.request, "GET", get_url)
        assert answer.data == b"sent"
        assert answer.headers["content-disposition"] == 'attachment; filename="my photo.png"'
        forged = get_url.replace("up/load", "up/other")
        assert (await asyncio.to_thread(http.request, "GET", forged)).status == 403


async def test_wrong_keys_are_told_to_the_operator(s3_settings: S3Settings) -> None:
    store = ObjectStore(s3_settings.model_copy(update={"s3_secret_key": SecretStr("wrong")}))
    with pytest.raises(Internal) as caught:
        await store.put("x", b"1")
    assert caught.value.reason == "STORAGE_REFUSED"
    store.close()


async def test_a_store_that_is_away_is_a_typed_error(free_port: int) -> None:
    store = ObjectStore(S3Settings(s3_endpoint=f"127.0.0.1:{free_port}"))
    with pytest.raises(Unavailable) as caught:
        await store.get("x")
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    store.close()
