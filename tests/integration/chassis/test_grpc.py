"""The transport over a real connection: the four rpc kinds, errors, identity, health and the end of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.type_pb2 import EnumValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry import trace
from prometheus_client import REGISTRY
from pydantic import SecretStr

from services.chassis import errors, grpc_errors, interceptors, request_context
from services.chassis.grpc_client import channel
from services.chassis.grpc_server import LIVENESS, RunningServer, start_server
from services.chassis.request_context import RequestContext
from services.chassis.settings import BaseServiceSettings
from tests.fixtures.patience import turns, within
from tests.integration.chassis.echo_service import NAME, Echo, EchoStub

SETTINGS = BaseServiceSettings(shutdown_grace_s=1)


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def running(echo: Echo) -> AsyncIterator[RunningServer]:
    async with start_server(SETTINGS, echo.register, service_names=[NAME]) as server:
        yield server


@pytest.fixture
async def stub(running: RunningServer) -> AsyncIterator[EchoStub]:
    async with channel(running.target) as connection:
        yield EchoStub(connection)


async def call(stub: EchoStub, kind: str, message: str) -> Any:
    request = EnumValue(number=2, name=message)
    if kind == "unary":
        return await stub.unary(request)
    if kind == "requests":
        return await stub.requests(iter([request]))
    stream = stub.responses(request) if kind == "responses" else stub.both(iter([request]))
    return [answer async for answer in stream]


KINDS = ["unary", "responses", "requests", "both"]


async def test_the_four_kinds_of_call(stub: EchoStub) -> None:
    assert (await stub.unary(EnumValue(number=4))).number == 5
    assert [answer.number async for answer in stub.responses(EnumValue(number=3))] == [0, 1, 2]
    assert (await stub.requests(EnumValue(number=number) for number in (1, 2, 3))).number == 6
    assert [answer.number async for answer in stub.both(iter([EnumValue(number=1), EnumValue(number=8)]))] == [2, 9]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_of_the_tree_comes_back_as_itself(stub: EchoStub, kind: str) -> None:
    with pytest.raises(errors.NotFound) as caught:
        await call(stub, kind, "missing")
    error = caught.value
    assert (error.message, error.reason, error.remedy) == ("No such thing", "THING_GONE", "Look.")
    assert (error.metadata, error.field) == ({"id": "7"}, "name")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_tells_the_caller_nothing_but_the_request_id(stub: EchoStub, kind: str) -> None:
    with pytest.raises(errors.Internal) as caught:
        await call(stub, kind, "crash")
    assert "secret" not in str(caught.value)
    assert caught.value.metadata["request_id"] in caught.value.remedy


async def test_answers_before_an_error_arrive(stub: EchoStub) -> None:
    answers = aiter(stub.responses(EnumValue(number=3, name="late")))
    assert [(await anext(answers)).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(errors.Aborted):
        await anext(answers)


async def test_a_stream_that_is_refused_early_gets_the_refusal_each_time(stub: EchoStub) -> None:
    large = "x" * 65536
    for _ in range(20):
        with pytest.raises(errors.NotFound):
            await stub.requests(EnumValue(name=text) for text in ("missing", *[large] * 64))


async def test_a_stream_that_is_refused_and_never_ends_gets_the_refusal(
    stub: EchoStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptors, "DRAIN_S", 0.1)

    async def endless() -> AsyncIterator[EnumValue]:
        yield EnumValue(name="missing")
        await asyncio.Event().wait()

    with pytest.raises(errors.NotFound):
        async with within(30):
            await stub.requests(endless())


async def test_what_is_not_found_is_traced_to_the_field_that_names_it(stub: EchoStub) -> None:
    request = EnumValue(name="things/t")
    for answer in (stub.unary(request), stub.requests(iter([request]))):
        with pytest.raises(errors.NotFound) as caught:
            await answer
        assert caught.value.field == "name"


async def test_an_error_passes_through_a_service_in_between(echo: Echo, stub: EchoStub) -> None:
    echo.forward = stub.unary
    with pytest.raises(errors.NotFound) as caught:
        await stub.unary(EnumValue(name="forward"))
    assert caught.value.reason == "THING_GONE"


async def test_a_method_that_the_server_does_not_know(stub: EchoStub) -> None:
    with pytest.raises(errors.Unimplemented):
        await stub.missing(EnumValue())


async def test_a_moment_without_service_is_bridged(echo: Echo, stub: EchoStub) -> None:
    assert (await stub.unary(EnumValue(name="flaky"))).number == 1
    assert echo.attempts == 3


async def test_an_error_of_the_request_iterator_comes_out_as_itself(stub: EchoStub) -> None:
    async def broken() -> AsyncIterator[EnumValue]:
        yield EnumValue(number=1)
        raise FileNotFoundError("the photo is gone")

    with pytest.raises(FileNotFoundError, match="the photo is gone"):
        await stub.requests(broken())
    with pytest.raises(FileNotFoundError, match="the photo is gone"):
        await collected(stub.both(broken()))


async def collected(answers: AsyncIterator[EnumValue]) -> list[EnumValue]:
    return [answer async for answer in answers]


async def test_a_caller_that_gives_up_ends_the_work(echo: Echo, stub: EchoStub) -> None:
    task = asyncio.ensure_future(stub.unary(EnumValue(name="wait")))
    await echo.waiting.wait()
    task.cancel()
    async with within(30):
        await echo.cancelled.wait()


async def test_a_deadline_is_a_typed_error(stub: EchoStub) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await stub.unary(EnumValue(name="wait"), timeout=0.2)


async def test_a_message_over_the_limit_is_refused(stub: EchoStub) -> None:
    with pytest.raises(errors.ResourceExhausted):
        await stub.unary(EnumValue(name="x" * (9 * 1024 * 1024)))


async def test_no_server_is_a_typed_error(free_port: int) -> None:
    async with channel(f"127.0.0.1:{free_port}") as connection:
        with pytest.raises(errors.Unavailable) as caught:
            await EchoStub(connection).unary(EnumValue())
        assert "address" in caught.value.remedy


async def test_identity_goes_along_from_service_to_service(stub: EchoStub) -> None:
    context = RequestContext(request_id="r-1", projects=frozenset({"a", "b"}), principal="kim")
    with request_context.use(context):
        assert (await stub.unary(EnumValue())).name == "r-1|['a', 'b']|kim"
    request_id, projects, _ = (await stub.unary(EnumValue())).name.split("|")
    assert len(request_id) == 32
    assert projects == "['*']"


async def test_the_trace_goes_along(echo: Echo, stub: EchoStub) -> None:
    span = trace.SpanContext(trace_id=0x1234, span_id=0x5678, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(span)):
        await stub.unary(EnumValue())
    assert echo.trace_id == 0x1234


async def test_the_request_id_comes_back(running: RunningServer) -> None:
    async with grpc.aio.insecure_channel(running.target) as plain:
        for message in ("", "missing"):
            started = EchoStub(plain).unary(EnumValue(name=message), metadata=(("x-request-id", "r-9"),))
            trailers = dict(await started.trailing_metadata())
            assert trailers["x-request-id"] == "r-9"
            assert await started.code() is (grpc.StatusCode.NOT_FOUND if message else grpc.StatusCode.OK)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_project_is_refused_in_every_kind_of_call(stub: EchoStub, kind: str) -> None:
    with request_context.use(RequestContext(projects=frozenset({"mine"}))):
        await call(stub, kind, "projects/mine/things/t")
        with pytest.raises(errors.PermissionDenied) as caught:
            await call(stub, kind, "projects/theirs/things/t")
    assert caught.value.reason == "PROJECT_FORBIDDEN"


async def test_a_later_message_of_a_stream_is_checked_too(stub: EchoStub) -> None:
    messages = [EnumValue(name="projects/mine/x"), EnumValue(), EnumValue(name="projects/theirs/x")]
    with request_context.use(RequestContext(projects=frozenset({"mine"}))), pytest.raises(errors.PermissionDenied):
        await stub.requests(iter(messages))


async def test_a_service_behind_the_gateway_wants_the_projects_header(echo: Echo) -> None:
    settings = BaseServiceSettings(require_project_header=True)
    async with start_server(settings, echo.register, service_names=[NAME]) as server:
        async with grpc.aio.insecure_channel(server.target) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await EchoStub(plain).unary(EnumValue())
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await EchoStub(plain).unary(EnumValue(), metadata=(("x-fiveshot-projects", "*"),))


async def test_the_internal_token_guards_even_a_forged_header(echo: Echo) -> None:
    settings = BaseServiceSettings(internal_token=SecretStr("s3cret"))
    async with start_server(settings, echo.register, service_names=[NAME]) as server:
        async with channel(server.target, settings) as inside:
            assert (await EchoStub(inside).unary(EnumValue())).number == 1
        for wrong in (None, BaseServiceSettings(internal_token=SecretStr("guess"))):
            async with channel(server.target, wrong) as outside:
                with pytest.raises(errors.Unauthenticated) as caught:
                    await EchoStub(outside).unary(EnumValue())
                assert caught.value.reason == "INTERNAL_TOKEN_WRONG"


async def health_of(connection: grpc.aio.Channel, name: str) -> str:
    answer = await health_pb2_grpc.HealthStub(connection).Check(health_pb2.HealthCheckRequest(service=name))
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def test_a_server_is_healthy_under_every_name(running: RunningServer) -> None:
    async with grpc.aio.insecure_channel(running.target) as plain:
        assert [await health_of(plain, name) for name in ("", NAME, LIVENESS)] == ["SERVING"] * 3


async def test_reflection_lists_the_service(running: RunningServer) -> None:
    async with grpc.aio.insecure_channel(running.target) as plain:
        stub = reflection_pb2_grpc.ServerReflectionStub(plain)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
    assert NAME in [service.name for service in answers[0].list_services_response.service]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_wants_the_internal_token_and_health_does_not(version: str) -> None:
    settings = BaseServiceSettings(internal_token=SecretStr("inside"))
    async with start_server(settings, lambda _: None, service_names=[NAME]) as running:
        async with grpc.aio.insecure_channel(running.target) as plain:
            call = plain.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                [each async for each in call(iter(asked))]
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            inside = [each async for each in call(iter(asked), metadata=(("x-fiveshot-internal", "inside"),))]
            assert NAME in [service.name for service in inside[0].list_services_response.service]
            assert await health_of(plain, "") == "SERVING"


async def test_calls_are_counted_by_method_and_code(stub: EchoStub) -> None:
    labels = {"method": f"/{NAME}/Unary", "code": "NOT_FOUND"}
    before = REGISTRY.get_sample_value("fiveshot_grpc_calls_total", labels) or 0
    with pytest.raises(errors.NotFound):
        await stub.unary(EnumValue(name="missing"))
    assert REGISTRY.get_sample_value("fiveshot_grpc_calls_total", labels) == before + 1
    assert REGISTRY.get_sample_value("fiveshot_grpc_running_calls", {"method": f"/{NAME}/Unary"}) == 0


async def test_streams_do_not_count_as_slow_calls(stub: EchoStub) -> None:
    def counts(method: str) -> list[float]:
        names = ("fiveshot_grpc_call_seconds_count", "fiveshot_grpc_stream_seconds_count")
        return [REGISTRY.get_sample_value(name, {"method": f"/{NAME}/{method}"}) or 0 for name in names]

    before = {method: counts(method) for method in ("Unary", "Responses")}
    await stub.unary(EnumValue())
    assert [answer.number async for answer in stub.responses(EnumValue(number=2))] == [0, 1]
    assert counts("Unary") == [before["Unary"][0] + 1, before["Unary"][1]]
    assert counts("Responses") == [before["Responses"][0], before["Responses"][1] + 1]


async def test_a_burst_of_calls_is_answered(stub: EchoStub) -> None:
    answers = await asyncio.gather(*(stub.unary(EnumValue(number=number)) for number in range(2000)))
    assert [answer.number for answer in answers] == list(range(1, 2001))


async def test_a_taken_port_is_told(running: RunningServer, echo: Echo) -> None:
    settings = BaseServiceSettings(listen=running.target)
    with pytest.raises(OSError, match=r"Nothing can listen on .* the port is taken"):
        async with start_server(settings, echo.register, service_names=[NAME]):
            pass


async def test_a_background_task_that_swallows_a_cancellation_does_not_hold_up_the_end(echo: Echo) -> None:
    asked = 0

    async def stubborn() -> None:
        nonlocal asked
        while asked < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked += 1

    async with within(30):
        async with start_server(SETTINGS, echo.register, service_names=[NAME], background=[stubborn]):
            await turns()
    assert asked == 3


async def test_a_background_task_that_tidies_up_is_cancelled_once(echo: Echo) -> None:
    """However long it takes within the grace: its tidying may be a call that gives a job back."""
    cancelled, tidied = 0, asyncio.Event()

    async def tidy() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            # Several times the pause after which a task that hangs is cancelled again.
            asyncio.get_running_loop().call_later(1.0, tidied.set)
            try:
                await tidied.wait()
            except asyncio.CancelledError:
                cancelled += 1

    settings = BaseServiceSettings(shutdown_grace_s=30)
    async with start_server(settings, echo.register, service_names=[NAME], background=[tidy]):
        await turns(1)
    assert tidied.is_set()
    assert cancelled == 1


MALFORMED = b"\x12\xff"


@pytest.mark.parametrize(
    "method",
    [f"/{NAME}/Unary", f"/{NAME}/Responses", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"],
)
async def test_a_call_of_one_message_that_never_comes_is_answered(running: RunningServer, method: str) -> None:
    async with grpc.aio.insecure_channel(running.target) as connection, within():
        raw: Any = connection
        call = raw.stream_stream(method)(iter(()))
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("unary_unary", f"/{NAME}/Unary"),
        ("unary_stream", f"/{NAME}/Responses"),
        ("stream_unary", f"/{NAME}/Requests"),
        ("stream_stream", f"/{NAME}/Both"),
        ("unary_unary", "/grpc.health.v1.Health/Check"),
        ("unary_stream", "/grpc.health.v1.Health/Watch"),
        ("stream_stream", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    ],
)
async def test_bytes_that_are_no_message_are_refused_in_words(running: RunningServer, kind: str, method: str) -> None:
    async with grpc.aio.insecure_channel(running.target) as connection:
        call: Any = getattr(connection, kind)(method)
        answer = call(iter([MALFORMED]) if kind.startswith("stream") else MALFORMED)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (answer if kind.endswith("unary") else anext(aiter(answer)))
    error = grpc_errors.from_rpc_error(caught.value)
    assert (type(error), error.reason) == (errors.InvalidArgument, "MESSAGE_MALFORMED")
    assert "Decode" not in str(error)
