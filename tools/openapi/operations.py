"""The HTTP rule of a method as an operation of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.http_rules import HttpRule
from gateway.roles import LEAST_ROLE
from tools.openapi.schemas import REFERENCE, Schemas
from tools.openapi.source import Source, rules

Part = dict[str, Any]
_VARIABLE = re.compile(r"\{([a-z_.]+)=([^}]*)\}")
_BINARY = {"type": "string", "format": "binary"}
_ASKED_HEADERS = {
    "if-none-match": "The `etag` of what the caller has; the answer is 304 when it is still the same.",
    "range": "The part to send, `bytes=1000-`; the answer is 206, or the whole file where its length is unknown.",
    "if-range": "The `etag` of the file of which the caller has a beginning; of another one the whole is sent.",
}
_FILE_HEADERS = {
    "content-disposition": "The file's name.",
    "content-length": "Its size in bytes; a body that ends short of it is broken.",
    "etag": "Changes with the bytes; send it back as `if-none-match`.",
}


class Operations:
    """Makes operations; the schemas that they refer to gather in `schemas`."""

    def __init__(self, source: Source, schemas: Schemas) -> None:
        self._source = source
        self._schemas = schemas

    def path(self, rule: HttpRule) -> str:
        """The rule's path with a variable for each id: `/v1/projects/{project}/datasets/{dataset}`."""
        return _VARIABLE.sub(lambda found: self._segments(found[2]), rule.template)

    def operation(self, rule: HttpRule, operation_id: str) -> Part:
        """The whole operation."""
        method = rule.method
        text = self._source.comment(method)
        role = LEAST_ROLE[method.full_name]
        first = re.match(r".+?[.:](?= |$)", text)
        found: Part = {
            "operationId": operation_id,
            "tags": [method.containing_service.name],
            "summary": (first[0] if first else text).rstrip(".:"),
            "description": f"{text} Needs the role `{role}`.",
            "x-grpc-method": f"/{method.containing_service.full_name}/{method.name}",
            "x-role": str(role),
        }
        if parameters := [*self._path_parameters(rule), *self._query_parameters(rule), *_headers(rule)]:
            found["parameters"] = parameters
        if rule.body:
            found["requestBody"] = {"required": True, "content": self._body(rule)}
        found["responses"] = self._responses(rule)
        return found

    def _segments(self, pattern: str) -> str:
        """`projects/*/datasets/*` with the names that the resources give their ids."""
        parts = pattern.split("/")
        for number, part in enumerate(parts):
            if part == "*":
                parts[number] = f"{{{self._variable(parts[: number + 1])}}}"
        return "/".join(parts)

    def _variable(self, parts: list[str]) -> str:
        """The name of the last id. One of another resource serves when only the collection is the same."""
        skeleton = [re.sub(r"\{.*\}", "*", part) for part in parts]
        named = []
        for pattern in self._source.patterns:
            there = pattern.split("/")[: len(parts)]
            if [re.sub(r"\{.*\}", "*", part) for part in there] == skeleton:
                return there[-1].strip("{}")
            collections = pattern.split("/")
            if parts[-2] in collections[:-1]:
                named.append(collections[collections.index(parts[-2]) + 1].strip("{}"))
        if not named:
            raise SystemExit(f"no resource says what an id of {'/'.join(parts)} is called")
        return named[0]

    def _path_parameters(self, rule: HttpRule) -> Iterator[Part]:
        for found in _VARIABLE.finditer(rule.template):
            field = _field(rule.method.input_type, found[1])
            ids = re.findall(r"\{(\w+)\}", self._segments(found[2]))
            patterns = _id_patterns(field, found[2])
            for identifier, pattern in zip(ids, patterns, strict=True):
                schema = {"type": "string"} | ({"pattern": pattern} if pattern else {})
                text = f"Id of the {identifier.replace('_', ' ')}."
                yield {"name": identifier, "in": "path", "required": True, "description": text, "schema": schema}

    def _query_parameters(self, rule: HttpRule) -> Iterator[Part]:
        if rule.body == "*":
            return
        taken = {*rule.variables, *([rule.body] if rule.body else [])}
        yield from self._flat(rule.method.input_type, "", "", taken)

    def _flat(self, message: Descriptor, before: str, path: str, taken: set[str]) -> Iterator[Part]:
        for field in message.fields:
            if f"{path}{field.name}" in taken:
                continue
            inner = field.message_type
            if inner is not None and not inner.full_name.startswith("google.protobuf."):
                # A query holds no list of messages and no map.
                if not field.is_repeated:
                    yield from self._flat(inner, f"{before}{field.json_name}.", f"{path}{field.name}.", taken)
                continue
            schema = self._schemas.field(field)
            text = schema.pop("description", "")
            parameter: Part = {"name": f"{before}{field.json_name}", "in": "query", "description": text}
            yield parameter | {"schema": schema}

    def _body(self, rule: HttpRule) -> Part:
        if rule.takes_bytes:
            return {"application/octet-stream": {"schema": _BINARY}}
        request = rule.method.input_type
        if rule.body == "*":
            schema = self._schemas.body(request, rule.variables)
        else:
            message = rule.body_message
            assert message is not None
            schema = self._schemas.message(message)
        return {"application/json": {"schema": schema}}

    def _responses(self, rule: HttpRule) -> Part:
        answer = rule.method.output_type
        if _gives_bytes(rule):
            headers = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in _FILE_HEADERS.items()
            }
            content = {"application/octet-stream": {"schema": _BINARY}, "*/*": {"schema": _BINARY}}
            found: Part = {
                "200": {"description": "The file as it is.", "headers": headers, "content": content},
                "206": {"description": "The part that was asked for.", "headers": headers, "content": content},
                "304": {"description": "The caller has it already."},
            }
        else:
            text = self._source.comment(answer) or "Done; there is nothing to say."
            if rule.method.server_streaming:
                text = f"One JSON object a line, for as long as the call lasts; each is: {text}"
            content = {"application/json": {"schema": self._schemas.message(answer)}}
            found = {"200": {"description": text, "content": content}}
            if rule.method.server_streaming:
                found["200"]["x-stream"] = "lines"
        return found | {each: {"$ref": "#/components/responses/Error"} for each in ("4XX", "5XX")}


