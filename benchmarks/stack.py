"""The whole embedded stack: how soon it is ready and gone, what it holds, what the gateway costs a call.

    python -m benchmarks.stack [--json] [--starts 3] [--calls 400] [--pictures 8]

Starts a stack of its own in a temporary folder, each service once more beside it, and stops everything.
ready_s, down_s: as `fiveshot up --detach` and `fiveshot down` take. *_cpu_s: CPU time of that, which a busy machine
stretches less than the clock. memory_mb: proportional set size of all processes together, the worker idle with its
libraries loaded. Calls alternate between the gateway and the service itself, so that both meet the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import psutil
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from PIL import Image

from gateway.event_accounts import SERVICES_USER
from gateway.inside import token_file
from gateway.supervisor import run
from gateway.supervisor.folder import DataFolder, StackState
from gateway.supervisor.servers import HOST, ServerSpec
from gateway.supervisor.stack import Stack
from gateway.supervisor.stack_settings import StackSettings
from services.chassis.request_context import INTERNAL_TOKEN_KEY, PROJECTS_KEY

PARENT = "projects/default"
PHOTOS = f"{PARENT}/datasets/photos"
CHUNK = 256 * 1024
# A picture of noise, so that its file is as large as its pixels: 4.2 MB.
SIDE = 1182
_SETTLE_S = 90.0
_TORCH = "libtorch"


def processes(state: StackState) -> dict[str, psutil.Process]:
    """Every process of a stack by name; children of a child count as `NAME/pid`."""
    found = {"supervisor": psutil.Process(state.pid)}
    for child in state.children.values():
        found[child.name] = psutil.Process(child.pid)
        for below in found[child.name].children(recursive=True):
            found[f"{child.name}/{below.pid}"] = below
    return found


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def proportional_mb(pid: int) -> float:
    """Memory of a process in MB, in which a page that n processes share counts as an n-th in each."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} tells no Pss")


def holds_torch(pid: int) -> bool:
    """Whether the process has torch's libraries in memory."""
    return _TORCH in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")


def settled(state: StackState) -> None:
    """Waits until the worker has loaded its libraries: it holds torch, and rests."""
    worker = psutil.Process(state.children["worker-1"].pid)
    deadline = time.monotonic() + _SETTLE_S
    before = cpu_s(worker)
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = cpu_s(worker)
        if holds_torch(worker.pid) and now - before < 0.05:
            return
        before = now
    raise SystemExit(f"the worker did not come to rest within {_SETTLE_S:g} s")


def measure_starts(state: StackState, folder: DataFolder, times: int) -> dict[str, dict[str, float]]:
    """Start of each service by itself, to the moment it serves, with fresh databases: medians of `times`."""
    keys = folder.credentials()
    settings = StackSettings(
        s3_endpoint=f"{HOST}:{state.children['seaweedfs'].ports['s3']}",
        s3_access_key=keys.s3_access_key,
        s3_secret_key=keys.s3_secret_key,
        nats_url=f"nats://{HOST}:{state.children['nats'].ports['nats']}",
        nats_user=SERVICES_USER,
        nats_password=keys.nats_password,
        workers=0,
    )
    taken: dict[str, list[tuple[float, float]]] = {}
    for number in range(times):
        with tempfile.TemporaryDirectory() as place:
            stack = Stack(DataFolder(Path(place) / str(number)), settings)
            for spec in (spec for stage in stack.stages for spec in stage if spec.name != "envoy"):
                taken.setdefault(spec.name, []).append(start_alone(spec))
    return {
        name: {
            "start_s": round(statistics.median(seconds for seconds, _ in runs), 2),
            "start_cpu_s": round(statistics.median(cpu for _, cpu in runs), 2),
        }
        for name, runs in taken.items()
    }


def start_alone(spec: ServerSpec) -> tuple[float, float]:
    """Seconds and CPU seconds from exec to ready. Fails when the process has torch in memory."""
    spec.data_dir.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(spec.argv, env={**os.environ, **spec.env}, stdout=quiet, stderr=quiet)
    try:
        while not spec.ready():
            if process.poll() is not None:
                raise SystemExit(f"{spec.name} ended with {process.returncode}")
            time.sleep(0.005)
        seconds, cpu = time.perf_counter() - began, cpu_s(psutil.Process(process.pid))
        if holds_torch(process.pid):
            raise SystemExit(f"{spec.name} has loaded torch")
        return seconds, cpu
    finally:
        process.terminate()
        process.wait()


def picture(seed: int) -> bytes:
    """A PNG of 4.2 MB that differs with the seed."""
    noise = Image.frombytes("RGB", (SIDE, SIDE), random.Random(seed).randbytes(SIDE * SIDE * 3))
    buffer = BytesIO()
    noise.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def upload_messages(data: bytes, name: str) -> Iterator[pb.UploadImageRequest]:
    """The messages of one upload."""
    yield pb.UploadImageRequest(header=pb.UploadImageHeader(parent=PHOTOS, file_name=name, size_bytes=len(data)))
    for begin in range(0, len(data), CHUNK):
        yield pb.UploadImageRequest(chunk=data[begin : begin + CHUNK])


