"""The console's files: Envoy answers with them out of its own configuration, so that nothing else need serve them.

They are built from gateway/console/src and checked in under gateway/console/dist. The page itself is asked for anew at
each visit; what it loads carries a digest in its name and is kept for good. Both are for everybody: what is worth
protecting comes through the API.
"""

from __future__ import annotations

import base64
import gzip
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from gateway.settings import Settings

Config = dict[str, Any]
MAX_FILE_BYTES = 2 * 1024 * 1024
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:",
        "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
_FOR_GOOD = "public, max-age=31536000, immutable"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def console_routes(settings: Settings) -> list[Config]:
    """A route for each file of the console."""
    dist = resources.files("gateway").joinpath("console/dist")
    if not settings.console:
        return []
    index = dist.joinpath("index.html")
    found = [file_route(settings, "/", _kind(index), index.read_bytes(), "no-store")]
    for file in sorted(dist.joinpath("assets").iterdir(), key=lambda each: (_kind(each), each.name)):
        route = file_route(settings, f"/assets/{file.name}", _kind(file), file.read_bytes(), _FOR_GOOD)
        found.append(route)
    return found


def file_route(
    settings: Settings, path: str, content_type: str, content: bytes, cache: str, *,
    policy: str = CONTENT_SECURITY_POLICY, zipped: bool = True,
) -> Config:  # fmt: skip
    """A route that answers with a file, to everybody. cache: its `cache-control`. zipped: as gzip, which every browser
    takes."""
    # mtime 0: the same file gives the same configuration.
    body = gzip.compress(content, 9, mtime=0) if zipped else content
    headers = {
        "content-type": content_type,
        **({"content-encoding": "gzip"} if zipped else {}),
        "cache-control": cache,
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
    }
    looks = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    skipped = ("ext_authz", "body_limit", "grpc_json_transcoder", *(["json_check"] if settings.check_json else []))
    return {
        "match": {"path": path, "headers": [looks]},
        "direct_response": {"status": 200, "body": {"inline_bytes": base64.b64encode(body).decode("ascii")}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
        "typed_per_filter_config": dict.fromkeys(skipped, off),
    }


def _kind(file: Traversable) -> str:
    return _KINDS["." + file.name.rpartition(".")[2]]
