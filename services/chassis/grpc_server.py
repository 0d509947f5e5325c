"""The server of every service: health, reflection, metrics, readiness, background work and a graceful end."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.chassis import telemetry
from services.chassis.errors import DomainError
from services.chassis.grpc_client import MIB
from services.chassis.interceptors import server_interceptors
from services.chassis.logging import get_logger
from services.chassis.settings import BaseServiceSettings, split_host_port
from services.chassis.waiting import until_available

log = get_logger(__name__)

Register = Callable[[grpc.aio.Server], None]
Task = Callable[[], Awaitable[None]]

SERVING = health_pb2.HealthCheckResponse.SERVING
_CANCEL_AGAIN_S = 0.2


@dataclass(frozen=True)
class RunningServer:
    """A server that listens. `failed` is done once a background task has crashed; it then carries its exception."""

    server: grpc.aio.Server
    host: str
    port: int
    metrics_port: int | None
    failed: asyncio.Future[None]

    @property
    def target(self) -> str:
        """What a channel takes: `127.0.0.1:41234`."""
        return f"{self.host}:{self.port}"


@asynccontextmanager
async def start_server(
    settings: BaseServiceSettings,
    register: Register,
    *,
    service_names: Sequence[str],
    reflected: Sequence[str] = (),
    ready: Task | None = None,
    background: Sequence[Task] = (),
) -> AsyncIterator[RunningServer]:
    """Serves inside the block and drains at its end.

    register: adds the servicers. service_names: their full names, for health and reflection. reflected: services
    of other processes that this one describes as well. ready: awaited before the port is bound.
    background: run beside the server until its end; one that raises resolves `RunningServer.failed`.
    """
    # Nothing listens before the service is ready: a caller waits for the port instead of meeting half a service.
    if ready is not None:
        await ready()
    server = grpc.aio.server(interceptors=server_interceptors(settings), options=_options(settings))
    register(server)
    health_servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    described = (*service_names, *reflected, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(described, server)
    for name in ("", *service_names):
        await health_servicer.set(name, SERVING)

    host, wanted_port = split_host_port(settings.listen)
    port = _bind(server, host, wanted_port)
    metrics = telemetry.MetricsEndpoint(settings.metrics_listen) if settings.metrics_listen else None
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: list[asyncio.Task[None]] = []
    await server.start()
    try:
        tasks += [asyncio.create_task(_watched(task, failed)) for task in background]
        if settings.port_file is not None:
            _write_port(settings.port_file, port)
        log.info("server_listening", host=host, port=port, services=list(service_names))
        yield RunningServer(server, host, port, metrics.port if metrics else None, failed)
    finally:
        await health_servicer.enter_graceful_shutdown()
        await server.stop(settings.shutdown_grace_s)
        await _cancelled(tasks)
        failed.cancel()
        if metrics is not None:
            metrics.close()
        log.info("server_stopped", port=port)


async def serve(
    settings: BaseServiceSettings,
    register: Register,
    *,
    service_names: Sequence[str],
    reflected: Sequence[str] = (),
    ready: Task | None = None,
    background: Sequence[Task] = (),
) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code.

    0 after a signal; 1 when the service could not start (a server that it needs stayed away for a minute, the port is
    taken) or when a background task crashed. The reason is in the log.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    try:
        if ready is not None and not await _prepared(ready, stopping):
            return 0
        serving = start_server(
            settings, register, service_names=service_names, reflected=reflected, background=background
        )
        async with serving as running:
            await asyncio.wait((stopping, running.failed), return_when=asyncio.FIRST_COMPLETED)
            crashed = running.failed.done()
            log.info("server_draining", grace_s=settings.shutdown_grace_s, crashed=crashed)
        return 1 if crashed else 0
    except (DomainError, OSError) as error:
        log.error("start_failed", error=str(error))
        return 1
    finally:
        stopping.cancel()


def run(main: Callable[[], Awaitable[int]]) -> NoReturn:
    """Runs an async main and exits with its code; the whole body of `def main()` in an app.py."""

    async def body() -> int:
        return await main()

    code = asyncio.run(body())
    # At its end Python searches all objects for garbage, which takes over a second with torch. What lives now needs no
    # search, for the process ends; handlers of the exit still run.
    gc.freeze()
    sys.exit(code)


async def _prepared(ready: Task, stopping: asyncio.Task[bool]) -> bool:
    """Runs `ready`, patient with servers that are not up yet; False when the process is told to stop meanwhile."""
    waiting = asyncio.create_task(until_available(ready))
    await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        return False
    await waiting
    return True


async def _watched(task: Task, failed: asyncio.Future[None]) -> None:
    try:
        await task()
    except Exception as error:
        log.error("background_task_crashed", task=getattr(task, "__qualname__", repr(task)), exc_info=error)
        if not failed.done():
            failed.set_exception(error)
            # Marks the exception as seen: `serve` reads only whether the future is done.
            failed.exception()


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Ends the tasks. Asks again, because a library may swallow a cancellation: nats-py does while it flushes."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


def _bind(server: grpc.aio.Server, host: str, wanted_port: int) -> int:
    address = f"[{host}]:{wanted_port}" if ":" in host else f"{host}:{wanted_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: the address is in use or not of this machine") from error
    return int(port)


def _write_port(path: Path, port: int) -> None:
    # Written beside and renamed, so that a reader never sees half a number.
    partial = path.with_name(path.name + ".partial")
    partial.write_text(f"{port}\n", encoding="ascii")
    partial.replace(path)


def _options(settings: BaseServiceSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_receive_mb * MIB),
        # Over 1,000 pending calls the default answers a burst with a bare CANCELLED.
        ("grpc.server.max_pending_requests", 100_000),
        ("grpc.server.max_pending_requests_hard_limit", 200_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Two processes on one port would share its calls between them without a word.
        ("grpc.so_reuseport", 0),
    ]
