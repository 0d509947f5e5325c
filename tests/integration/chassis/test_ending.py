"""How a replica ends: who waits is let go, and calls of the suite's own clients go to the others meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest
from google.protobuf.type_pb2 import EnumValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.errors import Unavailable
from services.chassis.grpc_client import channel
from services.chassis.grpc_server import start_server
from services.chassis.settings import BaseServiceSettings
from tests.fixtures.patience import until, within
from tests.integration.chassis.echo_service import NAME, Echo, EchoStub

# Longer than any test may take: who waits for it has failed.
NEVER_S = 3600
_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("kind", ["unary", "responses"])
async def test_calls_that_wait_for_news_end_with_a_reason_and_take_no_grace(kind: str) -> None:
    echo = Echo()
    async with AsyncExitStack() as server:
        settings = BaseServiceSettings(shutdown_grace_s=NEVER_S)
        running = await server.enter_async_context(start_server(settings, echo.register, service_names=[NAME]))
        # Without the channel's retries, which would look for another replica.
        async with grpc.aio.insecure_channel(running.target) as plain:
            call = getattr(EchoStub(plain), kind)(EnumValue(name="news"))
            waiting = asyncio.ensure_future(call.read() if kind == "responses" else call)
            async with within():
                await echo.waiting.wait()
                await server.aclose()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await waiting
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "REPLICA_ENDS" in str(caught.value.trailing_metadata())


async def test_whoever_follows_the_health_hears_of_the_end_and_takes_no_grace() -> None:
    async with AsyncExitStack() as server:
        settings = BaseServiceSettings(shutdown_grace_s=NEVER_S)
        running = await server.enter_async_context(start_server(settings, Echo().register, service_names=[NAME]))
        async with grpc.aio.insecure_channel(running.target) as plain:
            watch = health_pb2_grpc.HealthStub(plain).Watch(health_pb2.HealthCheckRequest())
            heard = [(await anext(aiter(watch))).status]
            async with within():
                await server.aclose()
                heard += [answer.status async for answer in watch]
    assert heard == [_SERVING, _NOT_SERVING]


async def test_calls_go_round_all_replicas_and_none_to_one_that_ends() -> None:
    kept, ends = Echo(), Echo()
    async with AsyncExitStack() as stack:
        ending = AsyncExitStack()
        settings = BaseServiceSettings(shutdown_grace_s=NEVER_S, shutdown_notice_s=1)
        stays = await stack.enter_async_context(start_server(settings, kept.register, service_names=[NAME]))
        goes = await ending.enter_async_context(start_server(settings, ends.register, service_names=[NAME]))
        connection = await stack.enter_async_context(channel(f"{stays.target},{goes.target}"))
        stub = EchoStub(connection)

        async def both_called() -> bool:
            await stub.unary(EnumValue(number=1))
            return bool(kept.calls and ends.calls)

        await until(both_called, what="both replicas to be called")
        gone = asyncio.create_task(ending.aclose())
        while not gone.done():
            assert (await stub.unary(EnumValue(number=1))).number == 2
        await gone
        with pytest.raises(Unavailable):
            await EchoStub(await stack.enter_async_context(channel(goes.target))).unary(EnumValue(number=1))
        assert (await stub.unary(EnumValue(number=1))).number == 2
