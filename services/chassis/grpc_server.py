"""The server of every process: health, reflection, metrics, background work and a graceful end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.chassis import telemetry
from services.chassis.addresses import split_host_port
from services.chassis.audit.calls import Auditing
from services.chassis.further_checks import NONE, FurtherChecks
from services.chassis.grpc_client import MIB
from services.chassis.interceptors import server_interceptors
from services.chassis.internal_token import InternalTokenInterceptor
from services.chassis.listening import bind, cannot_listen
from services.chassis.logging import get_logger
from services.chassis.needs import NEED, Need, Task, follow
from services.chassis.settings import BaseServiceSettings
from services.chassis.signals import Ending, Interrupted, unless

log = get_logger(__name__)

Register = Callable[[grpc.aio.Server], None]

STARTUP = "startup"
"""The name under which health says that everything is prepared, from then to the end of the process. What goes away in
its first minute makes it not ready; nobody must restart it for that, as they would if readiness were asked instead."""

LIVENESS = "liveness"
"""The name under which health says only that the process lives. A process whose database is away must not be restarted
for it: that helps nobody, and ends the calls that need no database."""

NEED_UP = telemetry.gauge(
    "fiveshot_need_up", "Whether a server that the process needs answers: 1, or 0 while it is away.", ("need",)
)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_AHEAD_BYTES = 256 * 1024
_CANCEL_AGAIN_S = 0.2
_CONNECTION_AGE_MS = 10 * 60_000
_REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


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
    needs: Sequence[Need] = (),
    background: Sequence[Task] = (),
    bare: bool = False,
    audit: Auditing | None = None,
    often: Collection[str] = (),
    further: FurtherChecks = NONE,
) -> AsyncIterator[RunningServer]:
    """Serves inside the block and drains at its end.

    register: adds the servicers. service_names: their full names, for health and reflection. reflected: services
    that this one describes instead of its own. needs: health says NOT_SERVING while one of them is away.
    background: run beside the server until its end; one that raises resolves `RunningServer.failed`. At the end each
    is cancelled once and has `settings.shutdown_grace_s` to tidy up. bare: nothing but the internal token is checked
    before the servicer, for one that answers in microseconds and never fails. audit: records the calls; not of a bare
    server. often: unary methods that processes of the suite alone call, hundreds of times a second; they have no span.
    further: what else a refusal names.
    """
    ending = Ending()
    interceptors = (
        [InternalTokenInterceptor(settings)]
        if bare
        else server_interceptors(settings, audit, ending, often=often, further=further)
    )
    server = grpc.aio.server(interceptors=interceptors, options=_options(settings))
    register(server)
    health_servicer = _Health()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    _describe(server, reflected or service_names)
    names = ("", *service_names)
    for name in (*names, STARTUP, LIVENESS):
        await health_servicer.set(name, _SERVING)

    told: set[str] = set()

    for need in needs:
        NEED_UP.labels(need.name).set(1)

    async def tell_health(away: Mapping[str, str]) -> None:
        for need in needs:
            NEED_UP.labels(need.name).set(need.name not in away)
        vital = {need.name for need in needs if need.vital}
        for name in names:
            await health_servicer.set(name, _SERVING if vital.isdisjoint(away) else _NOT_SERVING)
        # Beside them what is away, for whoever lists them: health itself has no room for a reason.
        wrong = {f"{NEED}{name}: {reason}" for name, reason in away.items()}
        told.update(wrong)
        for name in told:
            await health_servicer.set(name, _NOT_SERVING if name in wrong else _SERVING)

    host, _ = split_host_port(settings.listen)
    port = bind(server, settings)
    try:
        metrics = telemetry.MetricsEndpoint(settings.metrics_listen) if settings.metrics_listen else None
    except OSError as error:
        raise cannot_listen(settings, "metrics_listen", error) from error
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: list[asyncio.Task[None]] = []
    await server.start()
    try:
        tasks.append(asyncio.create_task(_watched(lambda: follow(needs, tell_health), failed)))
        tasks += [asyncio.create_task(_watched(task, failed)) for task in background]
        if settings.port_file is not None:
            _write_port(settings.port_file, port)
        log.info("server_listening", host=host, port=port, services=list(service_names))
        yield RunningServer(server, host, port, metrics.port if metrics else None, failed)
    finally:
        await health_servicer.enter_graceful_shutdown()
        # A call that is on its way when a server stops is cancelled without having begun, and nobody can see that it
        # has not. So those who send them hear of it first.
        await asyncio.sleep(settings.shutdown_notice_s)
        # Those who only wait for news would otherwise take up the whole grace.
        ending.begin()
        health_servicer.end_watches()
        # Beside each other, because together they have no more time than one of them.
        grace_s = settings.shutdown_grace_s
        await asyncio.gather(server.stop(grace_s), _cancelled(tasks, grace_s))
        failed.cancel()
        if metrics is not None:
            metrics.close()
        log.info("server_stopped", port=port)


def _describe(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Reflection under its present name and the one before; messages and bytes are the same."""
    names = (*services, health.SERVICE_NAME, *_REFLECTION)
    servicer = reflection.aio.ReflectionServicer(service_names=names)  # type: ignore[attr-defined]
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in _REFLECTION:
        method = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, method),))


