"""The embedded servers as described: they start, keep what they were given through a kill, and leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from gateway.supervisor import servers
from gateway.supervisor.certificates import Certificates
from gateway.supervisor.ports import port_is_free
from gateway.supervisor.servers import ServerSpec
from services.chassis.nats_events import EventBus
from services.chassis.s3 import ObjectStore
from services.chassis.store_settings import S3Settings
from tests.fixtures import processes
from tests.fixtures.patience import scaled
from tests.fixtures.servers import NATS_PASSWORD, nats_address

ENVOY_CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources: {{}}
"""


@pytest.fixture
def folder(server_folder: Path) -> Path:
    path = server_folder / uuid.uuid4().hex[:8]
    path.mkdir()
    return path


def start(spec: ServerSpec) -> subprocess.Popen[bytes]:
    with (spec.data_dir / f"{spec.name}.log").open("ab") as log:
        process = processes.start(spec, log.fileno())
    processes.wait_ready(spec, process)
    return process


def left_of(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything of the process group still runs."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def sockets_of(spec: ServerSpec) -> set[str]:
    """SeaweedFS's sockets named after one of the server's ports, whoever left them there."""
    ports = {str(port) for port in spec.ports.values()}
    return {path.name for path in Path("/tmp").glob("seaweedfs-*.sock") if path.stem.rpartition("-")[2] in ports}


def seaweedfs(folder: Path) -> ServerSpec:
    return servers.seaweedfs(folder, access_key="a-key", secret_key="a-secret")


def nats(folder: Path) -> ServerSpec:
    return servers.nats(folder, password=NATS_PASSWORD)


def envoy(folder: Path) -> ServerSpec:
    ports = dict(zip(("listener", "admin"), servers.free_ports(2), strict=True))
    config = folder / "envoy.yaml"
    config.write_text(ENVOY_CONFIG.format(admin=ports["admin"]))
    return servers.envoy(config, ports=ports, data_dir=folder)


@pytest.mark.parametrize("describe", [seaweedfs, nats, envoy], ids=["seaweedfs", "nats", "envoy"])
def test_a_server_starts_ends_at_sigterm_and_leaves_nothing(
    describe: Callable[[Path], ServerSpec], folder: Path
) -> None:
    spec = describe(folder)
    before = sockets_of(spec)
    assert not spec.ready()
    process = start(spec)
    assert spec.ready()
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=scaled(spec.stop_timeout_s))
    assert not left_of(process)
    assert not spec.ready()
    for path in spec.leftovers:
        path.unlink(missing_ok=True)
    assert sockets_of(spec) - before == set()


async def test_objects_survive_a_kill(folder: Path) -> None:
    spec = seaweedfs(folder)
    settings = S3Settings(
        s3_endpoint=f"{servers.HOST}:{spec.ports['s3']}", s3_access_key="a-key", s3_secret_key=SecretStr("a-secret")
    )
    store = ObjectStore(settings)
    process = start(spec)
    await store.ensure_bucket()
    await store.put("kept/object", b"content" * 1000)
    processes.kill_group(process)
    process = start(spec)
    assert await store.get("kept/object") == b"content" * 1000
    processes.kill_group(process)
    for path in spec.leftovers:
        path.unlink(missing_ok=True)
    store.close()


async def test_confirmed_events_survive_a_kill(folder: Path) -> None:
    spec = nats(folder)
    process = start(spec)
    url = nats_address(spec)
    bus = await EventBus.connect(url, name="test")
    await bus.publish(subject="fiveshot.events.v1.p.c.i.t", event_id="1", type="t", source="s", data=b"{}")
    processes.kill_group(process)
    await bus.close()
    process = start(spec)
    bus = await EventBus.connect(url, name="test")
    events = bus.subscribe("fiveshot.events.v1.>", after_sequence=0)
    assert (await anext(events)).id == "1"
    await bus.close()
    processes.kill_group(process)


def test_ports_are_free_and_different() -> None:
    ports = servers.free_ports(50)
    assert len(set(ports)) == 50
    assert all(port_is_free(port) for port in ports)


def test_no_two_processes_get_one_port() -> None:
    script = (
        "import signal; from gateway.supervisor.servers import free_ports;"
        " print(*free_ports(300), flush=True); signal.pause()"
    )
    with ExitStack() as asking:
        argv = [sys.executable, "-c", script]
        three = [asking.enter_context(processes.child(argv, stdout=subprocess.PIPE)) for _ in range(3)]
        pipes = [asking.enter_context(each.stdout) for each in three if each.stdout]
        given = [port for pipe in pipes for port in pipe.readline().split()]
    assert (len(given), len(set(given))) == (900, 900)


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVESHOT_BINARY_NATS_SERVER", "/nowhere/nats-server")
    with pytest.raises(FileNotFoundError, match="fiveshot\\[embedded\\]"):
        servers.binary("nats-server")


def test_a_program_of_the_operator_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "my-weed"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("FIVESHOT_BINARY_WEED", str(own))
    assert servers.binary("weed") == own


def test_a_nearly_full_disk_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = [2**30 - 1]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=100 * 2**30, free=free[0]))
    with pytest.raises(servers.DiskFullError, match=r"1023 MiB free, .* 1024 MiB are"):
        servers.check_room(tmp_path / "not" / "yet")
    free[0] += 1
    servers.check_room(tmp_path)


def test_the_number_of_buckets_does_not_depend_on_the_free_space(folder: Path) -> None:
    spec = seaweedfs(folder)
    process = start(spec)
    try:
        folder_of_pair = folder / "certificates"
        pair = Certificates(*(folder_of_pair / f"{name}.pem" for name in ("authority", "certificate", "key")))
        # max_volume_count of master_pb.DiskInfo, field 3, as a varint of two bytes.
        most = bytes((3 << 3, servers.MAX_VOLUMES & 0x7F | 0x80, servers.MAX_VOLUMES >> 7))
        assert most in servers.seaweedfs_volumes(spec.ports, pair)
    finally:
        processes.kill_group(process)
