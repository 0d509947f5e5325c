"""What a query may say, and what the gateway answers to a wrong one."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.patience import until
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_edge import NAME, http, violations

PATH_NAMES = ("dataset.name", "name", "parent")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("x-api-key={key}", "CREDENTIALS_IN_QUERY"),
        ("api_key=abc", "CREDENTIALS_IN_QUERY"),
        ("apiKey=abc", "CREDENTIALS_IN_QUERY"),
        ("access_token=abc", "CREDENTIALS_IN_QUERY"),
        ("filter={key}", "CREDENTIALS_IN_QUERY"),
        ("%61pi%5Fkey=abc", "CREDENTIALS_IN_QUERY"),
        ("name=projects/rival/datasets/dogs", "QUERY_OVERRIDES_PATH"),
        ("n%61me=projects/rival/datasets/dogs", "QUERY_OVERRIDES_PATH"),
        ("parent=projects/rival", "QUERY_OVERRIDES_PATH"),
        ("dataset.name=projects/rival/datasets/dogs", "QUERY_OVERRIDES_PATH"),
        ("x=1&name=projects/rival/datasets/dogs", "QUERY_OVERRIDES_PATH"),
        ("name=projects/rival/datasets/dogs&parent=projects/rival", "QUERY_OVERRIDES_PATH"),
    ],
)
async def test_a_query_holds_neither_credentials_nor_what_the_path_says(
    gateway: Gateway, query: str, reason: str
) -> None:
    address = f"/v1/{NAME}?{query.format(key=gateway.key)}"
    async with http(gateway) as client:
        answer = await client.get(address)
    assert (answer.status_code, answer.json()["details"][0]["reason"]) == (400, reason)
    named = violations(answer.json())
    given = [pair.partition("=")[0] for pair in query.replace("%61", "a").split("&")]
    assert list(named) == ([name for name in given if name in PATH_NAMES] if reason == "QUERY_OVERRIDES_PATH" else [])
    assert gateway.key not in answer.text
    assert gateway.servicer.metadata == []
    log = gateway.keys_file.with_name("access.log")
    await until(lambda: log.exists() and log.read_text().strip(), what="a line in the access log")
    line = json.loads(log.read_text().splitlines()[-1])
    assert line["path"] == f"/v1/{NAME}"
    assert gateway.key not in log.read_text()


@pytest.mark.parametrize(
    ("verb", "path", "query", "named"),
    [
        ("GET", "datasets", "foo=1&pageSiz=2&page_size=many", {
            "foo": "There is no such field", "pageSiz": "There is no such field. Did you mean pageSize?",
            "page_size": "must be a whole number",
        }),
        ("GET", "datasets", "orderby=create_time", {"orderby": "There is no such field. Did you mean orderBy?"}),
        ("DELETE", "datasets/dogs", "force=maybe&etag=x", {"force": "must be true or false"}),
        ("GET", "datasets/dogs/images/i:download", "view=SMALL", {
            "view": "must be one of VIEW_UNSPECIFIED, VIEW_ORIGINAL, VIEW_THUMBNAIL, VIEW_CROP, VIEW_MASK",
        }),
        ("POST", "datasets/dogs/images:upload", "file_nam=x", {
            "file_nam": "There is no such field. Did you mean fileName?",
        }),
        ("GET", "datasets", "pageSize=2147483648&page_size=-3000000000", {
            "pageSize": "is too large a number", "page_size": "is too large a number",
        }),
        ("GET", "datasets", "%22%0a=1", {"%22%0a": "There is no such field"}),
    ],
)  # fmt: skip
async def test_a_query_is_refused_with_every_name_and_value_that_the_method_does_not_take(
    gateway: Gateway, verb: str, path: str, query: str, named: dict[str, str]
) -> None:
    async with http(gateway) as client:
        answer = await client.request(verb, f"/v1/projects/acme/{path}?{query}")
    assert answer.status_code == 400, answer.text
    assert violations(answer.json()) == named
    unknown = any(each.startswith("There is no such field") for each in named.values())
    assert answer.json()["details"][0]["reason"] == ("FIELD_UNKNOWN" if unknown else "FIELD_TYPE_WRONG")
    assert gateway.servicer.metadata == []


@pytest.mark.parametrize("query", ["pageSize=2&page_size=2&filter=a%3Db&order_by=x", "pageToken=", "orderBy=+a", ""])
async def test_what_a_method_takes_passes_in_both_spellings(gateway: Gateway, query: str) -> None:
    async with http(gateway) as client:
        assert (await client.get(f"/v1/projects/acme/datasets?{query}")).status_code in (200, 501)


async def test_the_access_log_has_the_callers_path_without_its_query(gateway: Gateway) -> None:
    async with http(gateway) as client:
        assert (await client.get("/v1/projects/acme/datasets?filter=secretish")).status_code in (200, 501)
    log = gateway.keys_file.with_name("access.log")
    await until(lambda: log.exists() and log.read_text().strip(), what="a line in the access log")
    assert json.loads(log.read_text().splitlines()[-1])["path"] == "/v1/projects/acme/datasets"
    assert "secretish" not in log.read_text()


async def test_a_query_that_gives_one_field_two_values_is_refused(gateway: Gateway) -> None:
    async with http(gateway) as client:
        for verb, path, query, named in (
            ("GET", "datasets", "pageSize=1&pageSize=2", ["pageSize"]),
            ("GET", "datasets", "page_size=1&pageSize=2&filter=a&filter=b&filter=c", ["filter", "pageSize"]),
            ("GET", "datasets", "filter=a&filter=", ["filter"]),
            ("GET", "datasets/dogs/images/i:download", "view=VIEW_CROP&view=1", ["view"]),
            ("PATCH", "datasets/dogs", "updateMask=displayName&update_mask=triggerWord", ["update_mask"]),
            ("POST", "datasets/dogs/images:upload", "file_name=a.jpg&fileName=b.jpg", ["fileName"]),
            ("DELETE", "datasets/dogs", "force=true&force=false", ["force"]),
        ):
            answer = await client.request(verb, f"/v1/projects/acme/{path}?{query}")
            assert (answer.status_code, answer.json()["details"][0]["reason"]) == (400, "QUERY_DIFFERS"), query
            assert sorted(violations(answer.json())) == named
    assert gateway.servicer.metadata == []


async def test_a_query_may_say_the_same_twice_and_a_list_several_things(gateway: Gateway) -> None:
    async with http(gateway) as client:
        same = await client.delete(f"/v1/{NAME}?etag=a%20b&etag=a+b&force=true&force=true")
        several = await client.post(f"/v1/{NAME}/images:upload?file_name=a.jpg&tags=cat&tags=grey", content=b"x")
    assert (same.status_code, several.status_code) == (200, 200), same.text + several.text
    assert (gateway.servicer.requests[-1].etag, gateway.servicer.requests[-1].force) == ("a b", True)
    assert list(gateway.servicer.uploaded.tags) == ["cat", "grey"]
