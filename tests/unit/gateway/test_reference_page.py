"""The reference page: complete, every link leads somewhere, and nothing in it that its policy would stop."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

from gateway.envoy_reference import reference_routes
from gateway.reference_page import curl, page
from gateway.settings import Settings

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "gateway" / "openapi.json").read_text(encoding="utf-8")
)
PAGE = page(DOCUMENT)
MAX_GZIPPED = 100_000


def test_every_call_and_every_type_has_its_place() -> None:
    places = re.findall(r'<article id="([^"]+)"', PAGE)
    operations = {each["operationId"] for verbs in DOCUMENT["paths"].values() for each in verbs.values()}
    assert len(places) == len(set(places))
    assert set(places) == operations | set(DOCUMENT["components"]["schemas"])


def test_every_link_leads_somewhere() -> None:
    places = set(re.findall(r'\bid="([^"]+)"', PAGE))
    links = set(re.findall(r'href="([^"]+)"', PAGE))
    paths = {each["match"]["path"] for each in reference_routes(Settings())}
    assert {link for link in links if link.startswith("#") and link[1:] not in places} == set()
    assert {link for link in links if not link.startswith("#")} <= paths


def test_nothing_runs_and_nothing_comes_from_elsewhere() -> None:
    assert not re.search(r"<script|<style|\bstyle=|<[^>]*\bon\w+=|<[^>]*https?://|url\(", PAGE)


def test_what_a_comment_says_is_never_markup() -> None:
    hostile = {**DOCUMENT, "info": {**DOCUMENT["info"], "description": "<script>alert(1)</script> `<b>`"}}
    assert "<script" not in page(hostile)
    assert "<code>&lt;b&gt;</code>" in page(hostile)


def test_a_line_of_curl_says_what_the_call_needs() -> None:
    path = "/v1/projects/{project}/datasets/{dataset}/images:upload"
    assert curl("POST", path, DOCUMENT["paths"][path]["post"]) == (
        'curl -H "x-api-key: $FIVESHOT_API_KEY" --data-binary @FILE '
        '"$FIVESHOT/v1/projects/PROJECT/datasets/DATASET/images:upload"'
    )
    path = "/v1/projects/{project}/datasets/{dataset}"
    assert curl("DELETE", path, DOCUMENT["paths"][path]["delete"]).startswith("curl -X DELETE ")


def test_it_is_served_small_and_only_where_wanted() -> None:
    routes = reference_routes(Settings())
    bodies = [base64.b64decode(each["direct_response"]["body"]["inline_bytes"]) for each in routes]
    by_path = {each["match"]["path"]: body for each, body in zip(routes, bodies, strict=True)}
    assert gzip.decompress(by_path["/docs"]).decode() == PAGE
    assert len(by_path["/docs"]) < MAX_GZIPPED
    zipped, plain = bodies[:2]
    assert json.loads(gzip.decompress(zipped)) == json.loads(plain) == DOCUMENT
    assert reference_routes(Settings(reference=False)) == []
