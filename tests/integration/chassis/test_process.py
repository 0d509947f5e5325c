"""The life of a service process: it waits for what it needs, tells where it listens, drains, and fails loudly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.type_pb2 import EnumValue
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from gateway.supervisor import certificates
from services.chassis.grpc_client import channel
from tests.fixtures import processes
from tests.fixtures.otlp_receiver import receiver
from tests.fixtures.patience import scaled, within
from tests.fixtures.processes import async_child
from tests.integration.chassis.echo_service import EchoStub

PROGRAM = """
import asyncio, os, sys
from services.chassis.errors import FailedPrecondition, Unavailable
from services.chassis.needs import Need
from services.chassis.service import Service, run
from services.chassis.setting_loading import WrongSetting
from services.chassis.settings import BaseServiceSettings
from tests.integration.chassis.echo_service import NAME, Echo

async def work():
    if "crash" not in sys.argv:
        await asyncio.Event().wait()
    raise RuntimeError("the worker fell over")

async def ready():
    if "wait" in sys.argv and not os.path.exists(sys.argv[2]):
        raise Unavailable("The database does not answer", reason="DATABASE_UNAVAILABLE")
    if "refuse" in sys.argv:
        raise FailedPrecondition("The database is newer than this program")

async def closed():
    pass

def build(settings):
    if "blame" in sys.argv:
        raise WrongSetting("otlp_endpoint", "nobody listens there")
    need = Need("database", ready, ready, closed)
    return Service(register=Echo().register, names=[NAME], needs=[need], background=[work])

run("echo", BaseServiceSettings, build, arguments=[])
"""


Launch = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Starts the program as a process of its own; its log is on stderr."""
    async with AsyncExitStack() as stack:

        async def start(port_file: Path, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
            variables = {**os.environ, "FIVESHOT_PORT_FILE": str(port_file), **environ}
            return await stack.enter_async_context(
                async_child([sys.executable, "-c", PROGRAM, *arguments], env=variables)
            )

        yield start


async def listening(process: asyncio.subprocess.Process, port_file: Path) -> str:
    """Waits for the process to serve; the target of a channel to it."""
    await processes.listening(process, port_file)
    return f"127.0.0.1:{port_file.read_text().strip()}"


async def heard(process: asyncio.subprocess.Process, event: str) -> None:
    """Waits until the process logs an event; what it logged until then is read away."""
    assert process.stderr is not None
    async with within():
        while line := await process.stderr.readline():
            if line.startswith(b"{") and json.loads(line)["event"] == event:
                return
    raise AssertionError(f"the process ended without {event}")


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, list[dict[str, Any]]]:
    """Waits for the end of the process; its exit code and its log."""
    async with within():
        _, log = await process.communicate()
    return process.returncode, [json.loads(line) for line in log.decode().splitlines() if line.startswith("{")]


def events(log: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in log]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_calls_finish(launch: Launch, tmp_path: Path, number: signal.Signals) -> None:
    process = await launch(tmp_path / "port")
    async with channel(await listening(process, tmp_path / "port")) as connection:
        taken = asyncio.Event()

        async def slow() -> AsyncIterator[EnumValue]:
            yield EnumValue(number=1)
            await taken.wait()  # the server answers the first message: it holds the call when the signal comes
            process.send_signal(number)
            await heard(process, "server_draining")
            yield EnumValue(number=2)

        answers = []
        async for answer in EchoStub(connection).both(slow()):
            answers.append(answer.number)
            taken.set()
        assert answers == [2, 3]
    code, log = await ended(process)
    assert code == 0
    assert events(log)[-1:] == ["server_stopped"]


async def test_a_background_task_that_crashes_ends_the_process(launch: Launch, tmp_path: Path) -> None:
    code, log = await ended(await launch(tmp_path / "port", "crash"))
    assert code == 1
    crash = next(line for line in log if line["event"] == "background_task_crashed")
    assert crash["exception"][0]["exc_value"] == "the worker fell over"


