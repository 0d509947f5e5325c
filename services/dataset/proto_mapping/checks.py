"""What a refusal names beside the field rules that are broken: see `chassis.further_checks`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.protobuf.message import Message

from services.chassis.errors import DomainError, within
from services.chassis.further_checks import Check, FurtherChecks, list_check
from services.chassis.listing.pages import Listing, ListRequest, PageTokens
from services.chassis.names import check_mask
from services.dataset.models.checks import check_text
from services.dataset.models.names import DatasetRef
from services.dataset.models.resources import DatasetFields, ImageFields
from services.dataset.models.update_masks import check_changeable
from services.dataset.ports import DATASETS, VERSION_IMAGES, VERSIONS
from services.dataset.proto_mapping import resources, transfers
from services.dataset.use_cases.datasets import checked_dataset
from services.dataset.use_cases.image_batches import refs_of
from services.dataset.use_cases.images import IMAGES, checked_image, image_filter
from services.dataset.use_cases.projects import PROJECTS
from services.dataset.use_cases.tags import checked_edits
from services.dataset.use_cases.uploads import UploadHeader, UploadVerb

# Names are checked by the rules; whatever stands here is not looked at.
_ANY = DatasetRef("any", "any")


def further_checks(uploads: UploadVerb, tokens: PageTokens) -> FurtherChecks:
    """The checks of each request."""
    lists: dict[type[Message], Listing[Any]] = {
        pb.ListDatasetsRequest: DATASETS,
        pb.ListImagesRequest: IMAGES,
        pb.ListDatasetVersionsRequest: VERSIONS,
        pb.ListDatasetVersionImagesRequest: VERSION_IMAGES,
    }
    return FurtherChecks(
        {
            **{kind: (list_check(listing, tokens),) for kind, listing in lists.items()},
            pb.ListProjectsRequest: (
                lambda request: PROJECTS.open(ListRequest("", request.page_size, request.page_token), tokens),
            ),
            pb.CreateDatasetRequest: (_dataset, _text("request_id")),
            pb.UpdateDatasetRequest: (
                _dataset,
                lambda request: check_changeable(request.update_mask.paths, DatasetFields),
            ),
            pb.UpdateImageRequest: (_image, _image_mask),
            pb.BatchGetImagesRequest: (_lying_in(lambda request: request.names, "names[{}]", ""),),
            pb.BatchUpdateImagesRequest: (
                _each(_image),
                _each(_image_mask),
                _lying_in(lambda request: [one.image.name for one in request.requests], "requests[{}]", "image.name"),
            ),
            pb.BatchDeleteImagesRequest: (_lying_in(_entries, "requests[{}]", "name"),),
            pb.BatchSetImageMasksRequest: (_lying_in(_entries, "requests[{}]", "name"),),
            pb.EditTagsRequest: (
                lambda request: image_filter(request.filter),
                lambda request: checked_edits([resources.tag_edit(edit) for edit in request.edits]),
            ),
            pb.UploadImageRequest: (partial(_header, uploads),),
            pb.UploadImageContentRequest: (partial(_content, uploads),),
            pb.CreateDatasetVersionRequest: (_text("description", lines=True), _text("request_id")),
            pb.UpdateDatasetVersionRequest: (
                lambda request: check_mask(request.update_mask.paths, ("labels",), of="a version"),
            ),
            pb.DownloadImageRequest: (transfers.form,),
            pb.GetImageContentRequest: (transfers.form,),
        }
    )


def _dataset(request: pb.CreateDatasetRequest | pb.UpdateDatasetRequest) -> None:
    checked_dataset(resources.dataset_fields(request.dataset))


def _image(request: pb.UpdateImageRequest) -> None:
    checked_image(resources.image_fields(request.image))


def _image_mask(request: pb.UpdateImageRequest) -> None:
    check_changeable(request.update_mask.paths, ImageFields)


def _header(uploads: UploadVerb, request: pb.UploadImageRequest) -> None:
    if request.HasField("header"):
        uploads.checked_header(transfers.upload_header(request.header, _ANY))


def _content(uploads: UploadVerb, request: pb.UploadImageContentRequest) -> None:
    with transfers.content_fields():
        uploads.checked_header(
            UploadHeader(
                dataset=_ANY,
                file_name=request.file_name,
                caption=request.caption,
                tags=tuple(request.tags),
                request_id=request.request_id,
            )
        )


def _text(field: str, *, lines: bool = False) -> Check:
    return lambda request: check_text(getattr(request, field), field=field, lines=lines)


def _entries(request: Any) -> list[str]:
    return [one.name for one in request.requests]


def _each(check: Callable[[Any], None]) -> Check:
    """A check of every entry of a batch."""

    def checked(request: pb.BatchUpdateImagesRequest) -> None:
        for index, one in enumerate(request.requests):
            try:
                check(one)
            except DomainError as error:
                raise within(error, f"requests[{index}]", otherwise="image") from error

    return checked


def _lying_in(names: Callable[[Any], Any], path: str, field: str) -> Check:
    """Whether the images of a batch lie in its parent, each once."""
    return lambda request: refs_of(DatasetRef.parse(request.parent, field="parent"), names(request), path, field)
