"""Events in the form in which they are stored and published: the proto message as JSON."""

from __future__ import annotations

from datetime import datetime

from fiveshot.tagger.v1 import tag_job_event_pb2
from google.protobuf import json_format

from services.tagger.models.events import Created, Deleted, Progressed, StateChanged, TagJobEvent
from services.tagger.models.jobs import TagJob
from services.tagger.proto_mapping.messages import job_to_proto, state_to_proto, timestamp

_MOST_FAILURES = 20


def event_type(event: TagJobEvent) -> str:
    """The last token of its subject: the name of the payload field, such as `state_changed`."""
    return _TYPES[type(event)]


def event_payload(event: TagJobEvent, job: TagJob, *, event_id: str, sequence: int, moment: datetime) -> str:
    """The event as JSON on one line. job: as it is after the event."""
    message = tag_job_event_pb2.TagJobEvent(
        event_id=event_id,
        tag_job=job.name,
        sequence=sequence,
        create_time=timestamp(moment),
        state=state_to_proto(job.state),
    )
    match event:
        case Created():
            message.created.job.CopyFrom(job_to_proto(job, with_changes=False))
        case StateChanged():
            changed = message.state_changed
            changed.previous_state = state_to_proto(event.previous)
            changed.job.CopyFrom(job_to_proto(job, with_changes=False))
            del changed.job.failures[_MOST_FAILURES:]
        case Progressed():
            message.progress.total_images = event.total
            message.progress.tagged_images = event.tagged
            message.progress.skipped_images = event.skipped
            message.progress.failed_images = event.failed
        case Deleted():
            message.deleted.dataset = job.dataset
    return json_format.MessageToJson(message, indent=None)


_TYPES: dict[type[TagJobEvent], str] = {
    Created: "created",
    StateChanged: "state_changed",
    Progressed: "progress",
    Deleted: "deleted",
}
