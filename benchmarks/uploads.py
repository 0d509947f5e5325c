"""Photos into a dataset by every way that there is, beside the same files put straight into the object store.

    python -m benchmarks.uploads [--photos 100] [--at-once 4]

Starts a stack that pretends to train, in a temporary folder, and stops it. The photos are JPEGs of 4 MB and 12
megapixels. Prints one line of JSON for each way: seconds by the clock, CPU seconds of the caller and of the stack (all
of its processes), and both as a multiple of the direct put. On a busy machine look at the CPU seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import tempfile
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from PIL import Image
from pydantic import SecretStr

from gateway.supervisor import run
from gateway.supervisor.folder import DataFolder, StackState
from services.chassis.s3 import ObjectStore
from services.chassis.store_settings import S3Settings

PARENT = "projects/default"
CHUNK = 256 * 1024
MEGABYTES = 4
_PATIENCE_S = 1800.0


def photo(seed: int) -> bytes:
    """A JPEG of 12 megapixels with as much noise as makes it 4 MB."""
    rng = random.Random(seed)
    small = Image.frombytes("RGB", (160, 120), rng.randbytes(160 * 120 * 3))
    large = small.resize((4000, 3000), Image.Resampling.BICUBIC)
    grain = Image.frombytes("L", (1000, 750), rng.randbytes(750_000)).resize((4000, 3000)).convert("RGB")
    buffer = io.BytesIO()
    Image.blend(large, grain, 0.2).save(buffer, "JPEG", quality=94)
    # Whatever is missing goes behind the end of the picture, where readers do not look.
    return buffer.getvalue().ljust(MEGABYTES * 1_000_000, b"\0")


class Ways:
    """Each way takes the photos into a dataset of its own."""

    def __init__(self, state: StackState, folder: DataFolder, photos: list[bytes], at_once: int) -> None:
        self._photos = photos
        self._turns = asyncio.Semaphore(at_once)
        self._key = folder.credentials().api_key
        self._http = httpx.AsyncClient(
            base_url=f"http://{state.server}/v1/{PARENT}/", headers={"x-api-key": self._key}, timeout=_PATIENCE_S
        )
        self._channel = grpc.aio.insecure_channel(state.server)
        self._stub = DatasetServiceStub(self._channel)
        keys = folder.credentials()
        self._store = ObjectStore(
            S3Settings(
                s3_endpoint=f"127.0.0.1:{state.children['seaweedfs'].ports['s3']}", s3_access_key=keys.s3_access_key,
                s3_secret_key=SecretStr(keys.s3_secret_key), s3_bucket="fiveshot",
            )
        )  # fmt: skip

    async def close(self) -> None:
        """Lets go of the connections."""
        await self._http.aclose()
        await self._channel.close(None)
        self._store.close()

    async def direct(self, name: str) -> None:
        """Into the object store, checked by nobody."""
        with tempfile.TemporaryDirectory() as place:
            paths = [Path(place) / f"{number}.jpg" for number in range(len(self._photos))]
            for path, data in zip(paths, self._photos, strict=True):
                path.write_bytes(data)
            await self._each(lambda number, _: self._store.put(f"bench/{name}/{number}", paths[number]))

    async def grpc_chunks(self, name: str) -> None:
        """UploadImage."""

        async def one(number: int, data: bytes) -> None:
            await self._stub.UploadImage(_messages(name, number, data), metadata=(("x-api-key", self._key),))

        await self._each(one)

    async def raw_http(self, name: str) -> None:
        """images:upload."""

        async def one(number: int, data: bytes) -> None:
            path = f"datasets/{name}/images:upload"
            _check(await self._http.post(path, params={"fileName": f"{number}.jpg"}, content=data))

        await self._each(one)

    async def presigned(self, name: str) -> None:
        """images:createUploads, a put for each, images:completeUploads."""
        made = _check(await self._http.post(f"datasets/{name}/images:createUploads", json={"count": len(self._photos)}))
        uploads = made["uploads"]
        async with httpx.AsyncClient(timeout=_PATIENCE_S) as plain:

            async def one(number: int, data: bytes) -> None:
                answer = await plain.put(uploads[number]["url"], content=data)
                answer.raise_for_status()

            await self._each(one)
        named = [{"uploadId": upload["uploadId"], "fileName": f"{number}.jpg"} for number, upload in enumerate(uploads)]
        done = _check(await self._http.post(f"datasets/{name}/images:completeUploads", json={"uploads": named}))
        assert all("image" in each for each in done["results"]), done["results"][0]

    async def archive(self, name: str) -> None:
        """images:import, in archives that fit the largest body."""
        for begin in range(0, len(self._photos), 12):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as zipped:
                for number, data in enumerate(self._photos[begin : begin + 12], begin):
                    zipped.writestr(f"{number}.jpg", data)
            _check(await self._http.post(f"datasets/{name}/images:import", content=buffer.getvalue()))

    async def create(self, name: str) -> None:
        """An empty dataset."""
        _check(await self._http.post("datasets", json={"datasetId": name}))

    async def count(self, name: str) -> int:
        """Its images."""
        return int(_check(await self._http.get(f"datasets/{name}")).get("imageCount", 0))

    async def _each(self, one: Callable[[int, bytes], Awaitable[Any]]) -> None:
        async def turn(number: int, data: bytes) -> None:
            async with self._turns:
                await one(number, data)

        await asyncio.gather(*(turn(number, data) for number, data in enumerate(self._photos)))


def _messages(name: str, number: int, data: bytes) -> Iterator[pb.UploadImageRequest]:
    header = pb.UploadImageHeader(
        parent=f"{PARENT}/datasets/{name}", file_name=f"{number}.jpg", size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    yield pb.UploadImageRequest(header=header)
    for start in range(0, len(data), CHUNK):
        yield pb.UploadImageRequest(chunk=data[start : start + CHUNK])


def _check(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise SystemExit(f"{answer.request.url.path}: {answer.status_code} {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found


def _stack_cpu_s(state: StackState) -> float:
    """CPU seconds of the stack's processes, with those of their children that ended."""
    total = 0.0
    for child in state.children.values():
        process = psutil.Process(child.pid)
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            total += times.user + times.system
        times = process.cpu_times()
        total += times.children_user + times.children_system
    return total