async def test_a_service_waits_for_what_it_needs(launch: Launch, tmp_path: Path) -> None:
    process = await launch(tmp_path / "port", "wait", str(tmp_path / "database"))
    await heard(process, "waiting_for_server")
    assert not (tmp_path / "port").exists()
    (tmp_path / "database").touch()
    async with channel(await listening(process, tmp_path / "port")) as connection:
        assert (await EchoStub(connection).unary(EnumValue())).number == 1
    process.terminate()
    code, log = await ended(process)
    assert code == 0
    assert events(log)[-3:] == ["server_listening", "server_draining", "server_stopped"]


async def test_a_service_that_waits_can_be_stopped(launch: Launch, tmp_path: Path) -> None:
    process = await launch(tmp_path / "port", "wait", str(tmp_path / "database"))
    await heard(process, "waiting_for_server")
    process.terminate()
    code, log = await ended(process)
    assert code == 0
    assert "server_listening" not in events(log)


async def test_a_start_that_cannot_work_is_one_plain_line(launch: Launch, tmp_path: Path) -> None:
    code, log = await ended(await launch(tmp_path / "port", "refuse"))
    assert code == 1
    assert [(line["event"], line["error"]) for line in log] == [
        ("start_failed", "The database is newer than this program")
    ]


async def test_a_server_that_stays_away_ends_the_start(launch: Launch, tmp_path: Path) -> None:
    nothing = str(tmp_path / "database")
    process = await launch(tmp_path / "port", "wait", nothing, FIVESHOT_START_PATIENCE_S="0.5")
    code, log = await ended(process)
    assert code == 1
    assert events(log)[0] == "waiting_for_server"
    assert events(log)[-1] == "start_failed"
    assert log[-1]["error"] == "The database does not answer"
    assert not (tmp_path / "port").exists()


async def test_a_setting_that_is_wrong_in_use_is_told_like_any_other(launch: Launch, tmp_path: Path) -> None:
    process = await launch(tmp_path / "port", "blame")
    async with within():
        _, output = await process.communicate()
    assert process.returncode == 2
    assert output.decode().splitlines() == [
        "The settings are wrong:",
        "  FIVESHOT_OTLP_ENDPOINT: nobody listens there",
    ]


async def test_wrong_settings_end_the_process_before_it_starts(launch: Launch, tmp_path: Path) -> None:
    process = await launch(tmp_path / "port", FIVESHOT_LISTEN="here", FIVESHOT_LISTN="x")
    async with within():
        _, output = await process.communicate()
    assert process.returncode == 2
    assert output.decode().splitlines()[1:] == [
        "  FIVESHOT_LISTN: no such setting. Did you mean FIVESHOT_LISTEN?",
        "  FIVESHOT_LISTEN: 'here' is not host:port, for example 127.0.0.1:8080",
    ]


@pytest.mark.parametrize("name", ["FIVESHOT_LISTEN", "FIVESHOT_METRICS_LISTEN"])
async def test_an_address_of_another_machine_is_told_before_anything_is_waited_for(
    launch: Launch, tmp_path: Path, name: str
) -> None:
    process = await launch(tmp_path / "port", "wait", str(tmp_path / "database"), **{name: "203.0.113.9:7000"})
    async with within():
        _, output = await process.communicate()
    assert process.returncode == 2
    assert output.decode().splitlines() == [
        "The settings are wrong:",
        f"  {name}: 203.0.113.9:7000 is no address of this machine; 0.0.0.0 stands for all that it has",
    ]


