"""The Lua filter before the authorization: its facts, out of the settings and the API's descriptors; see edge.lua."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

from gateway.envoy_replies import BY_REASON, EDGE_SPACE, IN_OTHER_WORDS, UNREAD, in_trailers, status_of
from gateway.http_rules import HttpRule
from gateway.query_names import lua_tables, plain
from gateway.sessions import CONSOLE_HEADER, COOKIE
from gateway.settings import Settings
from services.chassis.request_context import ADDRESS_KEY

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
_CREDENTIAL_NAMES = (
    "x-api-key", "api_key", "key", "token", "access_token", "id_token", "auth", "authorization", "bearer", "secret",
    "password", "x-fiveshot-internal", "x-fiveshot-projects", "x-fiveshot-principal", "x-fiveshot-role",
)  # fmt: skip
# Entries are some hundred bytes each, and there is one memory for each thread.
_KEEP_ENTRIES = 10_000


def edge(settings: Settings, rules: Iterable[HttpRule], health_path: str) -> Config:
    """The filter. health_path: put to the authorization process without a limit of its own."""
    rules = list(rules)
    facts = [
        f"local KEEP_MS = {round(settings.authorization_kept_s * 1000)}",
        f"local KEEP_ENTRIES = {_KEEP_ENTRIES}",
        f"local HEALTH_PATH = {json.dumps(health_path)}",
        f"local MAX_BODY_BYTES = {settings.max_upload_mb * 1024 * 1024}",
        f"local MAX_JSON_BYTES = {settings.max_json_kb * 1024}",
        f"local MAX_HEADER_BYTES = {settings.max_header_kb * 1024}",
        f"local SESSION_COOKIE = {json.dumps(COOKIE)}",
        f"local CONSOLE_HEADER = {json.dumps(CONSOLE_HEADER)}",
        f"local ADDRESS_HEADER = {json.dumps(ADDRESS_KEY)}",
        f"local REFUSED = {_refusals()}",
        f"local IN_OTHER_WORDS = {_other_words()}",
        f"local CREDENTIAL_NAMES = {_set(_CREDENTIAL_NAMES)}",
        f"local PATH_VARIABLES = {_set(path_variables(rules))}",
        lua_tables(rules),
    ]
    source = resources.files("gateway").joinpath("edge.lua").read_text(encoding="utf-8")
    return {
        "name": "edge",
        "typed_config": {
            "@type": f"{_TYPE}.lua.v3.Lua",
            "default_source_code": {"inline_string": "\n".join([*facts, source])},
        },
    }


def unless_known() -> Config:
    """Matches calls that the filter has not answered from memory."""
    return {"filter": EDGE_SPACE, "path": [{"key": "known"}], "value": {"bool_match": True}, "invert": True}


def path_variables(rules: Iterable[HttpRule]) -> set[str]:
    """Every field that some path sets. A query with one of them would replace what the path says."""
    return {variable for rule in rules for variable in rule.variables}


def _refusals() -> str:
    entries = (
        f"{reason} = {{status = {json.dumps(str(reply.status))}, message = {json.dumps(reply.message)}}}"
        for reason, reply in BY_REASON.items()
    )
    return "{" + ", ".join(entries) + "}"


def _other_words() -> str:
    entries = []
    for status, words, reason in IN_OTHER_WORDS:
        reply = UNREAD[reason]
        said = (str(status), words, str(reply.code), reply.message, in_trailers(status_of(reply, reason)))
        entries.append("{" + ", ".join(map(json.dumps, said)) + "}")
    return "{" + ", ".join(entries) + "}"


def _set(names: Iterable[str]) -> str:
    """By their plain spelling the names as they are."""
    found = sorted((plain(each), each) for each in names)
    return "{" + ", ".join(f"[{json.dumps(key)}] = {json.dumps(name)}" for key, name in found) + "}"
