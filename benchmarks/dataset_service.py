"""Start time, upload and list times of the dataset service, beside an S3 server of its own.

    python -m benchmarks.dataset_service [--images 50] [--starts 3]

Prints one line of JSON. start_s: from exec to SERVING; start_cpu_s: CPU time of that. upload_ms: one 12-megapixel JPEG
after the other, with eight at a time, and all in one archive, per picture. archive_mib: by how much the service's most
memory grew meanwhile. Times are medians; on a busy machine look at the CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2_grpc
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.api.httpbody_pb2 import HttpBody
from PIL import Image

from gateway.supervisor import servers
from services.chassis.grpc_client import channel

KEYS = ("benchmark-key", "benchmark-secret-0123456789")
PARENT = "projects/bench/datasets/photos"
CHUNK = 256 * 1024


def photo(seed: int, width: int = 4000, height: int = 3000) -> bytes:
    """A smooth 12-megapixel JPEG of about two megabytes."""
    small = Image.frombytes("RGB", (160, 120), random.Random(seed).randbytes(160 * 120 * 3))
    buffer = BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def start(folder: Path, number: int, s3_port: int) -> tuple[subprocess.Popen[bytes], str, float, float]:
    """A started service: process, host:port, seconds, CPU seconds."""
    port_file = folder / f"port-{number}"
    environment = {
        "DATASET_DATABASE_URL": f"sqlite+aiosqlite:///{folder / f'dataset-{number}.db'}",
        "DATASET_S3_ENDPOINT": f"{servers.HOST}:{s3_port}",
        "DATASET_S3_ACCESS_KEY": KEYS[0],
        "DATASET_S3_SECRET_KEY": KEYS[1],
        "DATASET_PORT_FILE": str(port_file),
        "DATASET_LOG_LEVEL": "WARNING",
    }
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "services.dataset.app"], env={**os.environ, **environment})
    while not port_file.exists():
        if process.poll() is not None:
            raise SystemExit(f"the service ended with {process.returncode}")
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return process, f"{servers.HOST}:{port_file.read_text().strip()}", seconds, cpu


def requests(data: bytes, name: str) -> Iterator[pb.UploadImageRequest]:
    """The messages of one upload."""
    yield pb.UploadImageRequest(header=pb.UploadImageHeader(parent=PARENT, file_name=name, size_bytes=len(data)))
    for begin in range(0, len(data), CHUNK):
        yield pb.UploadImageRequest(chunk=data[begin : begin + CHUNK])


def pieces(photos: list[bytes], parent: str) -> Iterator[pb.ImportImagesRequest]:
    """The messages of one archive with all photos."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for number, data in enumerate(photos):
                archive.writestr(f"{number:03}.jpg", data)
        file.seek(0)
        while data := file.read(CHUNK):
            yield pb.ImportImagesRequest(parent=parent, content=HttpBody(data=data))


def most_memory(pid: int) -> float:
    """MiB that the process has had at most."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


async def measure(target: str, photos: list[bytes], pid: int) -> dict[str, float]:
    """Uploads all photos, one half in turn and the other eight at a time, lists them, and uploads all as an archive."""
    connection = channel(target)
    stub = dataset_service_pb2_grpc.DatasetServiceStub(connection)
    await stub.CreateDataset(
        pb.CreateDatasetRequest(parent="projects/bench", dataset_id="photos", dataset=dataset_pb2.Dataset())
    )
    half, turns, single = len(photos) // 2, asyncio.Semaphore(8), []
    for number, data in enumerate(photos[:half]):
        began = time.perf_counter()
        await stub.UploadImage(requests(data, f"{number}.jpg"))
        single.append(time.perf_counter() - began)

    async def in_turn(number: int) -> None:
        async with turns:
            await stub.UploadImage(requests(photos[number], f"{number}.jpg"))

    began = time.perf_counter()
    await asyncio.gather(*(in_turn(number) for number in range(half, len(photos))))
    together = (time.perf_counter() - began) / (len(photos) - half)
    lists = []
    for _ in range(20):
        began = time.perf_counter()
        await stub.ListImages(pb.ListImagesRequest(parent=PARENT))
        lists.append(time.perf_counter() - began)
    again = await stub.CreateDataset(pb.CreateDatasetRequest(parent="projects/bench", dataset=dataset_pb2.Dataset()))
    before, began = most_memory(pid), time.perf_counter()
    answer = await stub.ImportImages(pieces(photos, again.name))
    archived = (time.perf_counter() - began) / len(photos)
    assert all(one.WhichOneof("outcome") == "image" for one in answer.results)
    await connection.close(None)
    return {
        "upload_ms": round(statistics.median(single) * 1e3, 1),
        "upload_of_eight_ms": round(together * 1e3, 1),
        "archive_ms": round(archived * 1e3, 1),
        "archive_mib": round(most_memory(pid) - before, 1),
        "list_ms": round(statistics.median(lists) * 1e3, 1),
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--starts", type=int, default=3)
    arguments = parser.parse_args()
    photos = [photo(seed) for seed in range(arguments.images)]
    with tempfile.TemporaryDirectory() as folder:
        spec = servers.seaweedfs(Path(folder) / "s3", access_key=KEYS[0], secret_key=KEYS[1])
        spec.data_dir.mkdir(exist_ok=True)
        with (Path(folder) / "s3.log").open("wb") as log:
            store = subprocess.Popen(spec.argv, env={**os.environ, **spec.env}, stdout=log, stderr=log)
        try:
            while not spec.ready():
                time.sleep(0.05)
            starts = []
            for number in range(arguments.starts):
                process, target, seconds, cpu = start(Path(folder), number, spec.ports["s3"])
                starts.append((seconds, cpu))
                if number + 1 == arguments.starts:
                    times = asyncio.run(measure(target, photos, process.pid))
                process.send_signal(signal.SIGTERM)
                process.wait()
        finally:
            store.kill()
            store.wait()
            for leftover in spec.leftovers:
                leftover.unlink(missing_ok=True)
    result = {
        "photo_mb": round(statistics.mean(map(len, photos)) / 1e6, 2),
        "start_s": round(statistics.median(seconds for seconds, _ in starts), 2),
        "start_cpu_s": round(statistics.median(cpu for _, cpu in starts), 2),
        **times,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
