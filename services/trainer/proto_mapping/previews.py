"""Preview requests, to and from their messages."""

from __future__ import annotations

from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, training_service_pb2, worker_service_pb2

from services.chassis.names import project_of
from services.chassis.requests.keys import RequestKey, digest
from services.trainer.models.job import JobError
from services.trainer.models.preview_request import DrawnCell, PreviewRequest
from services.trainer.proto_mapping.base_models import for_worker
from services.trainer.proto_mapping.epochs import file_from_proto, file_to_proto
from services.trainer.proto_mapping.jobs import to_duration
from services.trainer.proto_mapping.times import to_timestamp
from services.trainer.use_cases.drawing import PreviewAssignment
from services.trainer.use_cases.requesting_previews import PreviewAsk

_Message = preview_request_pb2.PreviewRequest


def preview_ask(request: training_service_pb2.RequestPreviewsRequest) -> PreviewAsk:
    """What a caller asks for."""
    asked = request.preview_request
    return PreviewAsk(
        project=project_of(request.parent),
        sources=tuple(asked.sources),
        strengths=tuple(asked.strengths),
        prompts=tuple(asked.prompts),
        seeds=tuple(asked.seeds),
        negative_prompt=asked.negative_prompt,
        width=asked.width,
        height=asked.height,
        steps=asked.steps,
        guidance=asked.guidance if asked.HasField("guidance") else None,
        attended=asked.attended,
    )


def preview_key(request: training_service_pb2.RequestPreviewsRequest) -> RequestKey:
    """What makes the call repeatable."""
    body = request.preview_request.SerializeToString(deterministic=True)
    return RequestKey(project_of(request.parent), "RequestPreviews", request.request_id, digest(request.parent, body))


def preview_to_proto(request: PreviewRequest, *, for_worker: bool = False) -> _Message:
    """A request as callers see it. for_worker: tell where its pictures lie."""
    drawing, cells = request.drawing, request.drawing.cells
    message = _Message(
        name=request.name,
        sources=drawing.sources,
        strengths=drawing.strengths,
        prompts=drawing.prompts,
        seeds=drawing.seeds,
        negative_prompt=drawing.negative_prompt,
        width=drawing.width,
        height=drawing.height,
        steps=drawing.steps,
        guidance=drawing.guidance,
        attended=request.wanted_until is not None,
        state=_Message.State.Value(f"STATE_{request.state.value}"),
        base_model=request.base_model,
        cell_count=len(cells),
        cells=[
            preview_request_pb2.PreviewCell(
                index=drawn.index,
                source=cells[drawn.index].source,
                strength=cells[drawn.index].strength,
                prompt=cells[drawn.index].prompt,
                seed=cells[drawn.index].seed,
                width=drawn.width,
                height=drawn.height,
                file=file_to_proto(drawn.file, with_key=for_worker),
                step=drawn.step,
            )
            for drawn in request.cells
        ],
        error=_error(request.error) if request.error else None,
        pretended=request.pretended,
        create_time=to_timestamp(request.create_time),
        expire_time=to_timestamp(request.expire_time),
        etag=request.etag,
    )
    if request.start_time is not None:
        message.start_time.CopyFrom(to_timestamp(request.start_time))
    if request.end_time is not None:
        message.end_time.CopyFrom(to_timestamp(request.end_time))
    return message


def cell_from_proto(message: preview_request_pb2.PreviewCell) -> DrawnCell:
    """A cell as a worker reports it."""
    return DrawnCell(message.index, file_from_proto(message.file), message.width, message.height, message.step)


def assignment_to_proto(assignment: PreviewAssignment) -> worker_service_pb2.PreviewAssignment:
    """A request for a worker."""
    kind = worker_service_pb2.PreviewAssignment
    return kind(
        preview_request=preview_to_proto(assignment.request, for_worker=True),
        lease_token=assignment.token,
        lease_duration=to_duration(assignment.lease),
        object_prefix=assignment.prefix,
        weights=[
            kind.Weights(source=source, file=file_to_proto(file, with_key=True)) for source, file in assignment.weights
        ],
        own_base_model=for_worker(assignment.own) if assignment.own else None,
    )


def _error(error: JobError) -> training_job_pb2.JobError:
    return training_job_pb2.JobError(
        reason=error.reason, message=error.message, remedy=error.remedy, retryable=error.retryable
    )
