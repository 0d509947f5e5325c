"""Hostile callers of a whole stack: forged requests to every method by every way in, and keys that may not."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import httpx
import pytest
from fiveshot.errors import BROKEN_OFF
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from grpc_status import rpc_status

from gateway.http_rules import HttpRule
from gateway.roles import LEAST_ROLE, Role
from tests.fixtures.attacked_stack import AttackedStack, furnish
from tests.fixtures.barrage import METHODS, PUBLIC_METHODS, RULES, WAYS, Barrage, raw_call
from tests.fixtures.honest_requests import honest_request
from tests.fixtures.patience import scaled

SEED = 11


@pytest.fixture(scope="module")
def stack(attacked: AttackedStack) -> AttackedStack:
    return attacked


@pytest.fixture(scope="module")
def names(stack: AttackedStack) -> list[str]:
    """Of one resource of each kind."""

    async def made() -> list[str]:
        async with stack.caller(stack.keys["editor"]) as caller:
            return await furnish(caller)

    return asyncio.run(made())


async def test_forged_requests_to_every_method_get_an_answer_that_is_no_fault(
    stack: AttackedStack, names: list[str]
) -> None:
    before = stack.pids()
    async with Barrage(stack, SEED, names) as barrage:
        await barrage.fire(range(len(WAYS) * len(METHODS)))
    assert not barrage.tally.faults
    assert barrage.tally.calls == len(WAYS) * len(METHODS)
    # They reach the services: some are what their method takes.
    assert all(barrage.tally.codes[way, "OK"] for way in WAYS)
    assert stack.pids() == before
    assert not stack.logged("Traceback", "_crashed")


async def _grpc_refusal(stack: AttackedStack, method: MethodDescriptor, request: bytes, key: str) -> str:
    """The reason for which a call was refused; the code's name without one, "OK" when it was answered."""
    metadata = (("x-api-key", key),) if key else ()
    async with grpc.aio.insecure_channel(stack.server) as channel:
        call = raw_call(channel, method, [request], metadata=metadata, timeout=scaled(30))
        try:
            await call.read()
            call.cancel()
        except grpc.aio.AioRpcError as error:
            if error.details() == BROKEN_OFF:
                return await _grpc_refusal(stack, method, request, key)
            status = rpc_status.from_call(error)  # type: ignore[arg-type]
            details = json_format.MessageToDict(status).get("details", []) if status else []
            return str(next((each["reason"] for each in details if "reason" in each), error.code().name))
        return "OK"


async def _http_refusal(stack: AttackedStack, rule: HttpRule, names: list[str], key: str) -> str:
    kind = rule.method.input_type if rule.body_message is None else rule.body_message
    said: dict[str, Any] = json_format.MessageToDict(honest_request(kind, names))
    for name in rule.variables:
        said.pop(name.rpartition(".")[2], None)
    body = said if rule.body_message is not None and not rule.takes_bytes else None
    query = {name: value for name, value in said.items() if name == "names"} if rule.body_message is None else None
    headers = {"x-api-key": key} if key else {}
    async with httpx.AsyncClient(base_url=f"http://{stack.server}", headers=headers, timeout=scaled(30)) as client:
        async with client.stream(rule.verb, _path(rule, names), json=body, params=query) as answer:
            if answer.status_code < 400:
                return "OK"
            await answer.aread()
            details = answer.json()["details"]
            return str(next((each["reason"] for each in details if "reason" in each), answer.status_code))


def _path(rule: HttpRule, names: list[str]) -> str:
    """The rule's address of something that is there."""
    verb = rule.template[rule.template.rfind("}") + 1 :]
    for address in (f"/v1/{name}{verb}" for name in names):
        if rule.pattern.fullmatch(address):
            return address
    return rule.template


def _named(method: MethodDescriptor, names: list[str]) -> bytes:
    return honest_request(method.input_type, names).SerializeToString()


