"""The document as a whole, and its place in the gateway, which serves it."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.http_rules import HttpRule, http_rules
from tools.openapi.operations import ERROR_RESPONSE, Operations
from tools.openapi.schemas import Schemas
from tools.openapi.source import Source

TARGET = Path(__file__).resolve().parents[2] / "gateway" / "openapi.json"
_ABOUT = """\
Five to a hundred photos become a LoRA of an image model: upload and tag them, train, look at the previews of each
epoch, keep the best.

- Every call is made with an API key or a token.
- Fields that are not set are left out of an answer: a number that is missing is 0, a list that is missing is empty.
- 64-bit numbers are strings. Unknown fields, in a body or a query, are refused by name.
- Creates take a `requestId`: a repeat with the same id gets the first answer.
- Every answer has an `x-request-id`. Errors have a reason, a remedy and the field that is wrong.
- The same methods are there over gRPC and gRPC-Web on the same port; `x-grpc-method` names them. UploadImage,
  DownloadImage, DownloadEpochFile and the like, which stream chunks, are there over gRPC alone: over HTTP a file is a
  body.
"""


@functools.cache
def text() -> str:
    """The document as it is checked in: one value a line, so that a difference can be read."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def check() -> None:
    """Raises SystemExit when the document that is checked in is another one."""
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text():
        raise SystemExit("gateway/openapi.json is stale; run `make protos`")


def document() -> dict[str, Any]:
    """An OpenAPI 3.1 document of the methods that callers reach over HTTP."""
    source = Source()
    schemas = Schemas(source)
    operations = Operations(source, schemas)
    paths: dict[str, Any] = {}
    rules = http_rules(PUBLIC_SERVICES)
    for rule, name in zip(rules, _operation_ids(rules), strict=True):
        at = paths.setdefault(operations.path(rule), {})
        at[rule.verb.lower()] = operations.operation(rule, name)
    services = [source.pool.FindServiceByName(name) for name in PUBLIC_SERVICES]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fiveshot",
            "version": "v1",
            "summary": "LoRAs of image models from 5 to 100 photos",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that served this document."}],
        "security": [{"apiKey": []}, {"token": []}],
        "tags": [{"name": each.name, "description": source.comment(each)} for each in services],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "token": {"type": "http", "scheme": "bearer", "description": "A JSON Web Token, or an API key."},
            },
            "responses": {"Error": ERROR_RESPONSE},
            "schemas": dict(sorted(schemas.found.items())),
        },
    }


def _operation_ids(rules: list[HttpRule]) -> list[str]:
    """The method's name; with its service's where several have it, and a number where it has several paths."""
    methods = {(rule.method.containing_service.name, rule.method.name) for rule in rules}
    shared = Counter(name for _, name in methods)
    times: Counter[str] = Counter()
    found = []
    for rule in rules:
        name = rule.method.name
        if shared[name] > 1:
            name = f"{rule.method.containing_service.name.removesuffix('Service')}{name}"
        times[name] += 1
        found.append(name if times[name] == 1 else f"{name}{times[name]}")
    return found
