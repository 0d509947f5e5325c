"""Base models of projects on a worker's disk: fetched, checked, kept within a bound."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import worker_service_pb2

from services.chassis.errors import DataLoss, FailedPrecondition, NotFound, ResourceExhausted
from services.chassis.s3 import ObjectStore
from services.trainer.worker.base_weights import BaseWeights

_MIB = 2**20
Own = worker_service_pb2.OwnBaseModel


async def stored(objects: ObjectStore, name: str, *parts: bytes) -> Own:
    """A base model whose file lies in the store in these parts."""
    own = Own(name=f"projects/acme/baseModels/{name}", size_bytes=sum(map(len, parts)))
    own.sha256 = hashlib.sha256(b"".join(parts)).hexdigest()
    for number, part in enumerate(parts):
        key = f"trainer/{own.name}/attempts/1/{number}"
        await objects.put(key, part)
        own.parts.add(object_key=key, size_bytes=len(part), sha256=hashlib.sha256(part).hexdigest())
    return own


def weights(objects: ObjectStore, folder: Path, **changes: int) -> BaseWeights:
    """The cache of a worker."""
    settings = {"limit_mib": 3, "room_mib": 0, **changes}
    return BaseWeights(objects, folder / "kept", folder / "worker" / "partial", patience_s=0, **settings)


def names(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "kept").iterdir()}


async def test_a_file_is_put_together_once_and_the_longest_unused_goes_first(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    kept = weights(object_store, tmp_path)
    one, two, three = [
        await stored(object_store, name, name.encode() * (_MIB // 4), b"-" * 7) for name in ("aaaa", "bbbb", "cccc")
    ]
    path = await kept.fetch(one)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256
    await kept.fetch(two)
    before = path.stat().st_mtime_ns
    await object_store.delete_many(part.object_key for part in one.parts)
    # Used again, so that the other one goes; its time of change stays, since fingerprints are kept by that.
    assert await kept.fetch(one) == path
    assert path.stat().st_mtime_ns == before
    await kept.fetch(three)
    assert names(tmp_path) == {one.sha256, three.sha256}
    with pytest.raises(NotFound):
        await kept.fetch(one, anew=True)
    assert not (tmp_path / "worker" / "partial").exists()


async def test_what_is_not_what_it_should_be_is_never_kept(object_store: ObjectStore, tmp_path: Path) -> None:
    kept = weights(object_store, tmp_path)
    lost = await stored(object_store, "lost", b"abc", b"def")
    await object_store.put(lost.parts[1].object_key, b"dEf")
    with pytest.raises(DataLoss) as damaged:
        await kept.fetch(lost)
    assert damaged.value.reason == "DIGEST_MISMATCH"
    other = await stored(object_store, "other", b"abc", b"def")
    other.sha256 = "0" * 64
    with pytest.raises(FailedPrecondition) as differs:
        await kept.fetch(other)
    assert differs.value.reason == "BASE_MODEL_DIGEST_DIFFERS"
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("changes", "words"), [({"limit_mib": 1}, "keeps 1 MiB"), ({"room_mib": 2**30}, "0 MiB to spare")]
)
async def test_a_worker_without_room_says_so_and_what_would_help(
    object_store: ObjectStore, tmp_path: Path, changes: dict[str, int], words: str
) -> None:
    large = await stored(object_store, "large", b"." * (2 * _MIB))
    with pytest.raises(ResourceExhausted) as full:
        await weights(object_store, tmp_path, **changes).fetch(large)
    assert full.value.reason == "DISK_FULL"
    assert words in full.value.message
    assert "WORKER_BASE_MODEL_CACHE_MIB" in full.value.remedy