CASES = [
    pytest.param("", {"CREDENTIALS_MISSING"}, id="no key"),
    pytest.param("expired", {"API_KEY_EXPIRED"}, id="an expired key"),
]


@pytest.mark.parametrize(("who", "reasons"), CASES)
async def test_no_method_is_open_to_who_is_not_known(
    stack: AttackedStack, names: list[str], who: str, reasons: set[str]
) -> None:
    key = stack.keys[who] if who else ""
    got = {
        method.full_name: await _grpc_refusal(stack, method, _named(method, names), key) for method in PUBLIC_METHODS
    }
    assert {name: reason for name, reason in got.items() if reason not in reasons} == {}
    over_http = {f"{rule.verb} {rule.template}": await _http_refusal(stack, rule, names, key) for rule in RULES}
    assert {name: reason for name, reason in over_http.items() if reason not in reasons} == {}


async def test_a_reader_is_refused_by_every_method_that_changes_something(
    stack: AttackedStack, names: list[str]
) -> None:
    wrong = {}
    for method in PUBLIC_METHODS:
        got = await _grpc_refusal(stack, method, _named(method, names), stack.keys["reader"])
        if (got == "ROLE_TOO_LOW") != (LEAST_ROLE[method.full_name] is not Role.READER):
            wrong[method.full_name] = got
    for rule in RULES:
        got = await _http_refusal(stack, rule, names, stack.keys["reader"])
        if (got == "ROLE_TOO_LOW") != (LEAST_ROLE[rule.method.full_name] is not Role.READER):
            wrong[rule.template] = got
    assert wrong == {}


# They name no project: what they tell belongs to all, or to whoever asks.
OPEN_TO_ALL = {"ListBaseModels", "GetBaseModel", "ListTaggers", "ListProjects"}
CLOSED = {"PROJECT_FORBIDDEN", "ALL_PROJECTS_NEEDED"}


async def test_a_key_of_another_project_opens_nothing_by_any_method(stack: AttackedStack, names: list[str]) -> None:
    key = stack.keys["rival"]
    asked = [each for each in PUBLIC_METHODS if each.name not in OPEN_TO_ALL]
    got = {method.full_name: await _grpc_refusal(stack, method, _named(method, names), key) for method in asked}
    rules = [each for each in RULES if each.method.name not in OPEN_TO_ALL]
    got |= {f"{rule.verb} {rule.template}": await _http_refusal(stack, rule, names, key) for rule in rules}
    assert {name: reason for name, reason in got.items() if reason not in CLOSED} == {}


async def test_every_upload_without_a_header_is_refused_by_name(stack: AttackedStack) -> None:
    uploads = [each for each in PUBLIC_METHODS if each.client_streaming]
    assert len(uploads) >= 5
    got = {}
    async with grpc.aio.insecure_channel(stack.server) as channel:
        for method in uploads:
            call = raw_call(channel, method, [], metadata=(("x-api-key", stack.keys["editor"]),), timeout=scaled(30))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
            details = json_format.MessageToDict(status).get("details", []) if status else []
            reason = next((one["reason"] for one in details if "reason" in one), "")
            got[method.full_name] = (refused.value.code(), reason)
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_HEADER_MISSING")
    assert {name: answer for name, answer in got.items() if answer != expected} == {}


BAD_TOKENS = ("e30", "....", "é", "null", "A" * 3000, "eyJhIjoxfQ.AAAA")


async def test_every_list_refuses_a_page_token_that_is_not_its_own(stack: AttackedStack, names: list[str]) -> None:
    lists = [each for each in PUBLIC_METHODS if "page_token" in each.input_type.fields_by_name]
    assert len(lists) >= 9
    wrong = {}
    for method in lists:
        for token in BAD_TOKENS:
            request: Any = honest_request(method.input_type, names)
            request.page_token = token
            got = await _grpc_refusal(stack, method, request.SerializeToString(), stack.keys["admin"])
            if got != "PAGE_TOKEN_INVALID":
                wrong[method.full_name, token[:20]] = got
    assert wrong == {}
