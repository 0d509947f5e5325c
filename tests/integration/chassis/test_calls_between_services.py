"""Calls between services: over every replica, no longer than whoever waits for them, not for ever to a dead peer."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from google.protobuf.type_pb2 import EnumValue

from services.chassis import errors
from services.chassis.addresses import split_targets
from services.chassis.grpc_client import channel
from services.chassis.grpc_server import start_server
from services.chassis.settings import BaseServiceSettings
from tests.fixtures.cut_line import CutLine
from tests.fixtures.patience import until, within
from tests.integration.chassis.echo_service import NAME, Echo, EchoStub

SETTINGS = BaseServiceSettings(shutdown_grace_s=1)


async def test_calls_take_turns_over_the_replicas_and_pass_over_one_that_is_away() -> None:
    replicas = [Echo() for _ in range(3)]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(start_server(SETTINGS, echo.register, service_names=[NAME]))
            for echo in replicas
        ]
        stub = EchoStub(await stack.enter_async_context(channel(",".join(server.target for server in servers))))

        async def everyone_was_called() -> bool:
            await stub.unary(EnumValue())
            return all(echo.calls for echo in replicas)

        # The channel uses each replica as soon as it has connected to it.
        await until(everyone_was_called)
        before = [echo.calls for echo in replicas]
        for _ in range(30):
            await stub.unary(EnumValue())
        assert [echo.calls - known for echo, known in zip(replicas, before, strict=True)] == [10, 10, 10]
        await servers[0].server.stop(None)
        away = replicas[0].calls
        for _ in range(20):
            await stub.unary(EnumValue())
        assert replicas[0].calls == away


async def test_a_call_within_a_call_has_less_time_than_the_one_outside() -> None:
    inner, middle, outer = Echo(), Echo(), Echo()
    async with AsyncExitStack() as stack:
        targets = []
        for echo in (inner, middle, outer):
            server = await stack.enter_async_context(start_server(SETTINGS, echo.register, service_names=[NAME]))
            targets.append(server.target)
        stubs = [EchoStub(await stack.enter_async_context(channel(target))) for target in targets]
        # Each hop would allow more than the caller has.
        middle.forward = lambda request: stubs[0].unary(request, timeout=900)
        outer.forward = lambda request: stubs[1].unary(EnumValue(name="forward"), timeout=900)
        with pytest.raises(errors.NotFound):
            await stubs[2].unary(EnumValue(name="forward"), timeout=60)
    left = [echo.left_s for echo in (outer, middle, inner)]
    assert 60 >= left[0] > left[1] + 0.05 > left[2] + 0.1 > 0


async def test_what_a_caller_gave_up_ends_everywhere() -> None:
    inner, outer = Echo(), Echo()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(start_server(SETTINGS, inner.register, service_names=[NAME]))
        second = await stack.enter_async_context(start_server(SETTINGS, outer.register, service_names=[NAME]))
        below = EchoStub(await stack.enter_async_context(channel(first.target)))
        outer.forward = lambda request: below.unary(EnumValue(name="wait"))
        stub = EchoStub(await stack.enter_async_context(channel(second.target)))
        with pytest.raises(errors.DeadlineExceeded):
            await stub.unary(EnumValue(name="forward"), timeout=0.5)
        async with within():
            await inner.cancelled.wait()


async def test_a_peer_that_went_silent_is_found_out_and_the_call_goes_elsewhere() -> None:
    echo = Echo()
    # Sooner than an operator may ask, and too seldom in this test for the server to mind.
    settings = BaseServiceSettings().model_copy(update={"keepalive_s": 1})
    async with start_server(SETTINGS, echo.register, service_names=[NAME]) as server:
        with CutLine(server.target) as line:
            async with channel(line.address, settings) as connection:
                stub = EchoStub(connection)
                await stub.unary(EnumValue())
                line.freeze()
                # Without a deadline: only the keep-alive can end the wait on the old connection.
                async with within():
                    answer = await stub.unary(EnumValue(number=1))
    assert answer.number == 2


@pytest.mark.parametrize("target", ["a:1,b:2", "10.0.0.1:1,b:2", "10.0.0.1:1,[::1]:2", "nowhere", "10.0.0.1:1,", ""])
def test_several_targets_are_addresses_of_one_kind(target: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|addresses"):
        split_targets(target)


def test_a_name_or_addresses_are_targets() -> None:
    assert split_targets("dataset:7451") == ["dataset:7451"]
    assert split_targets("10.0.0.1:1, 10.0.0.2:1") == ["10.0.0.1:1", "10.0.0.2:1"]
    assert split_targets("[::1]:1,[::2]:1") == ["[::1]:1", "[::2]:1"]
