"""Events in the form in which they are stored and published: the proto message as JSON."""

from __future__ import annotations

from datetime import datetime

from fiveshot.dataset.v1 import dataset_event_pb2
from google.protobuf import json_format

from services.dataset.models.events import (
    Created,
    DatasetEvent,
    Deleted,
    ImageChange,
    ImagesChanged,
    Updated,
    VersionCreated,
    VersionDeleted,
    VersionUpdated,
)
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.proto_mapping.resources import dataset_proto, timestamp, version_proto


def event_type(event: DatasetEvent) -> str:
    """The last token of its subject: the name of the payload field, such as `images_added`."""
    if isinstance(event, ImagesChanged):
        return f"images_{event.change.value}"
    return _TYPES[type(event)]


def event_payload(event: DatasetEvent, ref: DatasetRef, *, event_id: str, sequence: int, moment: datetime) -> str:
    """The event as JSON on one line."""
    message = dataset_event_pb2.DatasetEvent(
        event_id=event_id, dataset=ref.name, sequence=sequence, create_time=timestamp(moment)
    )
    # An event of zeros alone is set all the same.
    getattr(message, event_type(event)).SetInParent()
    match event:
        case Created() | Updated():
            getattr(message, event_type(event)).dataset.CopyFrom(dataset_proto(event.dataset))
        case Deleted():
            message.deleted.image_count, message.deleted.version_count = event.image_count, event.version_count
        case ImagesChanged():
            told = getattr(message, event_type(event))
            told.images.extend(ImageRef(ref, image).name for image in event.images)
            if event.change is not ImageChange.UPDATED:
                told.image_count = event.image_count
        case VersionCreated() | VersionUpdated():
            getattr(message, event_type(event)).version.CopyFrom(version_proto(event.version))
        case VersionDeleted():
            message.version_deleted.version = event.version
    return json_format.MessageToJson(message, indent=None)


_TYPES: dict[type[DatasetEvent], str] = {
    Created: "created",
    Updated: "updated",
    Deleted: "deleted",
    VersionCreated: "version_created",
    VersionUpdated: "version_updated",
    VersionDeleted: "version_deleted",
}
