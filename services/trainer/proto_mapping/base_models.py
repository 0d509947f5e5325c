"""Base models of projects, to and from their messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fiveshot.trainer.v1 import base_model_pb2, training_service_pb2, worker_service_pb2

from services.chassis.names import project_of
from services.chassis.requests.keys import RequestKey, digest, digest_of_bytes
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState
from services.trainer.proto_mapping.jobs import error_to_proto, to_duration
from services.trainer.proto_mapping.parameters import base_model_to_proto
from services.trainer.proto_mapping.times import to_timestamp
from services.trainer.use_cases.checking_base_models import BaseModelCheck
from services.trainer.use_cases.own_base_models import Announcement, BaseModelEdit, OwnBaseModelView
from services.trainer.use_cases.uploading_base_models import BaseModelUpload

_Message = base_model_pb2.BaseModel
_Service = training_service_pb2


def state_to_proto(state: OwnBaseModelState) -> base_model_pb2.BaseModel.State.ValueType:
    """A state."""
    return _Message.State.Value(f"STATE_{state.value}")


def own_to_proto(model: OwnBaseModel) -> _Message:
    """A base model as it is stored, without what it takes from the catalogue."""
    return _Message(
        name=model.name,
        display_name=model.display_name,
        description=model.description,
        license=model.license,
        family=model.family,
        state=state_to_proto(model.state),
        based_on=model.based_on,
        file_name=model.file_name,
        size_bytes=model.size_bytes,
        sha256=model.sha256,
        uploaded_bytes=model.size_bytes if model.state is OwnBaseModelState.FAILED else model.uploaded_bytes,
        precision=model.precision,
        error=error_to_proto(model.error) if model.error else None,
        labels=dict(model.labels),
        create_time=to_timestamp(model.create_time),
        update_time=to_timestamp(model.update_time),
        etag=model.etag,
    )


def view_to_proto(view: OwnBaseModelView) -> _Message:
    """A base model as callers see it, with the parameters that it takes once it is ready."""
    message = own_to_proto(view.model)
    message.held_back = view.held_back
    if view.offered is not None:
        taken = base_model_to_proto(view.offered)
        taken.ClearField("hub_id")
        taken.MergeFrom(message)
        return taken
    return message


def announcement_from_proto(request: _Service.CreateBaseModelRequest) -> Announcement:
    """What a caller announces."""
    given = request.base_model
    return Announcement(
        project=project_of(request.parent),
        base_model_id=request.base_model_id,
        display_name=given.display_name,
        description=given.description,
        license=given.license,
        based_on=given.based_on,
        file_name=given.file_name,
        size_bytes=given.size_bytes,
        sha256=given.sha256,
        labels=dict(given.labels),
        header=request.header,
    )


def announcement_key(request: _Service.CreateBaseModelRequest) -> RequestKey:
    """What makes the call repeatable."""
    body = request.base_model.SerializeToString(deterministic=True)
    content = digest(request.parent, request.base_model_id, body, digest_of_bytes(request.header))
    return RequestKey(project_of(request.parent), "CreateBaseModel", request.request_id, content)


def base_model_edit(request: _Service.UpdateBaseModelRequest) -> BaseModelEdit:
    """What a caller wants to change."""
    given = request.base_model
    values = {
        "display_name": given.display_name,
        "description": given.description,
        "license": given.license,
        "labels": dict(given.labels),
    }
    return BaseModelEdit(given.name, given.etag, values, tuple(request.update_mask.paths))


async def upload_messages(
    requests: AsyncIterator[_Service.UploadBaseModelRequest],
) -> AsyncIterator[BaseModelUpload | bytes]:
    """An upload's header, then its bytes. Over HTTP the first message has both."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                yield BaseModelUpload(request.header.name, request.header.offset)
            case "chunk":
                yield request.chunk
            case _:
                if request.name:
                    yield BaseModelUpload(request.name, request.offset)
                yield request.content.data


def for_worker(model: OwnBaseModel) -> worker_service_pb2.OwnBaseModel:
    """A base model as a worker needs it."""
    kind = worker_service_pb2.OwnBaseModel
    return kind(
        name=model.name,
        based_on=model.based_on,
        size_bytes=model.size_bytes,
        sha256=model.sha256,
        parts=[
            kind.Part(object_key=part.object_key, size_bytes=part.size_bytes, sha256=part.sha256)
            for part in model.parts
        ],
    )


def check_to_proto(check: BaseModelCheck) -> worker_service_pb2.BaseModelCheckAssignment:
    """A check for a worker."""
    return worker_service_pb2.BaseModelCheckAssignment(
        base_model=for_worker(check.model),
        lease_token=check.token,
        lease_duration=to_duration(check.lease),
        candidates=check.candidates,
    )