ERROR_RESPONSE: Part = {
    "description": "The call was refused, or failed; nothing of it was stored. `details` hold an ErrorInfo with a "
    "reason for programs and a remedy for people, and a BadRequest that names the fields that are wrong.",
    "headers": {
        "x-request-id": {"description": "Give it to the operator.", "schema": {"type": "string"}},
        "retry-after": {"description": "Seconds to wait, where waiting helps.", "schema": {"type": "string"}},
    },
    "content": {"application/json": {"schema": {"$ref": f"{REFERENCE}Status"}}},
}


def _gives_bytes(rule: HttpRule) -> bool:
    return bool(rule.method.output_type.full_name == "google.api.HttpBody")


def _headers(rule: HttpRule) -> list[Part]:
    if not _gives_bytes(rule):
        return []
    return [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in _ASKED_HEADERS.items()
    ]


def _field(message: Descriptor, path: str) -> FieldDescriptor:
    for name in path.split(".")[:-1]:
        inner = message.fields_by_name[name].message_type
        assert inner is not None
        message = inner
    found: FieldDescriptor = message.fields_by_name[path.rpartition(".")[2]]
    return found


def _id_patterns(field: FieldDescriptor, template: str) -> list[str]:
    """What each id of a name must look like, by the name's own rule; "" where it has none of the template's form."""
    parts = template.split("/")
    whole = rules(field).string.pattern.removeprefix("^").removesuffix("$")
    if whole.startswith("(projects/") and whole.endswith(")?"):
        whole = whole[1:-2]
    found = whole.split("/")
    if len(found) != len(parts) or not all(map(_is_whole, found)):
        return ["" for part in parts if part == "*"]
    return [f"^{pattern}$" for pattern, part in zip(found, parts, strict=True) if part == "*"]


def _is_whole(pattern: str) -> bool:
    """Whether a piece of a pattern is one: a group may have been cut in two."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
