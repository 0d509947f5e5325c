"""What the gateway answers by itself: limits, sizes, misspelt fields, and callers it remembers."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import struct
from collections import Counter
from typing import Any

import grpc
import httpx
import pytest
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from tests.fixtures.patience import within
from tests.integration.gateway.conftest import Gateway

NAME = "projects/acme/datasets/dogs"


def asked() -> float:
    """How many callers the authorization service has let through."""
    return REGISTRY.get_sample_value("fiveshot_gateway_authorizations_total", {"outcome": "OK"}) or 0.0


def http(gateway: Gateway, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{gateway.target}", headers={"x-api-key": gateway.key} | headers)


async def call(channel: grpc.aio.Channel, key: str, *metadata: tuple[str, str]) -> str:
    """The status code's name of one call; that of a refusal only when it carries details."""
    stub: Any = DatasetServiceStub(channel)
    try:
        request = dataset_service_pb2.GetDatasetRequest(name=NAME)
        await stub.GetDataset(request, metadata=(("x-api-key", key), *metadata))
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        found = ",".join(each.type_url.rpartition(".")[2] for each in status.details) if status else "bare"
        return f"{error.code().name} {found}"
    return "OK"


async def test_who_was_let_through_is_remembered_for_a_while(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        before = asked()
        assert [await call(channel, gateway.key) for _ in range(20)] == ["OK"] * 20
        assert asked() - before < 20
        seen = gateway.servicer.metadata[-1]
        assert (seen["x-fiveshot-projects"], seen["x-fiveshot-principal"]) == ("acme", "key:good")
        assert "x-api-key" not in seen


async def test_what_is_remembered_holds_for_one_credential_and_one_method(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        assert await call(channel, gateway.key) == "OK"
        assert await call(channel, gateway.key + "x") == "UNAUTHENTICATED ErrorInfo"
        assert await call(channel, "") == "UNAUTHENTICATED ErrorInfo"
        forged = ("x-fiveshot-projects", "*"), ("x-fiveshot-principal", "root")
        assert await call(channel, gateway.key, *forged) == "OK"
        assert gateway.servicer.metadata[-1]["x-fiveshot-projects"] == "acme"
    async with http(gateway) as client:
        before = asked()
        assert (await client.get(f"/v1/{NAME}")).status_code == 200
        assert (await client.get(f"/v1/{NAME}/images/one:download")).status_code == 200
        assert asked() - before == 2
        # A slash at the end makes it another path, of which nothing is remembered.
        assert (await client.get(f"/v1/{NAME}/")).status_code == 200
        assert asked() - before == 3


async def test_a_forged_token_is_not_remembered_with_a_good_one(gateway: Gateway) -> None:
    token = gateway.token()
    head, _, signature = token.rpartition(".")
    forged = f"{head}.{'A' * len(signature)}"
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        assert await call(channel, "", ("authorization", f"Bearer {token}")) == "OK"
        assert await call(channel, "", ("authorization", f"Bearer {forged}")) == "UNAUTHENTICATED ErrorInfo"
        assert await call(channel, "", ("authorization", f"Bearer {token}")) == "OK"


async def test_a_burst_of_one_key_gets_an_answer_or_is_told_when_to_come_again(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        outcomes = Counter(await asyncio.gather(*(call(channel, gateway.key) for _ in range(800))))
    assert set(outcomes) == {"OK", "RESOURCE_EXHAUSTED ErrorInfo,RetryInfo"}
    # The fixture's burst is 60, and 50 a second are filled in meanwhile.
    assert outcomes["OK"] >= 60


async def test_strangers_from_one_address_are_slowed_before_anybody_is_asked(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        assert await call(channel, gateway.key) == "OK"
        # X-Forwarded-For is what the caller says, and there is no proxy that may.
        calls = (call(channel, f"fs_wrong{n}", ("x-forwarded-for", f"10.0.0.{n % 250}")) for n in range(300))
        outcomes = Counter(await asyncio.gather(*calls))
        assert set(outcomes) == {"UNAUTHENTICATED ErrorInfo", "RESOURCE_EXHAUSTED ErrorInfo,RetryInfo"}
        assert outcomes["RESOURCE_EXHAUSTED ErrorInfo,RetryInfo"] > 100


async def test_too_much_is_refused_with_a_status_in_json_and_in_grpc(gateway: Gateway) -> None:
    async with http(gateway) as client:
        for size in (300 * 1024, 2**20):
            large = await client.post("/v1/projects/acme/datasets", content=bytes(size))
            assert (large.status_code, large.json()["code"]) == (413, code_pb2.RESOURCE_EXHAUSTED)
        wide = await client.get(f"/v1/{NAME}", headers={"x-note": "a" * 40_000})
        assert (wide.status_code, wide.json()["details"][0]["reason"]) == (431, "HEADERS_TOO_LARGE")
        for patience in ("1x", "-1S", "123456789S", "", "S"):
            vague = await client.get(f"/v1/{NAME}", headers={"grpc-timeout": patience})
            assert (vague.status_code, vague.json()["details"][0]["reason"]) == (400, "TIMEOUT_INVALID"), patience
        assert (await client.get(f"/v1/{NAME}", headers={"grpc-timeout": "10S"})).status_code == 200
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        assert await call(channel, gateway.key, ("x-note", "a" * 40_000)) == "RESOURCE_EXHAUSTED ErrorInfo"
        # Large, but below the limit: every hop lets it through.
        assert await call(channel, gateway.key, ("x-note", "a" * 20_000)) == "OK"


async def test_a_method_that_is_not_there_and_a_message_too_large_come_with_details(gateway: Gateway) -> None:
    async def failed(path: str, body: bytes) -> Any:
        method = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(body, metadata=(("x-api-key", gateway.key),))
        return rpc_status.from_call(caught.value)  # type: ignore[arg-type]

    service = "/fiveshot.dataset.v1.DatasetService"
    large = b"\x0a" + b"\x80\x80\x80\x08" + bytes(16 * 1024 * 1024)
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        for path, body, code, reason in (
            (f"{service}/Nothing", b"", code_pb2.UNIMPLEMENTED, "METHOD_UNKNOWN"),
            (f"{service}/CreateDataset", large, code_pb2.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
            ("/fiveshot.nothing.v1.Nothing/Nothing", b"", code_pb2.UNIMPLEMENTED, "GATEWAY_HTTP_404"),
        ):
            status = await failed(path, body)
            assert status is not None, path
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            assert (status.code, info.reason, bool(info.metadata["remedy"])) == (code, reason, True)
        assert await call(channel, gateway.key) == "OK"
    assert [seen["x-fiveshot-principal"] for seen in gateway.servicer.metadata] == ["key:good"]


def frame(message: bytes, *, flags: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC and gRPC-Web send it."""
    return bytes([flags]) + struct.pack(">I", len(message) if length is None else length) + message


PACKED = {"grpc-encoding": "gzip"}
REQUEST = dataset_service_pb2.GetDatasetRequest(name=NAME).SerializeToString()
WEB = "application/grpc-web+proto"
BROKEN: list[tuple[str, bytes, dict[str, str], int, str]] = [
    (WEB, b"\0\0", {}, 3, "MESSAGE_MALFORMED"),
    (WEB, b"\xff" * 100, {}, 3, "REQUEST_INVALID"),
    (WEB, frame(REQUEST, length=500), {}, 3, "MESSAGE_MALFORMED"),
    (WEB, frame(REQUEST, length=2**32 - 1), {}, 8, "MESSAGE_TOO_LARGE"),
    (WEB, frame(REQUEST, flags=1), {}, 3, "MESSAGE_MALFORMED"),
    (WEB, frame(REQUEST, flags=1), PACKED, 3, "MESSAGE_MALFORMED"),
    (WEB, frame(gzip.compress(bytes(50_000_000)), flags=1), PACKED, 8, "MESSAGE_TOO_LARGE"),
    (WEB, frame(REQUEST, flags=1), {"grpc-encoding": "banana"}, 3, "METADATA_MALFORMED"),
    (WEB, frame(REQUEST), {"x-note-bin": "!!!"}, 3, "METADATA_MALFORMED"),
    (WEB, frame(REQUEST), {"grpc-timeout": "-1S"}, 3, "TIMEOUT_INVALID"),
    (WEB, frame(REQUEST), {"x-note": "a" * 40_000}, 8, "HEADERS_TOO_LARGE"),
    (WEB, frame(REQUEST), {"x-api-key": "fs_nobody"}, 16, "API_KEY_INVALID"),
    ("application/grpc-web-text", b"!!!!", {}, 3, "GATEWAY_HTTP_400"),
    ("application/grpc-web-text", base64.b64encode(frame(REQUEST)), {}, 0, ""),
    ("application/grpc", frame(REQUEST), {}, 0, ""),
    (WEB, frame(REQUEST), {}, 0, ""),
]


async def test_broken_frames_over_http_1_are_refused_with_details(gateway: Gateway) -> None:
    """One gateway for all: each takes seconds to start."""
    for content_type, body, headers, code, reason in BROKEN:
        async with http(gateway) as client:
            path, sent = "/fiveshot.dataset.v1.DatasetService/GetDataset", {"content-type": content_type, **headers}
            answer = await client.post(path, content=body, headers=sent)
        what = (content_type, body[:40], headers, answer.headers)
        assert answer.status_code == 200, what
        assert int(answer.headers.get("grpc-status", "0")) == code, what
        details = answer.headers.get("grpc-status-details-bin", "")
        status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
        info = error_details_pb2.ErrorInfo()
        assert (bool(status.details and status.details[0].Unpack(info)), info.reason) == (bool(reason), reason), what
        assert status.code == code, what
        assert bool(answer.headers.get("grpc-message")) == bool(reason), what


@pytest.mark.parametrize(
    "header",
    [
        (b"x-request-id", b"a\tb"),
        (b"x-request-id", b"\xe9\xff"),
        (b"x-note-bin", b"%%%"),
        (b"grpc-tags-bin", b"\xff"),
        (b"x-note", b"\xe9\xff"),
    ],
    ids=lambda header: f"{header[0]!r} {header[1]!r}",
)
async def test_a_header_that_grpc_cannot_carry_breaks_no_call_in_json(
    gateway: Gateway, header: tuple[bytes, bytes]
) -> None:
    async with http(gateway) as client:
        answer = await client.get(f"/v1/{NAME}", headers=[(b"x-api-key", gateway.key.encode()), header])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"].isprintable()


async def test_a_body_that_announces_too_much_is_refused_before_any_of_it_has_come(gateway: Gateway) -> None:
    host, _, port = gateway.target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (
        f"POST /v1/{NAME}/images:upload HTTP/1.1", f"host: {gateway.target}", f"x-api-key: {gateway.key}",
        f"content-length: {5 * 2**30}", "connection: close",
    )  # fmt: skip
    writer.write("\r\n".join([*lines, "", "the first of it"]).encode())
    async with within():
        answer = await reader.readuntil(b"BODY_TOO_LARGE")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert gateway.servicer.metadata == []


HOW_HTTP_IS_SPOKEN = [
    ("GET", "HTTP/1.0", [], 426),
    ("GET", "HTTP/2.0", [], 426),
    ("POST", "HTTP/1.1", ["transfer-encoding: gzip"], 501),
    ("POST", "HTTP/1.1", ["transfer-encoding: gzip, chunked"], 501),
    ("GET", "HTTP/1.1", ["connection: upgrade", "upgrade: websocket"], 403),
    ("GET", "HTTP/1.1", ["x_note: a"], 400),
    ("FETCH", "HTTP/1.1", [], 400),
]


async def test_whoever_speaks_another_http_is_told_so_with_a_status(gateway: Gateway) -> None:
    host, _, port = gateway.target.rpartition(":")
    for verb, version, headers, code in HOW_HTTP_IS_SPOKEN:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            "\r\n".join([f"{verb} /v1/{NAME} {version}", f"host: {gateway.target}", *headers, "", ""]).encode()
        )
        async with within():
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        what = (verb, version, headers, head)
        assert head.startswith(f"HTTP/1.1 {code} ".encode()), what
        assert b"content-type: application/json" in head, what
        detail = json.loads(body)["details"][0]
        assert (detail["reason"], bool(detail["metadata"]["remedy"])) == (f"GATEWAY_HTTP_{code}", True), what
    assert gateway.servicer.metadata == []


def violations(answer: dict[str, Any]) -> dict[str, str]:
    """What an answer says of each wrong field."""
    found = [each["fieldViolations"] for each in answer["details"] if "fieldViolations" in each]
    return {each["field"]: each["description"] for some in found for each in some}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"datasetId": "cats", "dataset": {"displayNam": "Cats"}}, {"dataset.displayNam"}),
        ({"datasetid": "cats", "dataset": {"triggerWrd": "x"}}, {"datasetid", "dataset.triggerWrd"}),
    ],
)
async def test_misspelt_fields_of_a_json_body_are_named(
    gateway: Gateway, body: dict[str, Any], fields: set[str]
) -> None:
    async with http(gateway) as client:
        answer = await client.post("/v1/projects/acme/datasets", json=body)
    status = answer.json()
    assert (answer.status_code, status["code"]) == (400, code_pb2.INVALID_ARGUMENT)
    (violations,) = [each["fieldViolations"] for each in status["details"] if "fieldViolations" in each]
    assert {each["field"] for each in violations} == fields
    assert "Did you mean" in answer.text
    assert gateway.servicer.metadata == []


@pytest.mark.parametrize(
    ("verb", "path", "takes"),
    [
        ("PUT", f"/v1/{NAME}", "DELETE, GET, HEAD, PATCH"),
        ("HEAD", "/v1/projects/acme/trainingJobs/one:watch", "GET"),
        ("OPTIONS", "/v1/projects/acme/datasets/?pageSize=1", "GET, HEAD, POST"),
        ("GET", f"/v1/{NAME}/images:batchDelete", "POST"),
        ("POST", "/v1/projects", "GET, HEAD"),
    ],
)
async def test_a_wrong_http_method_is_told_which_the_path_takes(
    gateway: Gateway, verb: str, path: str, takes: str
) -> None:
    async with http(gateway) as client:
        answer = await client.request(verb, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, takes)
    if verb != "HEAD":
        assert answer.json()["details"][0]["reason"] == "METHOD_NOT_ALLOWED"
        assert answer.json()["message"] == f"{verb} is not offered here; this path takes {takes}"
    assert gateway.servicer.metadata == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"name": "projects/acme/datasets/cats", "displayName": "x"}', "BODY_OVERRIDES_PATH"),
        ("{'name': 'projects/acme/datasets/cats'}", "JSON_INVALID"),
        ('{"displayName": "x", "displayName": "y"}', "JSON_INVALID"),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_a_body_never_speaks_of_another_resource_than_its_path(
    gateway: Gateway, body: str, reason: str, content_type: str
) -> None:
    async with http(gateway, **({"content-type": content_type} if content_type else {})) as client:
        answer = await client.patch(f"/v1/{NAME}", content=body)
    assert (answer.status_code, answer.json()["details"][0]["reason"]) == (400, reason)
    assert gateway.servicer.metadata == []


async def test_an_absent_service_is_told_apart_from_an_overload(gateway: Gateway) -> None:
    async with http(gateway) as client:
        answer = await client.get("/v1/projects/acme/models")
    assert answer.headers["retry-after"] == "1"
    status = answer.json()
    assert (answer.status_code, status["details"][0]["reason"]) == (503, "GATEWAY_HTTP_503")
    assert status["details"][1]["retryDelay"] == "1s"


async def test_a_refused_key_is_told_once_in_a_while(gateway: Gateway) -> None:
    """Everybody can make refusals; they must not fill the disk."""
    info = error_details_pb2.ErrorInfo()
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        stub: Any = DatasetServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetDataset(dataset_service_pb2.GetDatasetRequest(name=NAME), metadata=(("x-api-key", "fs_no"),))
    status: status_pb2.Status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    assert status.details[0].Unpack(info)
    assert info.reason == "API_KEY_INVALID"
