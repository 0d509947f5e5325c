"""What `/healthz` says: which services are well, and what those that are not lack."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.needs import NEED

_ANSWER_S = 1.0
# Whoever asks more often gets the same answer: probes must not cost the services anything.
_KEPT_S = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class ServiceHealth:
    """One service. status: SERVING, NOT_SERVING or UNREACHABLE. away: what it lacks, `object store: …`; one that serves
    can do without that for a while."""

    status: str
    away: tuple[str, ...] = ()


class StackHealth:
    """Asks the services for their health. targets: host:port by name; several with commas, then all are asked."""

    def __init__(self, targets: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._targets = targets
        self._clock = clock
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._asking = asyncio.Lock()
        self._last: tuple[float, dict[str, ServiceHealth]] | None = None

    async def services(self) -> dict[str, ServiceHealth]:
        """The health of each service, at most a second old."""
        async with self._asking:
            if self._last is None or self._clock() - self._last[0] >= _KEPT_S:
                found = await asyncio.gather(*(self._service(targets) for targets in self._targets.values()))
                self._last = (self._clock(), dict(zip(self._targets, found, strict=True)))
            return self._last[1]

    async def close(self) -> None:
        """Closes the connections."""
        await asyncio.gather(*(channel.close(None) for channel in self._channels.values()))

    async def _service(self, targets: str) -> ServiceHealth:
        found = await asyncio.gather(*(self._replica(target) for target in targets.split(",")))
        return min(found, key=lambda each: (each.status == "SERVING", not each.away))

    async def _replica(self, target: str) -> ServiceHealth:
        if target not in self._channels:
            # A service that was away is asked again at once, not after the library's growing pauses.
            options = (("grpc.max_reconnect_backoff_ms", 1000),)
            self._channels[target] = grpc.aio.insecure_channel(target, options=options)
        stub = health_pb2_grpc.HealthStub(self._channels[target])
        try:
            listed = await stub.List(health_pb2.HealthListRequest(), timeout=_ANSWER_S)
        except grpc.aio.AioRpcError:
            return ServiceHealth("UNREACHABLE")
        status = "SERVING" if listed.statuses[""].status == _SERVING else "NOT_SERVING"
        away = (name for name, each in listed.statuses.items() if name.startswith(NEED) and each.status != _SERVING)
        return ServiceHealth(status, tuple(sorted(name.removeprefix(NEED) for name in away)))


def document(services: Mapping[str, ServiceHealth]) -> tuple[int, str]:
    """HTTP status and JSON body: 200 once all services are well, otherwise 503."""
    well = all(each.status == "SERVING" for each in services.values())
    listed = {
        name: {"status": each.status, **({"away": list(each.away)} if each.away else {})}
        for name, each in services.items()
    }
    body = {"status": "SERVING" if well else "NOT_SERVING", "services": listed}
    return (200 if well else 503), json.dumps(body)
