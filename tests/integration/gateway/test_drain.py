"""How a gateway's pod ends: as its manifest says, with the real Envoy."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import grpc
import httpx
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub

from services.chassis.client_interceptors import client_interceptors
from tests.fixtures import processes
from tests.fixtures.patience import until, within
from tests.integration.deploy.manifests import named
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_envoy import NAME


async def test_calls_at_work_finish_and_new_ones_go_elsewhere(gateway: Gateway) -> None:
    upload = asyncio.Event()

    async def requests():  # type: ignore[no-untyped-def]
        header = dataset_service_pb2.UploadImageHeader(parent=NAME, file_name="a.png")
        yield dataset_service_pb2.UploadImageRequest(header=header)
        await upload.wait()
        yield dataset_service_pb2.UploadImageRequest(chunk=b"the end")

    channel = grpc.aio.insecure_channel(gateway.target, interceptors=client_interceptors(None))
    stub: Any = DatasetServiceStub(channel)
    async with within():
        image = asyncio.ensure_future(
            stub.UploadImage(requests(), metadata=(("x-api-key", gateway.key),))  # type: ignore[no-untyped-call]
        )
        await until(lambda: gateway.servicer.metadata, what="the upload's begin")
        async with processes.async_child(_pre_stop(gateway), env={**os.environ, "NOTICE_S": "0"}) as ends:
            # The door closes while the call is at work.
            await until(lambda: _refuses(gateway), what="the closed door")
            upload.set()
            assert (await image).size_bytes == len(b"the end")
            # Its pipe is filled by what the admin page answers.
            await ends.communicate()
            assert ends.returncode == 0
    await channel.close(None)


async def test_the_door_closes_before_connections_are_sent_away(gateway: Gateway) -> None:
    """A connection that is made while a door closes is reset; who was sent away by an open door would make one."""
    call: dict[str, Any] = {"url": f"http://{gateway.target}/v1/{NAME}", "headers": {"x-api-key": gateway.key}}
    async with within(), httpx.AsyncClient() as client:
        assert (await client.get(**call)).is_success
        async with processes.async_child(_pre_stop(gateway), env={**os.environ, "NOTICE_S": "3"}) as ends:
            await until(lambda: _fails(gateway), what="the balancers' word")
            kept = await client.get(**call)
            assert kept.is_success
            assert "connection" not in kept.headers
            assert not await _refuses(gateway)

            await until(lambda: _refuses(gateway), what="the closed door")
            await until(lambda: _sent_away(client, call), what="the connection's end")
            # Nobody is left, so it waits no longer.
            await ends.communicate()
            assert ends.returncode == 0


def _pre_stop(gateway: Gateway) -> list[str]:
    pod = named("prod", "Deployment", "gateway")["spec"]["template"]["spec"]
    (envoy,) = pod["containers"]
    command = envoy["lifecycle"]["preStop"]["exec"]["command"]
    assert any("9901" in word for word in command)
    return [word.replace("/9901", f"/{gateway.admin_port}") for word in command]


async def _sent_away(client: httpx.AsyncClient, call: dict[str, Any]) -> bool:
    last = await client.get(**call)
    assert last.is_success
    return bool(last.headers.get("connection") == "close")


async def _refuses(gateway: Gateway) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            await client.get(f"http://{gateway.target}/v1/{NAME}")
    except httpx.ConnectError:
        return True
    return False


async def _fails(gateway: Gateway) -> bool:
    """What a balancer hears at /healthz once the gateway ends; before, it is the services that are absent here."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{gateway.target}/healthz")
    return answer.status_code == 503 and "health_check_failed" in answer.text
