"""What the gateway costs a call, hop by hop, and what one caller's load costs another.

    python -m benchmarks.gateway [--calls 600] [--burst 800] [--downloads 6]

One Envoy and one authorization process, before a dataset service that answers from memory; all on this machine, beside
the client. small call: one caller, one call at a time, the ways in turn, so that all meet the same minutes:
  direct        no gateway
  envoy         Envoy with all filters but the two that ask the authorization process
  no-op         the authorization process is asked each time and lets everybody through
  asked         the real one, asked each time
  remembered    as configured: Envoy remembers for a second who may call
burst: that many calls of one key at once, while another key calls one at a time. download: a file of 32 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from fiveshot.gateway.v1 import external_auth_pb2
from grpc_health.v1 import health, health_pb2_grpc

from gateway import api_keys, envoy_config
from gateway.app import build
from gateway.authz import SERVICE_NAME
from gateway.check_answers import Caller, allowed
from gateway.settings import Settings
from gateway.supervisor import servers
from services.chassis.service import serving

NAME = "projects/acme/datasets/dogs"
FILE = 32 * 1024 * 1024
CHUNK = bytes(1024 * 1024)
DATASET = "fiveshot.dataset.v1.DatasetService"


async def _dataset(port: int) -> None:
    """A dataset service that has nothing to do."""

    async def get(request: Any, _: Any) -> Any:
        return dataset_pb2.Dataset(name=request.name)

    async def download(_request: Any, _: Any) -> AsyncIterator[Any]:
        for _ in range(FILE // len(CHUNK)):
            yield pb.DownloadImageResponse(chunk=CHUNK)

    handlers = {
        "GetDataset": grpc.unary_unary_rpc_method_handler(
            get, pb.GetDatasetRequest.FromString, lambda answer: answer.SerializeToString()
        ),
        "DownloadImage": grpc.unary_stream_rpc_method_handler(
            download, pb.DownloadImageRequest.FromString, lambda answer: answer.SerializeToString()
        ),
    }
    await _serve(port, DATASET, handlers)


async def _no_op(port: int) -> None:
    """An authorization that lets everybody through."""
    answer = allowed(Caller("key:any", ("*",)), "")

    async def check(_request: Any, _: Any) -> Any:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        check, external_auth_pb2.CheckRequest.FromString, external_auth_pb2.CheckResponse.SerializeToString
    )
    await _serve(port, SERVICE_NAME, {"Check": handler})


async def _serve(port: int, name: str, handlers: dict[str, Any]) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)  # type: ignore[attr-defined]
    server.add_insecure_port(f"{servers.HOST}:{port}")
    await server.start()
    await server.wait_for_termination()


async def _authorization(settings: Settings) -> None:
    async with serving(settings, build(settings)) as running:
        await running.failed


def _in_process(work: Callable[..., Any], *arguments: Any) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work(*arguments))


async def measure(calls: int, burst: int, downloads: int, folder: Path) -> list[tuple[str, str]]:
    """Rows of the table."""
    key, other = api_keys.new_secret(), api_keys.new_secret()
    keys = [api_keys.ApiKey(name, api_keys.digest(each), ("acme",)) for name, each in (("a", key), ("b", other))]
    api_keys.save(folder / "keys.yaml", keys)
    dataset, no_op, real, *ports = servers.free_ports(13)
    target = dict.fromkeys(("dataset", "tagger", "trainer", "registry", "notifier"), f"{servers.HOST}:{dataset}")
    base = Settings(
        listen=f"{servers.HOST}:{real}", api_keys_file=folder / "keys.yaml", access_log_file=str(folder / "access.log"),
        rate_limit_per_second=0, address_limit_per_second=0, unknown_limit_per_second=0,
        **{f"{name}_target": value for name, value in target.items()},  # type: ignore[arg-type]
    )  # fmt: skip
    asks = {"authz_target": f"{servers.HOST}:{real}"}
    ways: dict[str, dict[str, Any]] = {
        "envoy": {**asks, "authorization_kept_s": 0},
        "no-op": {"authz_target": f"{servers.HOST}:{no_op}", "authorization_kept_s": 0},
        "asked": {**asks, "authorization_kept_s": 0},
        "remembered": asks,
    }
    limits = {"rate_limit_per_second": 200, "unknown_limit_per_second": 50, "address_limit_per_second": 1000}
    spawn = multiprocessing.get_context("spawn")
    work = ((_dataset, dataset), (_no_op, no_op), (_authorization, base))
    processes = [spawn.Process(target=_in_process, args=each) for each in work]
    async with contextlib.AsyncExitStack() as stack:
        for process in processes:
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
        doors = {"direct": f"{servers.HOST}:{dataset}"}
        for (name, more), port, admin in zip([*ways.items(), ("limited", {**asks, **limits})], ports[::2], ports[1::2],
                                             strict=True):  # fmt: skip
            doors[name] = f"{servers.HOST}:{port}"
            place = folder / name
            place.mkdir()
            settings = base.model_copy(
                update={**more, "public_listen": doors[name], "admin_listen": f"{servers.HOST}:{admin}"}
            )
            config = envoy_config.render(settings)
            if name == "envoy":
                _without_authorization(config)
            await _start_envoy(config, place, port, admin, stack)
        channels = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(each, [("door", name)]))
            for name, each in doors.items()
        }
        stubs: dict[str, Any] = {name: DatasetServiceStub(channel) for name, channel in channels.items()}
        for stub in stubs.values():
            await stub.GetDataset(pb.GetDatasetRequest(name=NAME), metadata=(("x-api-key", key),), wait_for_ready=True)
        rows = await _small(stubs, key, calls)
        rows += await _download(stubs, key, downloads)
        rows += await _burst(doors["limited"], stubs["limited"], key, other, burst)
    return rows


def _without_authorization(config: dict[str, Any]) -> None:
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    asking = ("ext_authz", "json_check")
    manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] not in asking]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route.get("typed_per_filter_config", {}).pop("json_check", None)


async def _start_envoy(
    config: dict[str, Any], place: Path, port: int, admin: int, stack: contextlib.AsyncExitStack
) -> None:
    (place / "envoy.json").write_text(json.dumps(config), encoding="utf-8")
    spec = servers.envoy(place / "envoy.json", ports={"listener": port, "admin": admin}, data_dir=place)
    process = await asyncio.create_subprocess_exec(*spec.argv, stdout=asyncio.subprocess.DEVNULL, stderr=None)

    async def end() -> None:
        process.kill()
        await process.wait()

    stack.push_async_callback(end)
    while not await asyncio.to_thread(spec.ready):  # noqa: ASYNC110  (another process cannot set our events)
        await asyncio.sleep(0.05)


async def _timed(stub: Any, key: str) -> float:
    began = time.perf_counter()
    await stub.GetDataset(pb.GetDatasetRequest(name=NAME), metadata=(("x-api-key", key),))
    return (time.perf_counter() - began) * 1e3


async def _small(stubs: dict[str, Any], key: str, calls: int) -> list[tuple[str, str]]:
    taken: dict[str, list[float]] = {name: [] for name in stubs if name != "limited"}
    for _ in range(calls):
        for name, values in taken.items():
            values.append(await _timed(stubs[name], key))
    direct = statistics.median(taken["direct"])
    return [
        (f"small call, {name}", f"{statistics.median(each):.2f} ms (+{statistics.median(each) - direct:.2f}), p99 "
         f"{statistics.quantiles(each, n=100)[98]:.1f} ms")
        for name, each in taken.items()
    ]  # fmt: skip


async def _download(stubs: dict[str, Any], key: str, times: int) -> list[tuple[str, str]]:
    taken: dict[str, list[float]] = {"direct": [], "remembered": []}
    for _ in range(times):
        for name, values in taken.items():
            began, size = time.perf_counter(), 0
            async for part in stubs[name].DownloadImage(
                pb.DownloadImageRequest(name=f"{NAME}/images/i"), metadata=(("x-api-key", key),)
            ):
                size += len(part.chunk)
            values.append(size / 1e6 / (time.perf_counter() - began))
    speed = {name: statistics.median(values) for name, values in taken.items()}
    ratio = speed["remembered"] / speed["direct"]
    return [("download", f"{speed['remembered']:.0f} MB/s, direct {speed['direct']:.0f} MB/s, ratio {ratio:.2f}")]


async def _crowd(target: str, key: str, burst: int, pipe: Connection) -> None:
    """The many calls, from a process of their own: their client's work is not the other caller's."""
    outcomes: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        stub: Any = DatasetServiceStub(channel)

        async def one() -> None:
            try:
                await stub.GetDataset(pb.GetDatasetRequest(name=NAME), metadata=(("x-api-key", key),))
                outcomes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                outcomes[error.code().name] += 1

        pipe.send("ready")
        pipe.recv()
        await asyncio.gather(*(one() for _ in range(burst)))
        pipe.send(dict(outcomes))


async def _burst(target: str, stub: Any, key: str, other: str, burst: int) -> list[tuple[str, str]]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_in_process, args=(_crowd, target, key, burst, theirs))
    process.start()
    await asyncio.to_thread(ours.recv)
    quiet = [await _timed(stub, other) for _ in range(200)]
    meanwhile: list[float] = []
    began = time.perf_counter()
    ours.send("go")
    while not ours.poll():
        meanwhile.append(await _timed(stub, other))
    outcomes = ours.recv()
    seconds = time.perf_counter() - began
    process.join()
    return [
        (f"{burst} calls of one key at once", f"{outcomes} in {seconds:.2f} s"),
        ("another caller, quiet", _percentiles(quiet)),
        ("another caller, meanwhile", _percentiles(meanwhile)),
    ]


def _percentiles(values: list[float]) -> str:
    p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
    return f"p50 {statistics.median(values):.1f} ms, p99 {p99:.1f} ms of {len(values)} calls"


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=600, help="small calls each way")
    parser.add_argument("--burst", type=int, default=800, help="calls of one key at once")
    parser.add_argument("--downloads", type=int, default=6, help="downloads each way")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fiveshot-benchmark-") as folder:
        rows = asyncio.run(measure(arguments.calls, arguments.burst, arguments.downloads, Path(folder)))
    rows.append(("load of the machine", f"{before:.1f} to {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"))
    print("\n".join(["| what | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]))


if __name__ == "__main__":
    main()
