"""The API's reference: `/openapi.json` for programs, `/docs` for people. Envoy answers with both, as with the console.

The document is generated from the protos (tools/openapi) and checked in; the page is made of it here, and is plain HTML
without a script, so that its policy can forbid them.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from gateway.envoy_console import file_route
from gateway.reference_page import STYLE, page
from gateway.settings import Settings

Config = dict[str, Any]
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_CACHE = "public, no-cache"


def reference_routes(settings: Settings) -> list[Config]:
    """The routes of the document, the page and its style."""
    if not settings.reference:
        return []
    document = json.loads(resources.files("gateway").joinpath("openapi.json").read_text(encoding="utf-8"))
    small = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    as_json = [
        file_route(settings, "/openapi.json", "application/json", small, _CACHE, policy=_POLICY, zipped=zipped)
        for zipped in (True, False)
    ]
    # Programs do not all take gzip.
    as_json[0]["match"]["headers"].append({"name": "accept-encoding", "string_match": {"contains": "gzip"}})
    for route in as_json:
        added = {"key": "vary", "value": "accept-encoding"}
        route["response_headers_to_add"].append({"header": added, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
    html, css = "text/html; charset=utf-8", "text/css; charset=utf-8"
    return [
        *as_json,
        file_route(settings, "/docs", html, page(document).encode(), _CACHE, policy=_POLICY),
        file_route(settings, "/docs/style.css", css, STYLE.encode(), _CACHE, policy=_POLICY),
    ]
