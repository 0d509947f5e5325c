"""What a refusal names beside the field rules that are broken: see `chassis.further_checks`."""

from __future__ import annotations

from fiveshot.tagger.v1 import tagger_service_pb2 as pb

from services.chassis.further_checks import FurtherChecks, list_check
from services.chassis.listing.pages import PageTokens
from services.chassis.names import project_of
from services.tagger.ports import TAG_JOBS
from services.tagger.proto_mapping.messages import options_from_proto
from services.tagger.use_cases.tag_jobs import check_project
from services.tagger.use_cases.taggers import Taggers


def further_checks(taggers: Taggers, tokens: PageTokens) -> FurtherChecks:
    """The checks of each request."""

    async def options(request: pb.TagImagesRequest | pb.TagImageRequest) -> None:
        await taggers.refresh()
        taggers.check(options_from_proto(request.options))

    return FurtherChecks(
        {
            pb.ListTagJobsRequest: (list_check(TAG_JOBS, tokens),),
            pb.TagImagesRequest: (
                options,
                lambda request: check_project(request.dataset, project_of(request.parent)),
            ),
            pb.TagImageRequest: (options,),
        }
    )