class _Health(health.aio.HealthServicer):  # type: ignore[misc, name-defined]
    """The library's, with the method of the protocol that it lacks, and watches that do not hold up the end."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    def end_watches(self) -> None:
        """Ends all who follow the health; they have heard the last of it."""
        self._ended.set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """The health of one name until the server ends."""
        with suppress(Interrupted):
            await unless(self._ended, super().Watch(request, context))

    async def List(  # noqa: N802  (the name of the protocol)
        self, request: health_pb2.HealthListRequest, context: object
    ) -> health_pb2.HealthListResponse:
        """The health of every name."""
        statuses = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._server_status.items()}
        return health_pb2.HealthListResponse(statuses=statuses)


async def _watched(task: Task, failed: asyncio.Future[None]) -> None:
    try:
        await task()
    except Exception as error:
        log.error("background_task_crashed", task=getattr(task, "__qualname__", repr(task)), exc_info=error)
        if not failed.done():
            failed.set_exception(error)
            # Marks the exception as seen: `serve` reads only whether the future is done.
            failed.exception()


async def _cancelled(tasks: Sequence[asyncio.Task[None]], grace_s: float) -> None:
    """Ends the tasks: cancels them once, and waits while they tidy up, as a worker does that gives its job back.

    One that is not done after the grace is cancelled again and again: it has swallowed the cancellation, or it waits
    for a server that is away.
    """
    for task in tasks:
        task.cancel()
    pending = set(tasks)
    wait_s = grace_s
    while pending:
        _, pending = await asyncio.wait(pending, timeout=wait_s)
        for task in pending:
            log.warning("background_task_cancelled_again", task=task.get_name())
            task.cancel()
        wait_s = _CANCEL_AGAIN_S


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
        # A fast stream may send megabytes ahead of its reader; with hundreds of uploads that is all memory.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _AHEAD_BYTES),
        # The gateway's limit is below; the library's own, 8 KiB, refuses without a reason.
        ("grpc.max_metadata_size", 128 * 1024),
        ("grpc.absolute_max_metadata_size", 256 * 1024),
        # When a connection ends, clients look the name up again and find new replicas. Calls that run go on.
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # A connection is given up when both have passed.
        ("grpc.http2.ping_timeout_ms", 20_000),
        # The gateway asks more often than anybody else, every five seconds.
        ("grpc.http2.min_ping_interval_without_data_ms", 2_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Two processes on one port would share its calls between them without a word.
        ("grpc.so_reuseport", 0),
    ]
