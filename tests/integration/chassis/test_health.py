"""Health follows the servers that a service needs, and a service whose server is not there at start ends after a while.

The services are real processes; PostgreSQL and SeaweedFS are stopped and started beneath them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.stack_health import StackHealth
from gateway.supervisor import servers
from gateway.supervisor.servers import ServerSpec
from services.chassis.grpc_server import LIVENESS, STARTUP
from tests.fixtures import processes
from tests.fixtures.patience import until, within
from tests.fixtures.postgres import USER, prepared_postgres

KEYS = ("health-key", "health-secret-0123456789")
SERVICES = {
    "dataset": "fiveshot.dataset.v1.DatasetService",
    "tagger": "fiveshot.tagger.v1.TaggerService",
    "trainer": "fiveshot.trainer.v1.TrainingService",
    "registry": "fiveshot.registry.v1.RegistryService",
    "notifier": "fiveshot.notifier.v1.NotifierService",
}
WITH_STORE = [name for name in SERVICES if name not in ("tagger", "notifier")]
Status = health_pb2.HealthCheckResponse


class Server:
    """A server that the test stops and starts again, on the same ports and data."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.spec.data_dir.mkdir(parents=True, exist_ok=True)
        for path in self.spec.leftovers:
            path.unlink(missing_ok=True)
        with (self.spec.data_dir / f"{self.spec.name}.log").open("ab") as output:
            self.process = processes.start(self.spec, output.fileno())
        processes.wait_ready(self.spec, self.process)

    def stop(self) -> None:
        """Kills it."""
        if self.process is not None:
            processes.kill_group(self.process)
            self.process = None


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """A PostgreSQL of these tests' own, running. What it has confirmed must survive its death."""
    with prepared_postgres(durable=True) as spec:
        server = Server(spec)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def store(server_folder: Path) -> Iterator[Server]:
    """A SeaweedFS of these tests' own, running."""
    folder = server_folder / f"s3-{uuid.uuid4().hex[:8]}"
    server = Server(servers.seaweedfs(folder, access_key=KEYS[0], secret_key=KEYS[1]))
    server.start()
    yield server
    server.stop()


def environment(name: str, folder: Path, database_url: str, store: Server | None, **more: str) -> dict[str, str]:
    """The variables of one service."""
    endpoint = f"{servers.HOST}:{store.spec.ports['s3']}" if store else "127.0.0.1:1"
    s3 = {"S3_ENDPOINT": endpoint, "S3_ACCESS_KEY": KEYS[0], "S3_SECRET_KEY": KEYS[1], "S3_BUCKET": f"health-{name}"}
    own = {
        "DATABASE_URL": database_url,
        "PORT_FILE": str(folder / f"{name}.port"),
        **(s3 if name in WITH_STORE else {}),
        **more,
    }
    return {**os.environ, **{f"{name.upper()}_{key}": value for key, value in own.items()}}


def program(name: str) -> list[str]:
    """The command of one service; its log is on stderr."""
    return [sys.executable, "-m", f"services.{name}.app"]


@asynccontextmanager
async def watched(name: str, folder: Path, variables: dict[str, str]) -> AsyncIterator[AsyncIterator[str]]:
    """Every change of the health of a running service, from its first SERVING on."""
    port_file = folder / f"{name}.port"
    async with processes.async_child(program(name), env=variables) as process:
        await processes.listening(process, port_file)
        assert process.stderr is not None
        # A full pipe would stop the service.
        drain = asyncio.create_task(process.stderr.read())
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port_file.read_text().strip()}") as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                call = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICES[name]))

                async def changes() -> AsyncIterator[str]:
                    async for answer in call:
                        yield str(Status.ServingStatus.Name(answer.status))

                yield changes()
                for lasting in (STARTUP, LIVENESS):
                    alive = await stub.Check(health_pb2.HealthCheckRequest(service=lasting))
                    assert alive.status == Status.SERVING
                call.cancel()
            process.terminate()
            async with within():
                assert await process.wait() == 0
        except grpc.aio.AioRpcError:
            # The service has ended by itself; its log says why.
            async with within():
                print((await drain).decode(errors="replace")[-5000:])
            raise
        finally:
            drain.cancel()


async def becomes(changes: AsyncIterator[str], wanted: str) -> None:
    """The next change of health is to `wanted`."""
    async with within():
        assert await anext(changes) == wanted


async def away(name: str, folder: Path) -> tuple[str, ...]:
    """What the gateway would say that the service lacks."""
    health = StackHealth({name: f"127.0.0.1:{(folder / f'{name}.port').read_text().strip()}"})
    found = (await health.services())[name]
    await health.close()
    assert found.status == "NOT_SERVING"
    return found.away


def new_database(server: Server, name: str) -> str:
    """An empty database as an SQLAlchemy URL."""
    with psycopg.connect(host=str(server.spec.data_dir), user=USER, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://{USER}@/{name}?host={server.spec.data_dir}"


@pytest.mark.parametrize("name", SERVICES)
async def test_health_goes_with_what_the_service_needs_and_comes_back_with_it(
    name: str, database: Server, store: Server, tmp_path: Path
) -> None:
    needed = {"database": database} | ({"object store": store} if name in WITH_STORE else {})
    variables = environment(name, tmp_path, new_database(database, name), store)
    async with watched(name, tmp_path, variables) as changes:
        await becomes(changes, "SERVING")
        for what, server in needed.items():
            await asyncio.to_thread(server.stop)
            await becomes(changes, "NOT_SERVING")
            assert [each.partition(":")[0] for each in await away(name, tmp_path)] == [what]
            await asyncio.to_thread(server.start)
            await becomes(changes, "SERVING")


async def test_the_trainer_serves_without_its_event_bus_and_says_so(store: Server, tmp_path: Path) -> None:
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'trainer.db'}"
    variables = environment("trainer", tmp_path, database_url, store, NATS_URL="nats://127.0.0.1:1")
    async with watched("trainer", tmp_path, variables) as changes:
        await becomes(changes, "SERVING")
        health = StackHealth({"trainer": f"127.0.0.1:{(tmp_path / 'trainer.port').read_text().strip()}"})

        async def told() -> bool:
            found = (await health.services())["trainer"]
            return (found.status, found.away) == ("SERVING", ("event bus: EVENT_BUS_UNAVAILABLE",))

        await until(told, what="the bus to be missed")
        await health.close()


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_without_its_database_waits_and_then_ends(name: str, tmp_path: Path) -> None:
    nowhere = f"postgresql+psycopg://{USER}@/nothing?host={tmp_path}"
    variables = environment(name, tmp_path, nowhere, None, START_PATIENCE_S="1")
    ended = await processes.finished_async(program(name), env=variables)
    events = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    assert ended.returncode == 1, ended.stderr
    waited = [line for line in events if line["event"] == "waiting_for_server"]
    assert {(line["what"], line["reason"]) for line in waited} == {("database", "DATABASE_UNAVAILABLE")}
    assert events[-1]["event"] == "start_failed"
    assert "Traceback" not in ended.stderr
