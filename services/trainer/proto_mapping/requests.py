"""What makes a call repeatable, and lists as they are asked for."""

from __future__ import annotations

from fiveshot.trainer.v1 import training_service_pb2

from services.chassis.errors import InvalidArgument
from services.chassis.listing.pages import ListRequest
from services.chassis.names import project_of
from services.chassis.requests.keys import RequestKey, digest
from services.trainer.use_cases.steering import SteeringRequest

_Service = training_service_pb2

Steering = (
    _Service.CancelTrainingJobRequest
    | _Service.PauseTrainingJobRequest
    | _Service.ResumeTrainingJobRequest
    | _Service.StopTrainingJobRequest
    | _Service.RetryTrainingJobRequest
    | _Service.ExtendTrainingJobRequest
)


def create_key(request: _Service.CreateTrainingJobRequest) -> RequestKey:
    """The key of a create."""
    body = request.training_job.SerializeToString(deterministic=True)
    content = digest(request.parent, request.training_job_id, body)
    return RequestKey(project_of(request.parent), "CreateTrainingJob", request.request_id, content)


def metric_keys(request: _Service.ListMetricsRequest) -> tuple[str, ...]:
    """The keys that are asked for; none for the default. Raises InvalidArgument when they are named in two ways."""
    if request.key and request.keys:
        raise InvalidArgument(
            "Both key and keys are set",
            field="keys",
            reason="METRIC_KEYS_AMBIGUOUS",
            remedy="Put all of them into keys.",
        )
    return tuple(request.keys) or ((request.key,) if request.key else ())


def steering_from_proto(request: Steering) -> SteeringRequest:
    """A user's move of a job."""
    method = type(request).__name__.removesuffix("Request")
    content = digest(request.SerializeToString(deterministic=True))
    key = RequestKey(project_of(request.name), method, request.request_id, content)
    return SteeringRequest(request.name, request.etag, key)


def list_request(
    request: _Service.ListTrainingJobsRequest
    | _Service.ListEpochsRequest
    | _Service.ListPreviewRequestsRequest
    | _Service.ListOwnBaseModelsRequest,
) -> ListRequest:
    """A list call."""
    return ListRequest(
        parent=request.parent,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=getattr(request, "filter", ""),
        order_by=request.order_by,
    )
