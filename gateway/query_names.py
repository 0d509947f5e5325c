"""What may stand in the query of a JSON call, of every method: facts for edge.lua, out of the API's descriptors.

Envoy's transcoder refuses a name that it does not know as well, but tells the first one only, and in prose.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.http_rules import HttpRule

# These have a form of their own in a query; the transcoder reads them.
_OPAQUE = "google."
_DEPTH = 3
_VARIABLE = re.compile(r"\{[a-z_.]+(?:=([^}]*))?\}")
_KINDS = {
    FieldDescriptor.CPPTYPE_INT32: "int32",
    FieldDescriptor.CPPTYPE_INT64: "int64",
    FieldDescriptor.CPPTYPE_UINT32: "uint32",
    FieldDescriptor.CPPTYPE_UINT64: "uint64",
    FieldDescriptor.CPPTYPE_BOOL: "bool",
}
OPEN, MAP = "open", "map"
"""Kinds of fields in which any name may follow a dot. Of an enum the kind is its values: `|VIEW_CROP|VIEW_MASK|`."""


def plain(name: str) -> str:
    """A name without the marks by which its spellings differ: `apiKey`, `api-key` and `api_key` are one."""
    return re.sub("[-_]", "", name.lower())


def shape(template: str) -> str:
    """A template as edge.lua sees its calls, an asterisk for each id: `projects/*/datasets/*:audit`."""
    path = _VARIABLE.sub(lambda found: found[1] or "*", template)
    parts = path.removeprefix("/v1/").split("/")
    marked = (part if number % 2 == 0 else re.sub(r"^[^:]*", "*", part) for number, part in enumerate(parts))
    return "/".join(marked)


def query_fields(message: Descriptor) -> dict[str, tuple[str, str, bool]]:
    """By its plain name, with dots, each field that a query can set: its name in JSON, its kind or "", and whether it
    is a list, which may be given several times."""
    return {plain(name): (name, kind, many) for name, kind, many in _fields(message, "", _DEPTH)}


def etag_fields(rule: HttpRule) -> list[str]:
    """The field, if there is one, by which a method that changes a resource is told its etag."""
    body = rule.body_message if rule.verb == "PATCH" and rule.body != "*" else None
    if "etag" in rule.method.input_type.fields_by_name:
        return ["etag"]
    return [f"{rule.body}.etag"] if body is not None and "etag" in body.fields_by_name else []


def lua_tables(rules: Sequence[HttpRule]) -> str:
    """Lua statements: QUERY_FIELDS, by the request's message; QUERIES, `GET projects/*` -> {method, message, etag};
    VERBS, `projects/*` -> `GET, HEAD, PATCH`; HEAD goes where GET does, but for watches. etag: the parameter for it,
    `dataset.etag`; absent where there is none. BYTES, the calls among them whose body is a file."""
    messages: dict[str, Descriptor] = {}
    calls: dict[str, tuple[str, ...]] = {}
    verbs: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        request = rule.method.input_type
        messages[request.full_name] = request
        calls[f"{rule.verb} {shape(rule.template)}"] = (rule.method.name, request.full_name, *etag_fields(rule))
        verbs[shape(rule.template)].add(rule.verb)
        if rule.verb == "GET" and not _endless(rule):
            calls[f"HEAD {shape(rule.template)}"] = calls[f"GET {shape(rule.template)}"]
            verbs[shape(rule.template)].add("HEAD")
    lines = ["local QUERY_FIELDS = {}"]
    for name, message in sorted(messages.items()):
        fields = ", ".join(
            f"[{_q(key)}] = {{{_q(shown)}, {_q(kind)}{', true' * many}}}"
            for key, (shown, kind, many) in _sorted(message)
        )
        lines.append(f"QUERY_FIELDS[{_q(name)}] = {{{fields}}}")
    lines.append("local QUERIES = {")
    lines += [f"  [{_q(call)}] = {{{', '.join(map(_q, facts))}}}," for call, facts in sorted(calls.items())]
    lines += ["}", "local VERBS = {"]
    lines += [f"  [{_q(path)}] = {_q(', '.join(sorted(found)))}," for path, found in sorted(verbs.items())]
    files = [f"{rule.verb} {shape(rule.template)}" for rule in rules if rule.takes_bytes]
    lines += ["}", "local BYTES = {"]
    lines += [f"  [{_q(call)}] = true," for call in sorted(files)]
    return "\n".join([*lines, "}"])


def _endless(rule: HttpRule) -> bool:
    """Whether the answer is a stream of lines, which ends when something has come to its end."""
    return bool(rule.method.server_streaming) and rule.method.output_type.full_name != "google.api.HttpBody"


def _sorted(message: Descriptor) -> list[tuple[str, tuple[str, str, bool]]]:
    return sorted(query_fields(message).items())


def _fields(message: Descriptor, prefix: str, depth: int) -> Iterator[tuple[str, str, bool]]:
    for field in message.fields:
        name = prefix + field.json_name
        inner: Descriptor | None = field.message_type
        if inner is None:
            yield name, _kind(field), field.is_repeated
        elif inner.GetOptions().map_entry:
            yield name, MAP, False
        elif inner.full_name.startswith(_OPAQUE) or depth == 1:
            yield name, OPEN, field.is_repeated
        else:
            yield name, "", False
            yield from _fields(inner, f"{name}.", depth - 1)


def _kind(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"|{'|'.join(value.name for value in field.enum_type.values)}|"
    return _KINDS.get(field.cpp_type, "")


def _q(text: str) -> str:
    return json.dumps(text)
