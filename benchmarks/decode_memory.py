"""Memory of the dataset service with its decoding processes: at rest, at the worst, and after a burst.

    python -m benchmarks.decode_memory [--burst 350]

Prints one line of JSON, in MiB resident, service and decoders together; pages that they share count for each of them.
worst: for each kind of the largest pictures that the limits allow, as many at once as are decoded at once. burst:
uploads of 4 MB at once from one project, how they were answered, the peak, and what is left five seconds later.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2_grpc
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from PIL import Image

from benchmarks.dataset_service import KEYS, PARENT, requests, start
from gateway.supervisor import servers
from services.chassis.errors import DomainError
from services.chassis.grpc_client import channel

SIDE = 8000
AT_ONCE = 2
_SAMPLE_S = 0.02


def worst() -> dict[str, bytes]:
    """The largest pictures of each kind, by the extension that they need."""
    files = {}
    for mode in ("RGBA", "P", "LA", "RGB"):
        image = Image.new(mode, (SIDE, SIDE))
        options = {"transparency": 0} if mode == "P" else {}
        files[f"{mode}.png"] = _encoded(image, "PNG", compress_level=1, **options)
    for mode in ("RGB", "CMYK"):
        for progressive in (False, True):
            name = f"{mode}-{'progressive' if progressive else 'baseline'}.jpg"
            image = Image.new(mode, (SIDE, SIDE))
            files[name] = _encoded(image, "JPEG", progressive=progressive, subsampling=0, quality=20)
    return files


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def four_megabytes(seed: int) -> bytes:
    """A PNG of noise."""
    side = 1155
    return _encoded(
        Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(side * side * 3)), "PNG", compress_level=1
    )


def resident_mib(pid: int) -> int:
    """Of a process and its children; 0 when it has gone."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        tasks = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return own + sum(resident_mib(int(child)) for children in tasks for child in children)


@contextmanager
def peak(pid: int) -> Iterator[list[int]]:
    """The most seen during the block, in the list's only place once it has ended."""
    found, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(_SAMPLE_S):
            found[0] = max(found[0], resident_mib(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


async def upload(stub: dataset_service_pb2_grpc.DatasetServiceAsyncStub, data: bytes, name: str) -> str:
    """What became of an upload: OK or the reason of its refusal."""
    try:
        await stub.UploadImage(requests(data, name))
    except DomainError as error:
        return error.reason
    return "OK"


async def measure(target: str, pid: int, burst: int) -> dict[str, object]:
    """All figures of a running service."""
    connection = channel(target)
    stub = dataset_service_pb2_grpc.DatasetServiceStub(connection)
    for name in ("photos", "other"):
        request = pb.CreateDatasetRequest(parent="projects/bench", dataset_id=name, dataset=dataset_pb2.Dataset())
        await stub.CreateDataset(request)
    assert PARENT.endswith("/photos")
    result: dict[str, object] = {"rest": resident_mib(pid)}
    for name, data in worst().items():
        with peak(pid) as most:
            # The second differs by bytes behind the picture: the same one twice would be refused.
            copies = (data + bytes(number) for number in range(AT_ONCE))
            answers = await asyncio.gather(*(upload(stub, copy, name) for copy in copies))
        result[name] = {"peak": most[0], "answers": dict(Counter(answers))}
    pictures = [four_megabytes(seed) for seed in range(8)]
    with peak(pid) as most:
        names = [f"{number}.png" for number in range(burst)]
        many = (upload(stub, pictures[i % 8] + i.to_bytes(4, "big"), name) for i, name in enumerate(names))
        answers = await asyncio.gather(*many)
    await asyncio.sleep(5)
    result["burst"] = {"peak": most[0], "after": resident_mib(pid), "answers": dict(Counter(answers))}
    await connection.close(None)
    return result


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--burst", type=int, default=350)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spec = servers.seaweedfs(Path(folder) / "s3", access_key=KEYS[0], secret_key=KEYS[1])
        spec.data_dir.mkdir()
        with (Path(folder) / "s3.log").open("wb") as log:
            store = subprocess.Popen(spec.argv, env={**os.environ, **spec.env}, stdout=log, stderr=log)
        try:
            while not spec.ready():
                time.sleep(0.05)
            process, target, _, _ = start(Path(folder), 0, spec.ports["s3"])
            try:
                print(json.dumps(asyncio.run(measure(target, process.pid, given.burst))))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()
        finally:
            store.kill()
            store.wait()
            for leftover in spec.leftovers:
                leftover.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
