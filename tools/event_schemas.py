"""Writes the JSON schemas of all events from their protos: what consumers of NATS and of webhooks get as `data`.

python -m tools.event_schemas            prints them
python -m tools.event_schemas --write    into docs/event_schemas.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from fiveshot.dataset.v1 import dataset_event_pb2
from fiveshot.notifier.v1 import webhook_event_pb2
from fiveshot.registry.v1 import model_event_pb2
from fiveshot.tagger.v1 import tag_job_event_pb2
from fiveshot.trainer.v1 import base_model_event_pb2, training_event_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tools.marked_pages import DOCS

FILE = DOCS / "event_schemas.json"
Schema = dict[str, Any]
# The log of each is a proto whose payload is a oneof; the field that is set ends the type's name.
_LOGS = {
    "fiveshot.base_model": base_model_event_pb2.BaseModelEvent.DESCRIPTOR,
    "fiveshot.dataset": dataset_event_pb2.DatasetEvent.DESCRIPTOR,
    "fiveshot.model": model_event_pb2.ModelEvent.DESCRIPTOR,
    "fiveshot.tag_job": tag_job_event_pb2.TagJobEvent.DESCRIPTOR,
    "fiveshot.training_job": training_event_pb2.TrainingJobEvent.DESCRIPTOR,
    "fiveshot.webhook": webhook_event_pb2.WebhookEvent.DESCRIPTOR,
}
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_MOMENT = {"type": "string", "format": "date-time"}
_USAGE: dict[str, Schema] = {
    "fiveshot.usage.gpu_seconds": {
        "project": _TEXT, "training_job": _TEXT, "outcome": _TEXT, "base_model": _TEXT, "worker_id": _TEXT,
        "attempt": _COUNT, "gpu_seconds": {"type": "number", "minimum": 0}, "preview_request": _TEXT,
    },
    "fiveshot.usage.base_model_bytes": {
        "project": _TEXT, "hour": _MOMENT, "base_model_bytes": _COUNT, "base_models": _COUNT,
    },
    "fiveshot.usage.stored_bytes": {
        "project": _TEXT, "hour": _MOMENT, "stored_bytes": _COUNT, "images": _COUNT, "datasets": _COUNT,
    },
}  # fmt: skip
_SOMETIMES = ("preview_request",)
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": _MOMENT,
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d+)?s$"},
}
_NUMBERS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


def schemas() -> Schema:
    """One document: `properties` maps each type to the schema of its data, `$defs` holds what they share."""
    shared: dict[str, Schema] = {}
    by_type: dict[str, Schema] = {}
    for prefix, descriptor in _LOGS.items():
        for payload in descriptor.oneofs[0].fields:
            named = {payload.json_name: _field(payload, shared)}
            common = {each.json_name: _field(each, shared) for each in descriptor.fields if not each.containing_oneof}
            # Proto JSON leaves out what is empty, but for the payload.
            by_type[f"{prefix}.{payload.name}"] = {
                "type": "object", "properties": {**common, **named}, "required": ["eventId", *named],
            }  # fmt: skip
    for name, fields in _USAGE.items():
        required = [field for field in fields if field not in _SOMETIMES]
        by_type[name] = {"type": "object", "properties": fields, "required": required}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The data of Fiveshot's events, by CloudEvents type",
        "type": "object",
        "properties": dict(sorted(by_type.items())),
        "$defs": dict(sorted(shared.items())),
    }


def _field(field: FieldDescriptor, shared: dict[str, Schema]) -> Schema:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _single(message.fields_by_name["value"], shared)}
    one = _single(field, shared)
    return {"type": "array", "items": one} if field.is_repeated else one


def _single(field: FieldDescriptor, shared: dict[str, Schema]) -> Schema:
    if field.message_type is not None:
        return _message(field.message_type, shared)
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return dict(_TEXT)
    if field.cpp_type in _LONG:
        return {"type": "string", "pattern": r"^-?\d+$"}
    if field.cpp_type in _NUMBERS:
        # Proto JSON has words for what JSON has no number for.
        return {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
    return {"type": "integer"}


def _message(descriptor: Descriptor, shared: dict[str, Schema]) -> Schema:
    known = _WELL_KNOWN.get(descriptor.full_name)
    if known is not None:
        return known
    name = descriptor.full_name
    if name not in shared:
        shared[name] = {}
        fields = {each.json_name: _field(each, shared) for each in descriptor.fields}
        shared[name] = {"type": "object", "properties": fields}
    return {"$ref": f"#/$defs/{name}"}


def render() -> str:
    """The file."""
    return json.dumps(schemas(), indent=1) + "\n"


def main() -> None:
    """The command."""
    if "--write" in sys.argv[1:]:
        FILE.write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main()
