"""Another user of the machine gets nothing of a stack: no file, no socket, and from no port more than a refusal."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from fiveshot.dataset.v1.dataset_service_pb2 import ListDatasetsRequest

from gateway import inside
from gateway.cli import output
from tests.fakes import pictures
from tests.fixtures.patience import scaled, until
from tests.fixtures.processes import finished
from tests.fixtures.running_stack import PARENT, RunningStack

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="run the tests as root, who can become another user")


@pytest.fixture(scope="module")
def tried(filled_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `nobody` got. The folder's own parents stand open, so that only its modes are in the way."""
    asyncio.run(_upload(filled_stack))
    ports = {
        f"{name}.{purpose}": port
        for name, child in filled_stack.state.children.items()
        for purpose, port in child.ports.items()
    }
    known = set(ports.values())
    sockets = [str(path) for path in Path("/tmp").glob("seaweedfs-*.sock") if _port(path) in known]
    inside = list(filled_stack.folder.path.rglob("*"))
    order = {
        "ports": ports,
        "paths": [str(filled_stack.folder.path), *(str(path) for path in inside if not path.is_socket())],
        "sockets": [*sockets, *(str(path) for path in inside if path.is_socket())],
    }
    assert filled_stack.folder.path.parent.stat().st_mode & 0o005 == 0o005
    assert len(sockets) == 5
    question = tmp_path_factory.mktemp("outsider") / "order.json"
    question.write_text(json.dumps(order))
    program = ["sh", "-c", f"exec {sys.executable} -m tests.fixtures.outsider < {question}"]
    done = finished(program)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"asked": order}


@needs_root
def test_no_file_and_no_socket_opens(tried: dict[str, Any]) -> None:
    assert len(tried["asked"]["paths"]) > 50
    assert tried["paths"] == []
    assert tried["sockets"] == []


@needs_root
def test_no_page_shows_anything(tried: dict[str, Any]) -> None:
    """SeaweedFS and Envoy over HTTP and HTTPS, on every port and the paths that would tell most."""
    answers = {name: [answer for answer in answers if answer] for name, answers in tried["pages"].items()}
    statuses = {name: {text.split()[1] for text in each if text.startswith("HTTP/")} for name, each in answers.items()}
    assert statuses["seaweedfs.s3"] == {"403"}
    assert statuses["seaweedfs.volume"] == {"401"}
    assert statuses["seaweedfs.filer"] == {"404"}
    assert statuses["seaweedfs.master"] == {"400"}
    assert statuses["seaweedfs.admin"] == {"400"}
    # The console's page is for everybody; what it shows comes with a cookie.
    assert statuses["envoy.listener"] == {"200", "401"}
    assert sum("\r\ncontent-security-policy:" in answer for answer in answers["envoy.listener"]) == 1
    everything = json.dumps(answers)
    for secret in ("0.png", "photos", "x-fiveshot-internal", "internal_token"):
        assert secret not in everything


@needs_root
def test_no_call_is_answered(tried: dict[str, Any]) -> None:
    calls = dict(tried["calls"])
    assert {calls.pop(name) for name in list(calls) if name.startswith("seaweedfs")} == {"UNAVAILABLE"}
    assert set(calls.values()) == {"UNAUTHENTICATED"}
    assert len(calls) == 7
    assert set(tried["forged"].values()) == {"UNAUTHENTICATED"}


@needs_root
def test_the_event_bus_lets_nobody_in(tried: dict[str, Any]) -> None:
    assert ["Authorization Violation" in answer for answer in tried["nats"]] == [True, True, True]


def test_everything_in_the_folder_is_for_its_owner_only(filled_stack: RunningStack) -> None:
    folder = filled_stack.folder.path
    found = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    assert len(found) > 50
    open_ones = {str(path): stat.filemode(path.stat().st_mode) for path in found if path.stat().st_mode & 0o077}
    # SeaweedFS sets the mode of these itself; they describe a volume, and their folder is closed.
    assert {path: mode for path, mode in open_ones.items() if not path.endswith(".vif")} == {}


