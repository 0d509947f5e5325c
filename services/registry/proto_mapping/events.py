"""Events in the form in which they are stored and published: the proto message as JSON."""

from __future__ import annotations

from datetime import datetime

from fiveshot.registry.v1 import model_event_pb2 as pb
from google.protobuf import json_format

from services.registry.models.names import version_name
from services.registry.models.resources import Model, ModelVersion
from services.registry.proto_mapping import messages

Payload = (
    pb.ModelCreated
    | pb.ModelUpdated
    | pb.ModelDeleted
    | pb.ModelVersionCreated
    | pb.ModelVersionUpdated
    | pb.ModelVersionDeleted
    | pb.ModelAliasMoved
    | pb.ModelAliasDeleted
)
_FIELDS = {
    field.message_type.full_name: field.name
    for field in pb.ModelEvent.DESCRIPTOR.oneofs_by_name["payload"].fields
    if field.message_type
}


def created(model: Model) -> Payload:
    """A model was created."""
    return pb.ModelCreated(model=messages.model(model))


def updated(model: Model) -> Payload:
    """Fields of a model changed. model: after it."""
    return pb.ModelUpdated(model=messages.model(model))


def deleted(model: Model) -> Payload:
    """A model went. model: before it."""
    return pb.ModelDeleted(version_count=model.version_count)


def version_created(version: ModelVersion) -> Payload:
    """A version was kept."""
    message = pb.ModelVersionCreated(version=messages.version(version))
    message.version.ClearField("model_card")
    return message


def version_updated(version: ModelVersion) -> Payload:
    """Labels of a version changed. version: after it."""
    message = pb.ModelVersionUpdated(version=messages.version(version))
    message.version.ClearField("model_card")
    return message


def version_deleted(project: str, model_id: str, number: int) -> Payload:
    """A version went."""
    return pb.ModelVersionDeleted(version=version_name(project, model_id, number))


def alias_moved(model: Model, alias: str, number: int) -> Payload:
    """An alias points at a version from now on. model: before it."""
    return pb.ModelAliasMoved(
        alias=alias,
        version=version_name(model.project, model.model_id, number),
        previous_version=_pointed_at(model, alias),
    )


def alias_deleted(model: Model, alias: str) -> Payload:
    """An alias is gone. model: before it."""
    return pb.ModelAliasDeleted(alias=alias, previous_version=_pointed_at(model, alias))


def event_type(payload: Payload) -> str:
    """The last token of its subject: the name of the payload field, such as `alias_moved`."""
    return _FIELDS[payload.DESCRIPTOR.full_name]


def event_payload(payload: Payload, model: str, *, event_id: str, sequence: int, moment: datetime) -> str:
    """The event as JSON on one line. model: its resource name."""
    message = pb.ModelEvent(event_id=event_id, model=model, sequence=sequence, create_time=messages.timestamp(moment))
    getattr(message, event_type(payload)).CopyFrom(payload)
    # An event of zeros alone is set all the same.
    getattr(message, event_type(payload)).SetInParent()
    return json_format.MessageToJson(message, indent=None)


def _pointed_at(model: Model, alias: str) -> str:
    number = model.aliases.get(alias)
    return version_name(model.project, model.model_id, number) if number else ""
