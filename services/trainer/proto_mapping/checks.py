"""What a refusal names beside the field rules that are broken: see `chassis.further_checks`."""

from __future__ import annotations

from typing import Any

from fiveshot.trainer.v1 import training_service_pb2 as pb
from google.protobuf.message import Message

from services.chassis.further_checks import Check, FurtherChecks, list_check
from services.chassis.listing.pages import Listing, PageTokens
from services.chassis.names import check_mask
from services.trainer.models.editing import FIELDS, check_label_mask
from services.trainer.models.own_base_model import EDITABLE
from services.trainer.ports import EPOCHS, JOBS
from services.trainer.ports.base_models import BASE_MODELS
from services.trainer.ports.previews import PREVIEW_REQUESTS
from services.trainer.proto_mapping.base_models import announcement_from_proto
from services.trainer.proto_mapping.jobs import request_from_proto
from services.trainer.proto_mapping.previews import preview_ask
from services.trainer.proto_mapping.requests import metric_keys
from services.trainer.use_cases.own_base_models import OwnBaseModels
from services.trainer.use_cases.planning import Planner
from services.trainer.use_cases.requesting_previews import PreviewRequesting
from services.trainer.use_cases.steering import JobSteering


def further_checks(
    planner: Planner,
    steering: JobSteering,
    requesting: PreviewRequesting,
    base_models: OwnBaseModels,
    tokens: PageTokens,
) -> FurtherChecks:
    """The checks of each request."""
    lists: dict[type[Message], Listing[Any]] = {
        pb.ListTrainingJobsRequest: JOBS,
        pb.ListEpochsRequest: EPOCHS,
        pb.ListPreviewRequestsRequest: PREVIEW_REQUESTS,
        pb.ListOwnBaseModelsRequest: BASE_MODELS,
    }
    job: tuple[Check, ...] = (
        lambda request: planner.check_parameters(request_from_proto(request)),
        lambda request: planner.check_datasets(request_from_proto(request)),
    )
    return FurtherChecks(
        {
            **{kind: (list_check(listing, tokens),) for kind, listing in lists.items()},
            pb.CreateTrainingJobRequest: job,
            pb.EstimateTrainingJobRequest: job,
            pb.PreviewTrainingRequest: job,
            pb.AuditDatasetRequest: job,
            pb.ExtendTrainingJobRequest: (
                lambda request: steering.check_extension(request.name, request.additional_epochs),
            ),
            pb.UpdateTrainingJobRequest: (_mask(FIELDS),),
            pb.UpdateEpochRequest: (lambda request: check_label_mask(request.update_mask.paths),),
            pb.UpdateBaseModelRequest: (_mask(EDITABLE),),
            pb.ListMetricsRequest: (metric_keys,),
            pb.RequestPreviewsRequest: (
                lambda request: requesting.check_alone(preview_ask(request)),
                lambda request: requesting.check_sources(preview_ask(request)),
            ),
            pb.CreateBaseModelRequest: (lambda request: base_models.checked(announcement_from_proto(request)),),
        }
    )


def _mask(changeable: tuple[str, ...]) -> Check:
    def check(request: Any) -> None:
        check_mask(request.update_mask.paths, changeable)

    return check