async def measure_calls(
    state: StackState, folder: DataFolder, calls: int, pictures: int
) -> dict[str, dict[str, float]]:
    """Unary calls, uploads and downloads, in turn through the gateway and straight to the dataset service."""
    keys = folder.credentials()
    token = token_file(folder.sub("credentials"), "gateway").read_text(encoding="ascii")
    as_gateway = ((INTERNAL_TOKEN_KEY, token), (PROJECTS_KEY, "*"))
    doors = {
        "gateway": (state.server, (("x-api-key", keys.api_key),)),
        "direct": (f"{HOST}:{state.children['dataset'].ports['grpc']}", as_gateway),
    }
    unary: dict[str, list[float]] = {door: [] for door in doors}
    up: dict[str, list[float]] = {door: [] for door in doors}
    down: dict[str, list[float]] = {door: [] for door in doors}
    async with grpc.aio.insecure_channel(doors["gateway"][0]) as public:
        async with grpc.aio.insecure_channel(doors["direct"][0]) as inside:
            stubs = {"gateway": DatasetServiceStub(public), "direct": DatasetServiceStub(inside)}
            metadata = {door: given for door, (_, given) in doors.items()}
            request = pb.CreateDatasetRequest(parent=PARENT, dataset_id="photos")
            await stubs["gateway"].CreateDataset(request, metadata=metadata["gateway"])
            for _ in range(calls):
                for door, stub in stubs.items():
                    began = time.perf_counter()
                    await stub.GetDataset(pb.GetDatasetRequest(name=PHOTOS), metadata=metadata[door])
                    unary[door].append(time.perf_counter() - began)
                # The gateway lets a caller make 200 calls a second.
                await asyncio.sleep(0.005)
            for number in range(pictures):
                for door, stub in stubs.items():
                    data = picture(2 * number + (door == "direct"))
                    began = time.perf_counter()
                    image = await stub.UploadImage(upload_messages(data, f"{number}.png"), metadata=metadata[door])
                    up[door].append(len(data) / 1e6 / (time.perf_counter() - began))
                    for way, other in stubs.items():
                        asked = pb.DownloadImageRequest(name=image.name, view=pb.DownloadImageRequest.VIEW_ORIGINAL)
                        began, size = time.perf_counter(), 0
                        async for part in other.DownloadImage(asked, metadata=metadata[way]):
                            size += len(part.chunk)
                        down[way].append(size / 1e6 / (time.perf_counter() - began))
    return {
        "unary_ms": _compared({door: [1e3 * value for value in values] for door, values in unary.items()}),
        "upload_mb_per_s": _compared(up),
        "download_mb_per_s": _compared(down),
    }


def _compared(values: dict[str, list[float]]) -> dict[str, float]:
    medians = {door: statistics.median(each) for door, each in values.items()}
    ratio = medians["gateway"] / medians["direct"]
    return {**{door: round(median, 2) for door, median in medians.items()}, "ratio": round(ratio, 2)}


def measure(starts: int, calls: int, pictures: int) -> dict[str, Any]:
    """Everything, in one run."""
    result: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory(prefix="fiveshot-benchmark-") as place:
        folder = DataFolder(Path(place) / "data")
        began = time.perf_counter()
        state = run.detach(folder, tied=True)
        try:
            result["ready_s"] = round(time.perf_counter() - began, 2)
            result["ready_cpu_s"] = round(sum(cpu_s(process) for process in processes(state).values()), 1)
            settled(state)
            memory = {name: proportional_mb(process.pid) for name, process in processes(state).items()}
            result["memory_mb"] = round(sum(memory.values()))
            result["memory_mb_of"] = {name: round(value) for name, value in memory.items()}
            result["alone"] = measure_starts(state, folder, starts)
            result["calls"] = asyncio.run(measure_calls(state, folder, calls, pictures))
        finally:
            began = time.perf_counter()
            run.stop(folder)
            result["down_s"] = round(time.perf_counter() - began, 2)
    result["load_after"] = round(os.getloadavg()[0], 1)
    return result


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [
        ("stack ready", f"{result['ready_s']} s ({result['ready_cpu_s']} CPU s)"),
        ("stack down", f"{result['down_s']} s"),
        ("memory of all processes, worker idle", f"{result['memory_mb']} MB"),
    ]
    rows += [(f"memory of {name}", f"{value} MB") for name, value in result["memory_mb_of"].items()]
    rows += [
        (f"start of {name} alone", f"{alone['start_s']} s ({alone['start_cpu_s']} CPU s)")
        for name, alone in result["alone"].items()
    ]
    rows += [
        (name.replace("_", " "), f"{way['gateway']} through the gateway, {way['direct']} direct, ratio {way['ratio']}")
        for name, way in result["calls"].items()
    ]
    load = f"{result['load_before']} to {result['load_after']} on {result['cores']} cores"
    rows.append(("load of the machine", load))
    return "\n".join(["| what | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--starts", type=int, default=3, help="starts of each service alone")
    parser.add_argument("--calls", type=int, default=400, help="unary calls each way")
    parser.add_argument("--pictures", type=int, default=8, help="pictures uploaded each way")
    arguments = parser.parse_args()
    result = measure(arguments.starts, arguments.calls, arguments.pictures)
    print(json.dumps(result) if arguments.json else table(result))


if __name__ == "__main__":
    main()
