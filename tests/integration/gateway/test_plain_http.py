"""What callers of plain HTTP do by habit: preconditions, packed bodies, forms, calls that are misspelt."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest
from fiveshot.dataset.v1 import dataset_service_pb2

from services.chassis.http_bodies import HEAD_KEY
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_edge import NAME, http

DATASETS = "/v1/projects/acme/datasets"


def reason(answer: httpx.Response) -> str:
    found: str = answer.json()["details"][0]["reason"]
    return found


@pytest.mark.parametrize("value", ['"5ab8"', "5ab8"])
async def test_if_match_reaches_the_service_as_the_etag(gateway: Gateway, value: str) -> None:
    async with http(gateway, **{"if-match": value}) as client:
        changed = await client.patch(f"/v1/{NAME}?updateMask=displayName", json={"displayName": "x"})
        deleted = await client.delete(f"/v1/{NAME}")
    assert (changed.status_code, deleted.status_code) == (200, 200), changed.text + deleted.text
    update, delete = gateway.servicer.requests
    assert isinstance(update, dataset_service_pb2.UpdateDatasetRequest)
    assert (update.dataset.etag, update.dataset.display_name, update.dataset.name) == ("5ab8", "x", NAME)
    assert list(update.update_mask.paths) == ["display_name"]
    assert (delete.etag, delete.name) == ("5ab8", NAME)


async def test_if_match_with_an_asterisk_asks_for_nothing(gateway: Gateway) -> None:
    async with http(gateway, **{"if-match": "*"}) as client:
        assert (await client.delete(f"/v1/{NAME}")).status_code == 200
    assert gateway.servicer.requests[-1].etag == ""


@pytest.mark.parametrize(
    ("verb", "path", "value"),
    [
        ("PATCH", f"/v1/{NAME}", '"a", "b"'),
        ("PATCH", f"/v1/{NAME}", 'W/"a"'),
        ("PATCH", f"/v1/{NAME}", '"a&force=true"'),
        ("POST", DATASETS, '"a"'),
        ("GET", f"/v1/{NAME}", '"a"'),
    ],
)
async def test_if_match_that_nobody_can_check_is_refused(gateway: Gateway, verb: str, path: str, value: str) -> None:
    async with http(gateway, **{"if-match": value}) as client:
        answer = await client.request(verb, path, content=None if verb == "GET" else b"{}")
    assert (answer.status_code, reason(answer)) == (400, "IF_MATCH_UNSUPPORTED")
    assert gateway.servicer.metadata == []


async def test_if_match_and_an_etag_in_the_query_must_be_one(gateway: Gateway) -> None:
    async with http(gateway, **{"if-match": '"5ab8"'}) as client:
        other = await client.delete(f"/v1/{NAME}?etag=0000")
        assert (other.status_code, reason(other), gateway.servicer.metadata) == (400, "QUERY_DIFFERS", [])
        assert (await client.delete(f"/v1/{NAME}?etag=5ab8")).status_code == 200
    assert gateway.servicer.requests[-1].etag == "5ab8"


@pytest.mark.parametrize("path", [DATASETS, f"/v1/{NAME}/images:upload?fileName=a.jpg"])
async def test_a_packed_body_is_refused_with_what_to_do(gateway: Gateway, path: str) -> None:
    async with http(gateway, **{"content-encoding": "gzip"}) as client:
        answer = await client.post(path, content=gzip.compress(json.dumps({"datasetId": "cats"}).encode()))
    assert (answer.status_code, reason(answer)) == (415, "CONTENT_ENCODING_UNSUPPORTED")
    assert answer.headers["accept-encoding"] == "identity"
    assert gateway.servicer.metadata == []


@pytest.mark.parametrize("path", [DATASETS, f"/v1/{NAME}/images:upload?fileName=a.jpg"])
async def test_a_form_in_parts_is_refused_with_what_to_do(gateway: Gateway, path: str) -> None:
    async with http(gateway) as client:
        answer = await client.post(path, files={"file": ("a.jpg", b"\xff\xd8")})
    assert (answer.status_code, reason(answer)) == (415, "CONTENT_TYPE_UNSUPPORTED")
    assert "--data-binary" in answer.json()["details"][0]["metadata"]["remedy"]
    assert gateway.servicer.metadata == []


@pytest.mark.parametrize(
    ("verb", "path", "message"),
    [
        ("GET", "/v1/projects/acme/trainingJobs/one:wacht",
         "There is no call :wacht here; there is :cancel, :extend, :pause, :resume, :retry, :stop, :watch"),
        ("POST", "/v1/projects/acme/models:saveEpocs", "There is no call :saveEpocs here; there is :saveEpoch"),
        ("GET", f"/v1/{NAME}/edits:undo", "There is no call :undo here"),
    ],
)  # fmt: skip
async def test_a_misspelt_call_is_told_which_there_are(gateway: Gateway, verb: str, path: str, message: str) -> None:
    async with http(gateway) as client:
        answer = await client.request(verb, path)
    assert (answer.status_code, reason(answer), answer.json()["message"]) == (404, "CALL_UNKNOWN", message)
    assert gateway.servicer.metadata == []


@pytest.mark.parametrize(
    ("path", "status"),
    [(f"/v1/{NAME}", 200), (f"/v1/{NAME}/images/one:download", 200), ("/v1/projects/acme/datasets/missing", 404)],
)
async def test_head_is_what_get_would_say_without_its_body(gateway: Gateway, path: str, status: int) -> None:
    kept = {"content-type", "content-length", "content-disposition", "etag", "cache-control"}
    async with http(gateway) as client:
        read, asked = await client.get(path), await client.head(path)
        again = await client.get(path)
    assert (read.status_code, asked.status_code, asked.content) == (status, status, b"")
    assert {name: asked.headers.get(name) for name in kept} == {name: read.headers.get(name) for name in kept}
    assert int(asked.headers["content-length"]) == len(read.content) == len(again.content) > 0


async def test_head_of_a_file_reads_none_of_it(gateway: Gateway) -> None:
    async with http(gateway) as client:
        assert (await client.head(f"/v1/{NAME}/images/one:download")).status_code == 200
        assert gateway.servicer.metadata[-1][HEAD_KEY] == "1"
        # Nobody outside tells a service so.
        whole = await client.get(f"/v1/{NAME}/images/one:download", headers={HEAD_KEY: "1"})
    assert HEAD_KEY not in gateway.servicer.metadata[-1]
    assert len(whole.content) == 3000


async def test_a_download_that_broke_off_goes_on_where_it_ended(gateway: Gateway) -> None:
    address = f"/v1/{NAME}/images/one:download"
    async with http(gateway) as client:
        whole = await client.get(address)
        assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
        headers = {"range": "bytes=1700-", "if-range": whole.headers["etag"]}
        rest = await client.get(address, headers=headers)
        assert (rest.status_code, rest.headers["content-range"]) == (206, "bytes 1700-2999/3000")
        assert (rest.content, rest.headers["content-length"]) == (whole.content[1700:], "1300")
        assert rest.headers["etag"] == whole.headers["etag"]
        # It is another file now, so the beginning is of no use.
        again = await client.get(address, headers=headers | {"if-range": '"two"'})
        assert (again.status_code, again.content) == (200, whole.content)
        last = await client.get(address, headers={"range": "bytes=-1"})
        assert (last.status_code, last.content) == (206, whole.content[-1:])


async def test_a_range_beyond_the_end_is_told_how_large_the_file_is(gateway: Gateway) -> None:
    async with http(gateway) as client:
        answer = await client.get(f"/v1/{NAME}/images/one:download", headers={"range": "bytes=3000-"})
        assert (answer.status_code, reason(answer)) == (416, "RANGE_NOT_SATISFIABLE")
        assert answer.headers["content-range"] == "bytes */3000"
        assert answer.headers["content-type"] == "application/json"
        assert (await client.get(f"/v1/{NAME}/images/one:download")).status_code == 200