def test_no_secret_stands_in_a_command_line(filled_stack: RunningStack) -> None:
    """Every user sees the command lines of all processes."""
    keys = filled_stack.folder.credentials()
    tokens = [path.read_text() for path in (filled_stack.folder.path / "credentials").glob("*/token")]
    assert len(tokens) == len(inside.HOLDERS)
    lines = finished(["ps", "-eo", "args"]).stdout
    for secret in (keys.s3_access_key, keys.s3_secret_key, keys.api_key, keys.nats_password, *tokens):
        assert secret not in lines


async def test_a_leaked_token_of_a_worker_opens_only_what_a_worker_needs(filled_stack: RunningStack) -> None:
    credentials = filled_stack.folder.path / "credentials"
    ports = {name: child.ports.get("grpc", 0) for name, child in filled_stack.state.children.items()}

    async def status(service: str, method: str, *, projects: str = "*") -> str:
        token = inside.token_file(credentials, "worker").read_text()
        metadata = (("x-fiveshot-internal", token), *((("x-fiveshot-projects", projects),) if projects else ()))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports[service]}") as channel:
            try:
                await channel.unary_unary(method, None, None)(b"", metadata=metadata, timeout=scaled(30))
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
        return "OK"

    dataset, trainer = "/fiveshot.dataset.v1.DatasetService/", "/fiveshot.trainer.v1.TrainingService/"
    assert await status("dataset", dataset + "ListDatasetVersionImages") == "INVALID_ARGUMENT"
    assert await status("dataset", dataset + "ListDatasetVersionImages", projects="") == "UNAUTHENTICATED"
    assert await status("dataset", dataset + "ListDatasets") == "PERMISSION_DENIED"
    assert await status("dataset", dataset + "DeleteDataset") == "PERMISSION_DENIED"
    assert await status("trainer", trainer + "ListTrainingJobs") == "PERMISSION_DENIED"
    assert await status("registry", "/fiveshot.registry.v1.RegistryService/ListModels") == "PERMISSION_DENIED"
    assert await status("notifier", "/fiveshot.notifier.v1.NotifierService/ListWebhooks") == "UNAUTHENTICATED"
    assert await status("authz", "/envoy.service.auth.v3.Authorization/Check") == "UNAUTHENTICATED"


async def test_the_gateways_token_is_replaced_while_calls_go_on(filled_stack: RunningStack) -> None:
    credentials = filled_stack.folder.path / "credentials"
    request = ListDatasetsRequest(parent=PARENT)
    async with filled_stack.caller() as caller:
        before = inside.token_file(credentials, "gateway").read_text()
        known = await caller.call(caller.dataset.ListDatasets, request)
        for _ in range(3):
            inside.rotate(credentials, "gateway")
            assert (await caller.call(caller.dataset.ListDatasets, request)).datasets == known.datasets
    assert inside.token_file(credentials, "gateway").read_text() != before


async def test_the_command_line_lets_a_consumer_in_and_out(filled_stack: RunningStack, tmp_path: Path) -> None:
    seed_file = tmp_path / "seed.nk"
    made = await asyncio.to_thread(
        filled_stack.command,
        "events",
        "credentials",
        "reader",
        "--for",
        "default",
        "--output",
        str(seed_file),
        "--json",
    )
    assert made.exit_code == 0, made.output
    assert seed_file.stat().st_mode & 0o077 == 0
    again = await asyncio.to_thread(filled_stack.command, "events", "credentials", "reader")
    assert "already exists" in again.stderr
    url = f"nats://127.0.0.1:{filled_stack.state.children['nats'].ports['nats']}"
    assert json.loads(made.stdout)["url"] == url
    client = await nats.connect(url, nkeys_seed=str(seed_file), allow_reconnect=False)
    assert (await client.jetstream().stream_info("FIVESHOT_EVENTS")).config.subjects == ["fiveshot.events.v1.default.>"]
    assert (await asyncio.to_thread(filled_stack.command, "events", "remove", "reader")).exit_code == 0
    await until(lambda: client.is_closed, what="the consumer to be put out")
    assert (await asyncio.to_thread(filled_stack.command, "events", "remove", "reader")).exit_code == output.NOT_FOUND


def _port(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


async def _upload(stack: RunningStack) -> None:
    """Bytes in the object store, so that there is something to steal."""
    async with stack.caller() as caller:
        await caller.upload(pictures.png(64, 64, seed=77), parent=f"{PARENT}/datasets/photos", file_name="77.png")