@pytest.mark.parametrize("name", ["FIVESHOT_LISTEN", "FIVESHOT_METRICS_LISTEN"])
async def test_a_port_that_is_taken_is_told_with_its_setting(launch: Launch, tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, log = await ended(await launch(tmp_path / "port", **{name: where}))
    assert code == 1
    assert [line["error"] for line in log] == [f"Nothing can listen on {where} of {name}: the port is taken"]


async def test_metrics_are_served(launch: Launch, tmp_path: Path, free_port: int) -> None:
    process = await launch(tmp_path / "port", FIVESHOT_METRICS_LISTEN=f"127.0.0.1:{free_port}")
    async with channel(await listening(process, tmp_path / "port")) as connection:
        await EchoStub(connection).unary(EnumValue())
    page = await asyncio.to_thread(fetch, f"http://127.0.0.1:{free_port}/metrics")
    assert 'fiveshot_grpc_calls_total{code="OK",method="/test.Echo/Unary"} 1.0' in page
    process.terminate()
    assert (await ended(process))[0] == 0


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=scaled(30)) as answer:
        return str(answer.read().decode())


async def test_spans_reach_the_collector_at_the_latest_when_the_process_ends(launch: Launch, tmp_path: Path) -> None:
    """Over TLS, by the certificate and with the headers of the settings; health and reflection are no part of it."""
    pair = certificates.make(tmp_path / "tls", "127.0.0.1")
    key, certificate, authority = (file.read_bytes() for file in (pair.key, pair.certificate, pair.authority))
    with receiver(grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)) as collector:
        process = await launch(
            tmp_path / "port",
            FIVESHOT_OTLP_ENDPOINT=collector.target,
            FIVESHOT_OTLP_SECURE="true",
            FIVESHOT_OTLP_CA_FILE=str(pair.authority),
            FIVESHOT_OTLP_CERT_FILE=str(pair.certificate),
            FIVESHOT_OTLP_KEY_FILE=str(pair.key),
            FIVESHOT_OTLP_HEADERS="X-Tenant=cats",
            FIVESHOT_TRACE_SHARE="0",
        )
        async with channel(await listening(process, tmp_path / "port")) as connection:
            for flags in ("01", "00"):
                await EchoStub(connection).unary(
                    EnumValue(), metadata=(("traceparent", f"00-{'ab' * 15}{flags}-{'cd' * 8}-{flags}"),)
                )
            await EchoStub(connection).unary(EnumValue())
            await HealthStub(connection).Check(
                HealthCheckRequest(), metadata=(("traceparent", f"00-{'ab' * 15}01-{'cd' * 8}-01"),)
            )
        process.terminate()
        assert (await ended(process))[0] == 0
    assert [(span.service, span.name, span.trace) for span in collector.spans] == [
        ("echo", "/test.Echo/Unary", "ab" * 15 + "01")
    ]
    assert [headers["x-tenant"] for headers in collector.headers] == ["cats"]


async def test_a_collector_that_is_away_holds_up_nobodys_end(launch: Launch, tmp_path: Path, free_port: int) -> None:
    process = await launch(tmp_path / "port", FIVESHOT_OTLP_ENDPOINT=f"127.0.0.1:{free_port}")
    async with channel(await listening(process, tmp_path / "port")) as connection:
        await EchoStub(connection).unary(EnumValue())
    process.terminate()
    assert (await ended(process))[0] == 0


async def test_wrong_settings_of_traces_are_told_by_their_variables(launch: Launch, tmp_path: Path) -> None:
    process = await launch(
        tmp_path / "port",
        FIVESHOT_OTLP_ENDPOINT="https://collector:4317",
        FIVESHOT_OTLP_CA_FILE=str(tmp_path / "ca.pem"),
        FIVESHOT_OTLP_HEADERS="token: secret-value",
        FIVESHOT_TRACE_SHARE="2",
    )
    async with within():
        _, output = await process.communicate()
    assert process.returncode == 2
    assert sorted(output.decode().splitlines()[1:]) == [
        f"  FIVESHOT_OTLP_CA_FILE: {tmp_path / 'ca.pem'}: No such file or directory",
        "  FIVESHOT_OTLP_ENDPOINT: give host:port without a scheme or a path; otlp_secure chooses TLS",
        "  FIVESHOT_OTLP_HEADERS: header 1 is not name=value",
        "  FIVESHOT_TRACE_SHARE: Input should be less than or equal to 1",
    ]
