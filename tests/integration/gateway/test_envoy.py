"""What a caller sees at the gateway: gRPC, gRPC-Web and JSON, good and bad credentials, and what the service gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import httpx
import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from fiveshot.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from fiveshot.trainer.v1 import worker_service_pb2, worker_service_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from gateway import api_keys
from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.roles import Role
from services.chassis import errors
from services.chassis.client_interceptors import client_interceptors
from tests.fixtures.patience import scaled, until
from tests.integration.gateway.conftest import TOKEN, Gateway

NAME = "projects/acme/datasets/dogs"


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    # Not the channel between services, which follows their health: the gateway tells it to nobody without a key.
    connection = grpc.aio.insecure_channel(gateway.target, interceptors=client_interceptors(None))
    yield connection
    await connection.close(None)


def _stub(channel: grpc.aio.Channel) -> Any:
    return dataset_service_pb2_grpc.DatasetServiceStub(channel)


async def _get(channel: grpc.aio.Channel, *metadata: tuple[str, str], name: str = NAME) -> Any:
    return await _stub(channel).GetDataset(dataset_service_pb2.GetDatasetRequest(name=name), metadata=metadata)


async def test_a_key_opens_its_project_and_the_service_learns_who_calls(
    gateway: Gateway, channel: grpc.aio.Channel
) -> None:
    forged = ("x-fiveshot-projects", "*"), ("x-fiveshot-principal", "root"), ("x-fiveshot-internal", "guess")
    answer = await _get(channel, ("x-api-key", gateway.key), *forged)
    assert answer.name == NAME
    seen = gateway.servicer.metadata[-1]
    assert seen["x-fiveshot-projects"] == "acme"
    assert seen["x-fiveshot-principal"] == "key:good"
    assert seen["x-fiveshot-internal"] == TOKEN
    assert "x-api-key" not in seen
    assert seen["x-request-id"]


async def test_a_key_may_come_as_a_bearer_token(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    assert (await _get(channel, ("authorization", f"Bearer {gateway.key}"))).name == NAME
    assert "authorization" not in gateway.servicer.metadata[-1]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((), "CREDENTIALS_MISSING"),
        ((("x-api-key", "fs_wrong"),), "API_KEY_INVALID"),
        ((("x-api-key", "expired"),), "API_KEY_EXPIRED"),
        ((("authorization", "Bearer nonsense"),), "TOKEN_INVALID"),
    ],
)
async def test_bad_credentials_are_unauthenticated_with_reason_and_remedy(
    gateway: Gateway, channel: grpc.aio.Channel, header: tuple[tuple[str, str], ...], reason: str
) -> None:
    header = tuple((name, gateway.expired_key if value == "expired" else value) for name, value in header)
    with pytest.raises(errors.Unauthenticated) as refused:
        await _get(channel, *header)
    assert refused.value.reason == reason
    assert refused.value.remedy
    assert gateway.servicer.metadata == []


async def test_another_project_is_forbidden(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    with pytest.raises(errors.PermissionDenied) as refused:
        await _get(channel, ("x-api-key", gateway.key), name="projects/rival/datasets/dogs")
    assert refused.value.reason == "PROJECT_FORBIDDEN"
    assert gateway.servicer.metadata == []


async def test_tokens_of_the_issuer(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    assert (await _get(channel, ("authorization", f"Bearer {gateway.token()}"))).name == NAME
    assert gateway.servicer.metadata[-1]["x-fiveshot-principal"] == "jwt:ada"
    words = gateway.token(projects="other acme")
    assert (await _get(channel, ("authorization", f"Bearer {words}"))).name == NAME
    for claims, word in (({"exp": 1}, "expired"), ({"aud": "else"}, "udience"), ({"iss": "https://evil"}, "ssuer")):
        with pytest.raises(errors.Unauthenticated) as refused:
            await _get(channel, ("authorization", f"Bearer {gateway.token(**claims)}"))
        assert word in refused.value.message
    with pytest.raises(errors.PermissionDenied) as forbidden:
        await _get(channel, ("authorization", f"Bearer {gateway.token(projects=[])}"))
    assert forbidden.value.reason == "TOKEN_WITHOUT_PROJECTS"


async def test_a_withdrawn_key_stops_working_in_a_moment(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    await _get(channel, ("x-api-key", gateway.key))
    api_keys.save(gateway.keys_file, [])

    async def refused() -> bool:
        try:
            await _get(channel, ("x-api-key", gateway.key))
        except errors.Unauthenticated:
            return True
        return False

    await until(refused, what="the withdrawn key's refusal")
    fresh = api_keys.new_secret()
    api_keys.save(gateway.keys_file, [api_keys.ApiKey("new", api_keys.digest(fresh), ("acme",))])
    assert (await _get(channel, ("x-api-key", fresh))).name == NAME


async def test_a_reader_looks_and_changes_nothing(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    """Over gRPC and JSON, by key and by token."""
    secret = api_keys.new_secret()
    key = api_keys.ApiKey("viewer", api_keys.digest(secret), ("acme",), role=Role.READER)
    api_keys.save(gateway.keys_file, [key])
    create = dataset_service_pb2.CreateDatasetRequest(parent="projects/acme", dataset_id="dogs")
    for credential in (("x-api-key", secret), ("authorization", f"Bearer {gateway.token(role='reader')}")):
        assert (await _get(channel, credential)).name == NAME
        with pytest.raises(errors.PermissionDenied) as refused:
            await _stub(channel).CreateDataset(create, metadata=(credential,))
        assert (refused.value.reason, refused.value.metadata["needed"]) == ("ROLE_TOO_LOW", "editor")
    headers = {"x-api-key": secret}
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}", headers=headers) as client:
        assert (await client.get(f"/v1/{NAME}")).status_code == 200
        for verb, path in (
            ("POST", "/v1/projects/acme/datasets"),
            ("DELETE", f"/v1/{NAME}"),
            ("POST", f"/v1/{NAME}%3AeditTags"),
            ("POST", "/fiveshot.dataset.v1.DatasetService/CreateDataset"),
        ):
            answer = await client.request(verb, path, json={} if verb == "POST" else None)
            assert answer.status_code == 403, (verb, path, answer.text)
            assert answer.json()["details"][0]["reason"] == "ROLE_TOO_LOW"


async def test_streams_pass_both_ways(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    header = dataset_service_pb2.UploadImageHeader(parent=NAME, file_name="a.png")
    requests = [dataset_service_pb2.UploadImageRequest(header=header)]
    requests += [dataset_service_pb2.UploadImageRequest(chunk=bytes(1024 * 1024)) for _ in range(6)]
    metadata = (("x-api-key", gateway.key),)
    image = await _stub(channel).UploadImage(iter(requests), metadata=metadata)
    assert image.size_bytes == 6 * 1024 * 1024
    name = f"{NAME}/images/one"
    chunks = _stub(channel).DownloadImage(dataset_service_pb2.DownloadImageRequest(name=name), metadata=metadata)
    assert [len(each.chunk) async for each in chunks] == [1000, 1000, 1000]


async def test_the_worker_service_is_not_reachable(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    stub: Any = worker_service_pb2_grpc.WorkerServiceStub(channel)
    with pytest.raises(errors.Unimplemented):
        await stub.AcquireJob(
            worker_service_pb2.AcquireJobRequest(worker_id="w"), metadata=(("x-api-key", gateway.key),)
        )


async def test_an_absent_service_is_unavailable(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    stub: Any = registry_service_pb2_grpc.RegistryServiceStub(channel)
    with pytest.raises(errors.Unavailable) as absent:
        await stub.ListModels(
            registry_service_pb2.ListModelsRequest(parent="projects/acme"), metadata=(("x-api-key", gateway.key),)
        )
    assert "{" not in absent.value.message


async def test_json_calls(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}", headers={"x-api-key": gateway.key}) as http:
        found = await http.get(f"/v1/{NAME}")
        assert (found.status_code, found.json()["imageCount"]) == (200, 5)
        assert found.headers["x-request-id"]
        body = {"datasetId": "cats", "dataset": {"displayName": "Cats"}}
        made = await http.post("/v1/projects/acme/datasets", json=body)
        assert made.json() == {"name": "projects/acme/datasets/cats", "displayName": "Cats"} | {
            key: value for key, value in made.json().items() if key not in ("name", "displayName")
        }


async def test_a_file_that_breaks_off_is_no_whole_one_and_nobody_waits_for_the_rest(gateway: Gateway) -> None:
    headers = {"x-api-key": gateway.key}
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}", headers=headers, timeout=scaled(30)) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"/v1/{NAME}/images/deleted:download")
        whole = await http.get(f"/v1/{NAME}/images/one:download")
        assert (len(whole.content), whole.headers["connection"]) == (3000, "close")
        assert "connection" not in (await http.get(f"/v1/{NAME}")).headers


async def test_raw_bodies(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}", headers={"x-api-key": gateway.key}) as http:
        got = await http.get(f"/v1/{NAME}/images/one:download")
        assert got.content == b"".join(bytes([number]) * 1000 for number in range(3))
        headers = {"content-type": "image/png", "content-length": "3000", "etag": '"one"'}
        assert {name: got.headers[name] for name in headers} == headers
        assert not [name for name in got.headers if name.startswith("x-fiveshot")]
        held = await http.get(f"/v1/{NAME}/images/one:download", headers={"if-none-match": '"one"'})
        assert (held.status_code, held.content) == (304, b"")
        data = bytes(range(256)) * 12 * 1024
        made = await http.post(f"/v1/{NAME}/images:upload?file_name=a.png&tags=x&tags=y", content=data)
        assert made.json()["sizeBytes"] == str(len(data))
        seen = gateway.servicer.uploaded
        assert seen is not None
        assert (seen.parent, seen.file_name, list(seen.tags)) == (NAME, "a.png", ["x", "y"])
        foreign = await http.post("/v1/projects/rival/datasets/dogs/images:upload?file_name=a.png", content=b"x")
        assert (foreign.status_code, foreign.json()["details"][0]["reason"]) == (403, "PROJECT_FORBIDDEN")


async def test_a_raw_body_over_grpc_keeps_its_frames(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    asked = dataset_service_pb2.GetImageContentRequest(name=f"{NAME}/images/one")
    call = _stub(channel).GetImageContent(asked, metadata=(("x-api-key", gateway.key),))
    assert [len(body.data) async for body in call] == [1000] * 3


async def test_json_errors_are_status_objects(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}", headers={"x-api-key": gateway.key}) as http:
        expected = {
            "/v1/projects/acme/datasets/missing": (404, 5, "NOT_FOUND"),
            "/v1/projects/rival/datasets/dogs": (403, 7, "PROJECT_FORBIDDEN"),
            "/v1/projects/ACME/datasets/dogs": (400, 3, "REQUEST_INVALID"),
            f"/v1/{NAME}?colour=red": (400, 3, "FIELD_UNKNOWN"),
            "/v1/nothing/here": (404, 5, "GATEWAY_HTTP_404"),
            "/v1/projects/acme/models": (503, 14, "GATEWAY_HTTP_503"),
        }
        for path, (status, code, reason) in expected.items():
            answer = await http.get(path)
            assert answer.headers["content-type"].startswith("application/json"), path
            body = answer.json()
            assert (answer.status_code, body["code"], body["details"][0]["reason"]) == (status, code, reason), path
            assert body["message"], path
        wrong = await http.get(f"/v1/{NAME}", headers={"x-api-key": "fs_wrong"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, 16)
        assert wrong.json()["details"][0]["reason"] == "API_KEY_INVALID"
        assert wrong.json()["details"][0]["metadata"]["remedy"]
        assert wrong.headers["content-type"] == "application/json"
        assert "Bearer" in wrong.headers["www-authenticate"]


async def test_grpc_web_calls(gateway: Gateway) -> None:
    message = dataset_service_pb2.GetDatasetRequest(name=NAME).SerializeToString()
    frame = b"\x00" + len(message).to_bytes(4, "big") + message
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "x-api-key": gateway.key}
    path = f"http://{gateway.target}/fiveshot.dataset.v1.DatasetService/GetDataset"
    async with httpx.AsyncClient() as http:
        answer = await http.post(path, content=frame, headers=headers)
        size = int.from_bytes(answer.content[1:5], "big")
        assert dataset_pb2.Dataset.FromString(answer.content[5 : 5 + size]).name == NAME
        assert b"grpc-status:0" in answer.content[5 + size :]
        refused = await http.post(path, content=frame, headers=headers | {"x-api-key": "fs_wrong"})
        assert "16" in (refused.headers.get("grpc-status", "") + refused.text)
        preflight = await http.options(
            path, headers={"origin": "https://app.example", "access-control-request-method": "POST"}
        )
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        stranger = await http.options(
            path, headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
        )
        assert "access-control-allow-origin" not in stranger.headers


async def test_a_caller_who_asks_too_often_is_slowed_alone(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    calls = [_get(channel, ("x-api-key", gateway.key)) for _ in range(150)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, errors.ResourceExhausted)]
    assert refused, {type(outcome).__name__ for outcome in outcomes}
    assert len(refused) < 150
    assert (await _get(channel, ("authorization", f"Bearer {gateway.token()}"))).name == NAME


async def test_health_says_which_services_are_missing(gateway: Gateway) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://{gateway.target}/healthz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
    services = answer.json()["services"]
    assert services.pop("dataset") == {"status": "SERVING"}
    assert services == {name: {"status": "UNREACHABLE"} for name in ("tagger", "trainer", "registry", "notifier")}


async def test_the_access_log_tells_who_called(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    await _get(channel, ("x-api-key", gateway.key), ("x-request-id", "6f1c2d3e-0000-4000-8000-000000000001"))
    log = gateway.keys_file.with_name("access.log")
    await until(lambda: log.exists() and log.read_text().strip(), what="a line in the access log")
    line = json.loads(log.read_text().splitlines()[-1])
    assert line["principal"] == "key:good"
    assert line["request_id"] == "6f1c2d3e-0000-4000-8000-000000000001"
    assert datetime.fromisoformat(line["time"]).tzinfo == UTC


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_the_gateway_describes_the_whole_api(gateway: Gateway, channel: grpc.aio.Channel, version: str) -> None:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="fiveshot.registry.v1.RegistryService"),
    ]
    listed, described = [each async for each in call(iter(asked), metadata=(("x-api-key", gateway.key),))]
    names = {service.name for service in listed.list_services_response.service}
    assert set(PUBLIC_SERVICES) <= names
    assert not any("Worker" in name for name in names)
    assert described.file_descriptor_response.file_descriptor_proto
    with pytest.raises(errors.Unauthenticated):
        [each async for each in call(iter(asked))]


@pytest.mark.parametrize("name", ["..%2F..%2Fother", "a%2fb", "a%5Cb", "a%00"])
async def test_a_path_with_an_escaped_slash_is_refused_with_a_reason(gateway: Gateway, name: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(
            f"http://{gateway.target}/v1/projects/acme/datasets/{name}", headers={"x-api-key": gateway.key}
        )
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert answer.json()["details"][0]["reason"] == "PATH_INVALID"
    assert answer.json()["details"][0]["metadata"].keys() == {"remedy"}
