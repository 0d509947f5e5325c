"""Who is calling: keys, tokens, refusals, and the answers in Envoy's form."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fiveshot.gateway.v1 import external_auth_pb2 as pb
from google.rpc import status_pb2

from gateway import api_keys
from gateway.authz import AuthorizationServicer, Authorizer
from gateway.check_answers import Caller, allowed, denied
from gateway.envoy_filters import JWT_FILTER
from gateway.roles import Role
from services.chassis import grpc_errors
from services.chassis.errors import DomainError, PermissionDenied, Unauthenticated

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY, OLD_KEY = "fs_good", "fs_old"


@pytest.fixture
def authorizer(tmp_path: Path) -> Authorizer:
    path = tmp_path / "keys.yaml"
    api_keys.save(
        path,
        [
            api_keys.ApiKey("good", api_keys.digest(KEY), ("acme", "beta")),
            api_keys.ApiKey("old", api_keys.digest(OLD_KEY), ("acme",), datetime(2026, 1, 1, tzinfo=UTC)),
        ],
    )
    return Authorizer(api_keys.ApiKeyFile(path), projects_claim="projects", now=lambda: NOW)


@pytest.mark.parametrize(
    ("headers", "verdict", "caller"),
    [
        ({"x-api-key": KEY}, {}, Caller("key:good", ("acme", "beta"))),
        ({"authorization": f"Bearer {KEY}"}, {}, Caller("key:good", ("acme", "beta"))),
        ({"authorization": f"bearer {KEY}"}, {}, Caller("key:good", ("acme", "beta"))),
        ({"authorization": "Bearer t"}, {"payload": {"sub": "a", "projects": ["acme"]}}, Caller("jwt:a", ("acme",))),
        ({}, {"payload": {"sub": "ada", "projects": "acme, beta"}}, Caller("jwt:ada", ("acme", "beta"))),
        ({}, {"payload": {"sub": "a\nb", "projects": ["acme", "../x", 7]}}, Caller("jwt:a?b", ("acme",))),
        ({"x-api-key": KEY}, {"payload": {"sub": "ada", "projects": ["*"]}}, Caller("key:good", ("acme", "beta"))),
    ],
)
def test_callers(authorizer: Authorizer, headers: dict[str, str], verdict: Mapping[str, Any], caller: Caller) -> None:
    assert authorizer.identify(headers, verdict) == caller


@pytest.mark.parametrize(
    ("headers", "verdict", "kind", "reason"),
    [
        ({}, {}, Unauthenticated, "CREDENTIALS_MISSING"),
        ({"authorization": "Basic abc"}, {}, Unauthenticated, "CREDENTIALS_MISSING"),
        ({"x-api-key": "fs_bad"}, {}, Unauthenticated, "API_KEY_INVALID"),
        ({"x-api-key": OLD_KEY}, {}, Unauthenticated, "API_KEY_EXPIRED"),
        ({"authorization": "Bearer t"}, {"failure": {"message": "Jwt is expired"}}, Unauthenticated, "TOKEN_INVALID"),
        ({"authorization": "Bearer t"}, {}, Unauthenticated, "TOKEN_INVALID"),
        ({}, {"payload": {"sub": "ada"}}, PermissionDenied, "TOKEN_WITHOUT_PROJECTS"),
        ({}, {"payload": {"sub": "ada", "projects": {"a": 1}}}, PermissionDenied, "TOKEN_WITHOUT_PROJECTS"),
        ({}, {"payload": {"projects": ["acme"], "role": "owner"}}, PermissionDenied, "TOKEN_WITHOUT_ROLE"),
        ({}, {"payload": {"projects": ["acme"], "role": []}}, PermissionDenied, "TOKEN_WITHOUT_ROLE"),
        ({}, {"payload": {"projects": ["acme"], "role": 7}}, PermissionDenied, "TOKEN_WITHOUT_ROLE"),
    ],
)
def test_refusals_say_what_to_do(
    authorizer: Authorizer, headers: dict[str, str], verdict: Mapping[str, Any], kind: type[DomainError], reason: str
) -> None:
    with pytest.raises(kind) as refused:
        authorizer.identify(headers, verdict)
    assert refused.value.reason == reason
    assert refused.value.remedy
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("claim", "payload", "role"),
    [
        ("role", {}, Role.EDITOR),
        ("role", {"role": "reader"}, Role.READER),
        ("role", {"role": ["viewer", "reader", "admin"]}, Role.ADMIN),
        ("role", {"role": "editor reader"}, Role.EDITOR),
        ("realm_access.roles", {"realm_access": {"roles": ["reader"]}}, Role.READER),
        ("https://issuer.example/role", {"https://issuer.example/role": "admin"}, Role.ADMIN),
    ],
)
def test_the_role_of_a_token(tmp_path: Path, claim: str, payload: dict[str, Any], role: Role) -> None:
    keys = api_keys.ApiKeyFile(tmp_path / "none.yaml")
    authorizer = Authorizer(keys, projects_claim="projects", role_claim=claim)
    assert authorizer.identify({}, {"payload": {"projects": ["acme"], **payload}}).role == role


async def test_a_role_that_is_too_low_is_named_with_the_one_that_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    api_keys.save(path, [api_keys.ApiKey("look", api_keys.digest(KEY), ("acme",), role=Role.READER)])
    authorizer = Authorizer(api_keys.ApiKeyFile(path), projects_claim="projects")
    servicer = AuthorizationServicer(authorizer, internal_token="")
    request = pb.CheckRequest()
    request.attributes.request.http.headers["x-api-key"] = KEY
    request.attributes.request.http.method = "POST"
    request.attributes.request.http.path = "/fiveshot.dataset.v1.DatasetService/ListDatasets"
    assert (await servicer.check(request, None)).status.code == 0
    request.attributes.request.http.path = "/fiveshot.dataset.v1.DatasetService/CreateDataset"
    refused = await servicer.check(request, None)
    assert (refused.status.code, refused.denied_response.status.code) == (7, 403)
    info = json.loads(refused.denied_response.body)["details"][0]
    assert (info["reason"], info["metadata"]["needed"]) == ("ROLE_TOO_LOW", "editor")


def test_a_permission_names_the_caller_and_takes_the_credential_away() -> None:
    answer = allowed(Caller("key:good", ("beta", "acme")), "inside").ok_response
    added = {option.header.key: option.header.value for option in answer.headers}
    assert added == {
        "x-fiveshot-projects": "acme,beta",
        "x-fiveshot-principal": "key:good",
        "x-fiveshot-role": "editor",
        "x-fiveshot-internal": "inside",
    }
    overwrite = pb.HeaderValueOption.APPEND_ACTION_OVERWRITE_IF_EXISTS_OR_ADD
    assert all(option.append_action == overwrite for option in answer.headers)
    assert set(answer.headers_to_remove) == {"x-api-key", "authorization", "cookie"}


def test_a_refusal_carries_the_status_for_each_kind_of_caller() -> None:
    error = Unauthenticated("No", reason="API_KEY_INVALID", remedy="Check it.")
    rpc = denied(error, wants_grpc=True).denied_response
    (details,) = [option.header.value for option in rpc.headers if option.header.key == "grpc-status-details-bin"]
    padded = details + "=" * (-len(details) % 4)
    found = grpc_errors.from_proto(status_pb2.Status.FromString(base64.b64decode(padded)))
    assert (type(found), found.reason, found.remedy) == (Unauthenticated, "API_KEY_INVALID", "Check it.")
    web = denied(error, wants_grpc=False)
    assert (web.denied_response.status.code, web.status.code) == (401, 16)
    assert json.loads(web.denied_response.body)["details"][0]["reason"] == "API_KEY_INVALID"
    assert denied(PermissionDenied("No"), wants_grpc=True).denied_response.status.code == 403


async def test_the_service_reads_headers_and_the_filters_verdict(authorizer: Authorizer) -> None:
    servicer = AuthorizationServicer(authorizer, internal_token="")
    request = pb.CheckRequest()
    request.attributes.request.http.method = "GET"
    request.attributes.request.http.path = "/v1/projects/acme/datasets"
    request.attributes.request.http.headers["authorization"] = "Bearer token"
    verdict = request.attributes.metadata_context.filter_metadata[JWT_FILTER]
    verdict.update({"payload": {"sub": "ada", "projects": ["acme"]}})
    answer = await servicer.check(request, None)
    assert answer.status.code == 0
    assert {option.header.key for option in answer.ok_response.headers} == {
        "x-fiveshot-projects",
        "x-fiveshot-principal",
        "x-fiveshot-role",
    }
    refused = await servicer.check(pb.CheckRequest(), None)
    assert refused.status.code == 16
