"""Messages as JSON Schema, in the JSON form of protobuf: https://protobuf.dev/programming-guides/json/."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from tools.openapi.limits import must_be_set, narrowed
from tools.openapi.source import Behaviour, Source, behaves, cel_messages, rules

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"
_F = FieldDescriptor
_NUMBERS: dict[int, Schema] = {
    _F.TYPE_INT32: {"type": "integer", "format": "int32"},
    _F.TYPE_SINT32: {"type": "integer", "format": "int32"},
    _F.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    _F.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    _F.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"},
    _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _F.TYPE_FLOAT: {"type": "number", "format": "float"},
    _F.TYPE_BOOL: {"type": "boolean"},
}
_SCALARS: dict[int, Schema] = _NUMBERS | {
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["displayName,labels"]},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "required": ["@type"],
        "properties": {
            "@type": {"type": "string", "description": "`type.googleapis.com/` and the message's full name."}
        },
        "additionalProperties": True,
    },
    "google.rpc.Status": {"$ref": f"{REFERENCE}Status"},
}
ERRORS: dict[str, Schema] = {
    "Status": {
        "type": "object",
        "description": "Why a call failed.",
        "properties": {
            "code": {"type": "integer", "format": "int32", "description": "A google.rpc.Code: 5 is NOT_FOUND."},
            "message": {"type": "string", "description": "What happened, for people."},
            "details": {"type": "array", "items": {"$ref": f"{REFERENCE}ErrorDetail"}},
        },
    },
    "ErrorDetail": {
        "type": "object",
        "description": "One detail of an error; which fields it has depends on `@type`.",
        "required": ["@type"],
        "properties": {
            "@type": {
                "type": "string",
                "description": "`type.googleapis.com/google.rpc.` and ErrorInfo, BadRequest, RetryInfo, QuotaFailure, "
                "PreconditionFailure or another of google/rpc/error_details.proto.",
            },
            "reason": {"type": "string", "description": "Of ErrorInfo: stable, UPPER_SNAKE_CASE."},
            "domain": {"type": "string", "description": "Of ErrorInfo: whose reason it is."},
            "metadata": {
                "type": "object",
                "description": "Of ErrorInfo: `remedy` says what to do.",
                "additionalProperties": {"type": "string"},
            },
            "fieldViolations": {
                "type": "array",
                "description": "Of BadRequest: the fields that are wrong.",
                "items": {
                    "type": "object",
                    "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                },
            },
            "retryDelay": {**_WELL_KNOWN["google.protobuf.Duration"], "description": "Of RetryInfo: how long to wait."},
        },
        "additionalProperties": True,
    },
}  # fmt: skip


class Schemas:
    """Collects the schemas that were referred to, by the names under which they stand in the document."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._owners: dict[str, Any] = dict.fromkeys(ERRORS)
        self.found: dict[str, Schema] = dict(ERRORS)

    def message(self, message: Descriptor) -> Schema:
        """A reference to a message, or what stands for it in JSON."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        if message.full_name.startswith("google."):
            raise SystemExit(f"the OpenAPI document has no schema yet for {message.full_name}")
        return self._named(_short(message), message, lambda: self._object(message))

    def body(self, message: Descriptor, without: Collection[str]) -> Schema:
        """A reference to a request as the body of a call, without the fields that the path sets."""
        name = f"{message.name.removesuffix('Request')}Body"
        return self._named(name, message, lambda: self._object(message, without))

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value with its limits and its comment."""
        schema = self._described(self._bare(field), self._text(field))
        schema = narrowed(schema, rules(field))
        if behaves(field, Behaviour.OUTPUT_ONLY):
            schema = _beside(schema, {"readOnly": True})
        if behaves(field, Behaviour.INPUT_ONLY):
            schema = _beside(schema, {"writeOnly": True})
        return schema

    def _bare(self, field: FieldDescriptor) -> Schema:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self._single(message.fields_by_name["value"])}
        single = self._single(field)
        return {"type": "array", "items": single} if field.is_repeated else single

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _enum(self, enum: EnumDescriptor) -> Schema:
        def made() -> Schema:
            lines = [self._source.comment(enum), ""]
            lines += [f"- `{value.name}`: {self._source.value_comment(value)}" for value in enum.values]
            return {"type": "string", "description": "\n".join(lines), "enum": [value.name for value in enum.values]}

        return self._named(_short(enum), enum, made)

    def _object(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        fields = [field for field in message.fields if field.name not in without]
        text = " ".join(
            [self._source.comment(message), *self._choices(message), *map(_sentence, cel_messages(message))]
        )
        found: Schema = {"type": "object", "description": text.strip()}
        if fields:
            found["properties"] = {field.json_name: self.field(field) for field in fields}
        required = [field.json_name for field in fields if _is_required(field)]
        if required:
            found["required"] = required
        return found

    def _choices(self, message: Descriptor) -> list[str]:
        found = []
        for choice in message.oneofs:
            names = [f"`{field.json_name}`" for field in choice.fields]
            if len(names) > 1:
                found.append(f"At most one of {', '.join(names)}.")
        return found

    def _named(self, name: str, owner: Any, made: Any) -> Schema:
        if name not in self._owners:
            self._owners[name] = owner
            # Before its own fields, which may refer to it.
            self.found[name] = {}
            self.found[name] = made()
        elif self._owners[name] is not owner:
            raise SystemExit(f"two messages would be called {name} in the OpenAPI document")
        return {"$ref": f"{REFERENCE}{name}"}

    def _text(self, field: FieldDescriptor) -> str:
        text = self._source.comment(field)
        return f"{text} Cannot be changed.".strip() if behaves(field, Behaviour.IMMUTABLE) else text

    @staticmethod
    def _described(schema: Schema, text: str) -> Schema:
        return _beside(schema, {"description": text}) if text else schema


def _beside(schema: Schema, more: Schema) -> Schema:
    # A reference with neighbours is fine in 3.1, but many generators pass over the neighbours or over the reference.
    return {"allOf": [schema], **more} if "$ref" in schema else schema | more


def _is_required(field: FieldDescriptor) -> bool:
    """Whether a body without the field is refused. Nobody can tell a number that is left out from 0."""
    if field.type in _NUMBERS and not field.is_repeated:
        return False
    return behaves(field, Behaviour.REQUIRED) or must_be_set(rules(field))


def _short(described: Descriptor | EnumDescriptor) -> str:
    """`TrainingJob.State` of `fiveshot.trainer.v1.TrainingJob.State`."""
    return described.full_name.removeprefix(f"{described.file.package}.")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
