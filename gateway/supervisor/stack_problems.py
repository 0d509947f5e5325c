"""What is wrong with a running stack: a process that is down, a service without what it needs, a full disk."""

from __future__ import annotations

import asyncio
import http.client

from gateway.settings import SERVICES
from gateway.stack_health import ServiceHealth, StackHealth
from gateway.supervisor import servers
from gateway.supervisor.folder import DataFolder, StackState
from gateway.supervisor.servers import HOST, DiskFullError

ANSWER_S = 2.0
"""Seconds that the gateway has to say anything at all."""


async def problems(folder: DataFolder, state: StackState) -> list[str]:
    """Everything that is wrong now; empty when all is well."""
    asked = [child for child in state.children.values() if child.name in SERVICES or child.state == "ready"]
    ports = {child.name: child.ports for child in asked}
    health = StackHealth({name: f"{HOST}:{own['grpc']}" for name, own in ports.items() if "grpc" in own})
    try:
        services = await health.services()
    finally:
        await health.close()
    found = [_sentence(name, each) for name, each in services.items() if each.status != "SERVING" or each.away]
    found += [
        f"{child.name} is {child.state}; see {child.log}"
        for child in state.children.values()
        if child.state != "ready" and child.name not in services
    ]
    envoy = state.children.get("envoy")
    if envoy and envoy.state == "ready" and not await asyncio.to_thread(_answers, state.server):
        found.append(f"envoy does not answer on {state.server}; see {envoy.log}")
    if "seaweedfs" in state.children:
        try:
            servers.check_room(folder.path)
        except DiskFullError as error:
            found.append(str(error))
    return found


def _answers(server: str) -> bool:
    """Whether the gateway says anything at all. It answers this request itself, whoever else is away."""
    connection = http.client.HTTPConnection(server, timeout=ANSWER_S)
    try:
        connection.request("OPTIONS", "*")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _sentence(name: str, health: ServiceHealth) -> str:
    if health.status == "UNREACHABLE":
        return f"{name} does not answer"
    if health.status == "SERVING":
        return f"{name} serves without {', '.join(health.away)}"
    return f"{name} is not well: {', '.join(health.away) or 'it is starting or stopping'}"
