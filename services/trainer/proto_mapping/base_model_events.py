"""What happens to base models of projects, in the form in which it is stored and published."""

from __future__ import annotations

from typing import Any

from fiveshot.trainer.v1 import base_model_event_pb2 as pb
from google.protobuf import json_format

from services.chassis.cloud_events import event_subject
from services.trainer.models.own_base_model import OwnBaseModel
from services.trainer.proto_mapping.base_models import own_to_proto, state_to_proto
from services.trainer.proto_mapping.times import to_timestamp


def base_model_event(before: OwnBaseModel | None, after: OwnBaseModel | None) -> dict[str, Any]:
    """The arguments of `Outbox.append` for a change. before: None for a new one. after: None for a deleted one."""
    model = after or before
    assert model is not None
    message = pb.BaseModelEvent(base_model=model.name)
    if after is None:
        message.deleted.state = state_to_proto(model.state)
    elif before is None:
        message.created.base_model.CopyFrom(own_to_proto(after))
    elif after.state is not before.state:
        message.state_changed.previous_state = state_to_proto(before.state)
        message.state_changed.base_model.CopyFrom(own_to_proto(after))
    else:
        message.updated.base_model.CopyFrom(own_to_proto(after))
    kind = message.WhichOneof("payload") or ""

    def payload(event_id: str, sequence: int, moment: Any) -> str:
        message.event_id, message.sequence = event_id, sequence
        message.create_time.CopyFrom(to_timestamp(moment))
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False)

    return {
        "aggregate": model.name,
        "type": f"fiveshot.base_model.{kind}",
        "subject": event_subject(model.project, "baseModels", model.name.rsplit("/", 1)[1], kind),
        "source": model.name,
        "payload": payload,
    }
