"""Events in the form in which they are stored, published and replayed: the proto message as JSON."""

from __future__ import annotations

from datetime import datetime

from fiveshot.trainer.v1 import training_event_pb2
from google.protobuf import json_format

from services.trainer.models.events import (
    BasePreviewsCompleted,
    Created,
    Deleted,
    EpochCompleted,
    JobEvent,
    Noticed,
    Progressed,
    StateChanged,
    Updated,
)
from services.trainer.models.job import TrainingJob
from services.trainer.proto_mapping.epochs import epoch_to_proto, preview_to_proto
from services.trainer.proto_mapping.jobs import error_to_proto, state_to_proto, stored_job_to_proto
from services.trainer.proto_mapping.times import to_timestamp

_Event = training_event_pb2.TrainingJobEvent


def event_type(event: JobEvent) -> str:
    """The last token of its subject: the name of the payload field, such as `state_changed`."""
    return _TYPES[type(event)]


def event_payload(event: JobEvent, job: TrainingJob, *, event_id: str, sequence: int, moment: datetime) -> str:
    """The event as JSON on one line. job: as it is after the event."""
    message = _Event(
        event_id=event_id,
        training_job=job.name,
        sequence=sequence,
        create_time=to_timestamp(moment),
        state=state_to_proto(job.state),
    )
    _fill(message, event, job)
    return json_format.MessageToJson(message, indent=None, always_print_fields_with_no_presence=False)


def event_from_payload(payload: str) -> training_event_pb2.TrainingJobEvent:
    """A stored event. A field that a newer version wrote is ignored."""
    return json_format.Parse(payload, _Event(), ignore_unknown_fields=True)


def _fill(message: training_event_pb2.TrainingJobEvent, event: JobEvent, job: TrainingJob) -> None:
    match event:
        case Created():
            message.created.job.CopyFrom(stored_job_to_proto(job))
        case StateChanged():
            changed = message.state_changed
            changed.previous_state = state_to_proto(event.previous)
            changed.state = state_to_proto(event.state)
            changed.message = event.message
            changed.attempt = event.attempt
            if event.error is not None:
                changed.error.CopyFrom(error_to_proto(event.error))
        case Progressed():
            progress = event.progress
            message.progress.CopyFrom(
                training_event_pb2.JobProgress(
                    step=progress.step,
                    total_steps=event.total_steps,
                    epoch=progress.epoch,
                    loss=progress.loss,
                    images_per_second=progress.images_per_second,
                    phase=progress.phase,
                    eta_seconds=progress.eta_seconds,
                    learning_rate=progress.learning_rate,
                )
            )
        case EpochCompleted():
            message.epoch_completed.epoch.CopyFrom(epoch_to_proto(event.epoch, recommended=event.recommended))
        case BasePreviewsCompleted():
            message.base_previews_completed.previews.extend(preview_to_proto(item) for item in event.previews)
        case Noticed():
            message.notice.text = event.text
        case Updated():
            message.updated.display_name, message.updated.priority = job.display_name, job.priority
            message.updated.labels.update(job.labels)
            message.updated.SetInParent()
        case Deleted():
            message.deleted.epoch_count = event.epoch_count
            message.deleted.SetInParent()


_TYPES: dict[type[JobEvent], str] = {
    Created: "created",
    StateChanged: "state_changed",
    Progressed: "progress",
    EpochCompleted: "epoch_completed",
    BasePreviewsCompleted: "base_previews_completed",
    Noticed: "notice",
    Updated: "updated",
    Deleted: "deleted",
}