def _own_cpu_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


async def measured(state: StackState, folder: DataFolder, photos: list[bytes], at_once: int) -> None:
    """Prints a line for each way."""
    ways = Ways(state, folder, photos, at_once)
    # Its connections and caches are warm for everybody.
    warm = Ways(state, folder, photos[:2], at_once)
    await warm.direct("warm")
    await warm.create("warm")
    await warm.grpc_chunks("warm")
    await warm.close()
    base: dict[str, float] = {}
    for name, way in (
        ("direct", ways.direct), ("grpc", ways.grpc_chunks), ("http", ways.raw_http), ("presigned", ways.presigned),
        ("zip", ways.archive),
    ):  # fmt: skip
        if name != "direct":
            await ways.create(name)
        clock, stack, own = time.perf_counter(), _stack_cpu_s(state), _own_cpu_s()
        await way(name)
        found = {
            "seconds": time.perf_counter() - clock, "stack_cpu_s": _stack_cpu_s(state) - stack,
            "caller_cpu_s": _own_cpu_s() - own,
        }  # fmt: skip
        if name != "direct" and await ways.count(name) != len(photos):
            raise SystemExit(f"{name}: {await ways.count(name)} images of {len(photos)}")
        base = base or found
        cpu = (found["stack_cpu_s"] + found["caller_cpu_s"]) / (base["stack_cpu_s"] + base["caller_cpu_s"])
        ratios = {"times_direct": found["seconds"] / base["seconds"], "times_direct_cpu": cpu}
        print(json.dumps({"way": name} | {key: round(value, 2) for key, value in (found | ratios).items()}), flush=True)
    await ways.close()


def main() -> None:
    """Starts a stack, measures, and stops it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=4)
    chosen = parser.parse_args()
    # The address of the store must be one that this machine reaches, and the limits no obstacle.
    os.environ |= {"GATEWAY_RATE_LIMIT_PER_SECOND": "0", "GATEWAY_ADDRESS_LIMIT_PER_SECOND": "0"}
    photos = [photo(seed) for seed in range(chosen.photos)]
    print(json.dumps({"photos": len(photos), "mean_mb": round(sum(map(len, photos)) / len(photos) / 1e6, 2)}))
    with tempfile.TemporaryDirectory(prefix="fiveshot-uploads-") as place:
        folder = DataFolder(Path(place) / "data")
        state = run.detach(folder, tied=True, pretend=True)
        try:
            asyncio.run(measured(state, folder, photos, chosen.at_once))
        finally:
            run.stop(folder)


if __name__ == "__main__":
    main()
