"""What a refusal names beside the field rules that are broken: see `chassis.further_checks`."""

from __future__ import annotations

from fiveshot.audit.v1 import audit_service_pb2
from fiveshot.registry.v1 import registry_service_pb2 as pb

from services.chassis.further_checks import FurtherChecks, list_check
from services.chassis.listing.pages import PageTokens
from services.chassis.names import check_mask, project_of
from services.registry.models.checks import EDITABLE, check_alias, check_version_mask, clean_tags
from services.registry.ports import AUDIT_RECORDS, MODELS, VERSIONS
from services.registry.use_cases.save_epoch import check_project


def further_checks(tokens: PageTokens) -> FurtherChecks:
    """The checks of each request."""
    return FurtherChecks(
        {
            pb.ListModelsRequest: (list_check(MODELS, tokens),),
            pb.ListModelVersionsRequest: (list_check(VERSIONS, tokens),),
            audit_service_pb2.ListAuditRecordsRequest: (list_check(AUDIT_RECORDS, tokens),),
            pb.CreateModelRequest: (lambda request: clean_tags(request.model.tags),),
            pb.UpdateModelRequest: (
                lambda request: clean_tags(request.model.tags),
                lambda request: check_mask(request.update_mask.paths, EDITABLE),
            ),
            pb.UpdateModelVersionRequest: (lambda request: check_version_mask(request.update_mask.paths),),
            pb.SaveEpochRequest: (lambda request: check_project(project_of(request.parent), request.epoch),),
            pb.SetModelAliasRequest: (lambda request: check_alias(request.alias),),
            pb.DeleteModelAliasRequest: (lambda request: check_alias(request.alias),),
        }
    )
