"""What a caller and `fiveshot status` hear while a part of the gateway, or a service behind it, is away."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fiveshot import errors
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub

from gateway import envoy_config
from gateway.settings import Settings
from gateway.supervisor import servers, stack_problems
from gateway.supervisor.folder import ChildState, DataFolder, StackState
from tests.fixtures.processes import running
from tests.integration.gateway.conftest import Gateway

MODELS = registry_service_pb2.ListModelsRequest(parent="projects/acme")


async def failure(target: str, key: str) -> errors.FiveshotError:
    """What the Python client would raise of a call to the registry."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = RegistryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListModels(MODELS, metadata=(("x-api-key", key),))
    return errors.from_rpc_error(caught.value)


async def test_a_service_that_is_away_is_named(gateway: Gateway) -> None:
    told = await failure(gateway.target, gateway.key)
    assert (told.reason, told.message) == ("GATEWAY_HTTP_503", "The registry service is not there")
    headers = {"x-api-key": gateway.key}
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}", headers=headers) as http:
        for path, name in (("models", "registry"), ("trainingJobs", "trainer"), ("webhooks", "notifier")):
            answer = await http.get(f"/v1/projects/acme/{path}")
            assert (answer.status_code, answer.json()["message"]) == (503, f"The {name} service is not there")


async def test_an_authorization_service_that_is_away_is_named_and_not_the_service_behind(tmp_path: Path) -> None:
    port, nobody = servers.free_ports(2)
    settings = Settings(
        public_listen=f"{servers.HOST}:{port}",
        authz_target=f"{servers.HOST}:{nobody}",
        access_log_file=str(tmp_path / "access.log"),
    )
    envoy_config.write(settings, tmp_path / "envoy.json")
    spec = servers.envoy(tmp_path / "envoy.json", ports={"listener": port}, data_dir=tmp_path)
    child = ChildState("envoy", state="ready", log="envoy.log")
    state = StackState(server=settings.public_listen, children={"envoy": child})
    alone = running(spec)
    await asyncio.to_thread(alone.__enter__)
    try:
        told = await failure(settings.public_listen, "fs_any")
        assert (told.reason, told.message) == ("AUTHORIZATION_AWAY", "The gateway's authorization service is not there")
        async with httpx.AsyncClient(base_url=f"http://{settings.public_listen}") as http:
            answer = await http.get("/healthz")
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (503, "AUTHORIZATION_AWAY")
        # It is Envoy that `status` asks, and Envoy is there.
        assert await stack_problems.problems(DataFolder(tmp_path), state) == []
    finally:
        await asyncio.to_thread(alone.__exit__, None, None, None)
    said = [f"envoy does not answer on {settings.public_listen}; see envoy.log"]
    assert await stack_problems.problems(DataFolder(tmp_path), state) == said


async def test_a_gateway_that_takes_connections_and_says_nothing_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_problems, "ANSWER_S", 0.2)
    with socket.create_server((servers.HOST, 0)) as silent:
        where = f"{servers.HOST}:{silent.getsockname()[1]}"
        state = StackState(server=where, children={"envoy": ChildState("envoy", state="ready", log="envoy.log")})
        found = await stack_problems.problems(DataFolder(tmp_path), state)
    assert found == [f"envoy does not answer on {where}; see envoy.log"]
