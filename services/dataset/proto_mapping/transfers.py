"""Pictures and archives on their way in and out, by the messages of fiveshot.dataset.v1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.layouts import Why

from services.chassis import grpc_errors
from services.chassis.errors import DomainError, InvalidArgument, relocated
from services.chassis.http_bodies import File, received
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.models.resources import DatasetFields, MaskSource
from services.dataset.proto_mapping.resources import crop, image_proto, timestamp
from services.dataset.use_cases.direct_uploads import Address, DirectUpload, Outcome
from services.dataset.use_cases.exports import Layout
from services.dataset.use_cases.images import Download, View
from services.dataset.use_cases.imports import Imported, ImportHeader
from services.dataset.use_cases.masks import MaskHeader, NewMask
from services.dataset.use_cases.trained_pictures import Form
from services.dataset.use_cases.uploads import UploadHeader

_PASSED_OVER = {
    Why.HIDDEN: dataset_service_pb2.PassedOver.REASON_HIDDEN,
    Why.OTHER: dataset_service_pb2.PassedOver.REASON_NO_PICTURE,
    Why.CAPTION: dataset_service_pb2.PassedOver.REASON_CAPTION_WITHOUT_PICTURE,
    Why.LINE: dataset_service_pb2.PassedOver.REASON_LINE_WITHOUT_PICTURE,
    Why.MASK: dataset_service_pb2.PassedOver.REASON_MASK_WITHOUT_PICTURE,
    Why.SECOND: dataset_service_pb2.PassedOver.REASON_SECOND_CAPTION,
}
_VIEWS = {
    dataset_service_pb2.DownloadImageRequest.VIEW_THUMBNAIL: View.THUMBNAIL,
    dataset_service_pb2.DownloadImageRequest.VIEW_CROP: View.CROP,
    dataset_service_pb2.DownloadImageRequest.VIEW_MASK: View.MASK,
}


async def upload_messages(
    requests: AsyncIterator[dataset_service_pb2.UploadImageRequest],
) -> AsyncIterator[UploadHeader | bytes]:
    """The stream of an upload."""
    async for request in requests:
        yield upload_header(request.header, _parent(request.header)) if request.HasField("header") else request.chunk


def content_messages(
    requests: AsyncIterator[dataset_service_pb2.UploadImageContentRequest],
) -> AsyncIterator[UploadHeader | bytes]:
    """The pieces of an HTTP upload as the same stream."""

    def header(request: dataset_service_pb2.UploadImageContentRequest) -> UploadHeader:
        return UploadHeader(
            dataset=DatasetRef.parse(request.parent, field="parent"),
            file_name=request.file_name,
            sha256=request.sha256,
            caption=request.caption,
            tags=tuple(request.tags),
            request_id=request.request_id,
        )

    return received(requests, header)


def import_messages(
    requests: AsyncIterator[dataset_service_pb2.ImportImagesRequest],
) -> AsyncIterator[ImportHeader | bytes]:
    """The pieces of an archive."""

    def header(request: dataset_service_pb2.ImportImagesRequest) -> ImportHeader:
        return ImportHeader(
            dataset=DatasetRef.parse(request.parent, field="parent"),
            sha256=request.sha256,
            request_id=request.request_id,
            captions=not request.ignore_captions,
            folder_repeats=not request.ignore_folder_repeats,
            update_present=request.update_present,
        )

    return received(requests, header)


def mask_messages(
    requests: AsyncIterator[dataset_service_pb2.UploadImageMaskRequest],
) -> AsyncIterator[MaskHeader | bytes]:
    """The pieces of a mask."""

    def header(request: dataset_service_pb2.UploadImageMaskRequest) -> MaskHeader:
        return MaskHeader(ImageRef.parse(request.name), sha256=request.sha256, etag=request.etag)

    return received(requests, header)


def new_mask(request: dataset_service_pb2.SetImageMaskRequest) -> NewMask:
    """The mask of one image, set or taken away."""
    source = MaskSource.SUGGESTED if request.source == dataset_pb2.MASK_SOURCE_SUGGESTED else MaskSource.UPLOADED
    return NewMask(request.name, request.png, request.etag, source, request.tagger)


def imported_proto(imported: Imported, dataset: DatasetFields) -> dataset_service_pb2.ImportImagesResponse:
    """What became of an archive for a dataset of these fields."""
    passed_over = [
        dataset_service_pb2.PassedOver(path=str(path), reason=_PASSED_OVER[why]) for path, why in imported.passed_over
    ]
    return dataset_service_pb2.ImportImagesResponse(
        results=[outcome_proto(one, dataset) for one in imported.outcomes],
        passed_over=passed_over,
        subjects=imported.words,
    )


def layout(name: str) -> Layout:
    """The layout of this name; kohya's when nothing is said."""
    return Layout(name or Layout.KOHYA)


@contextmanager
def content_fields() -> Iterator[None]:
    """Errors of an upload in the spelling of the HTTP one: its fields have no header around them."""
    try:
        yield
    except DomainError as error:
        raise relocated(error, _content_field) from error


def content_file(download: Download) -> File:
    """A picture's bytes as an HTTP body."""
    return File(**vars(download))


def direct_upload(upload: dataset_service_pb2.CompletedUpload) -> DirectUpload:
    """A picture that was put to its address."""
    return DirectUpload(upload.upload_id, upload.file_name, upload.sha256, upload.caption, tuple(upload.tags))


def address_proto(address: Address) -> dataset_service_pb2.ImageUpload:
    """An address to put a picture to."""
    return dataset_service_pb2.ImageUpload(
        upload_id=address.upload_id, url=address.url, expire_time=timestamp(address.expire_time)
    )


def outcome_proto(outcome: Outcome, dataset: DatasetFields) -> dataset_service_pb2.UploadResult:
    """What became of a picture for a dataset of these fields."""
    result = dataset_service_pb2.UploadResult(
        file_name=outcome.file_name, differing_fields=outcome.differing, updated=outcome.updated
    )
    if outcome.image is not None:
        result.image.CopyFrom(image_proto(outcome.image, dataset))
    if outcome.error is not None:
        result.error.CopyFrom(grpc_errors.to_proto(outcome.error))
    return result


def view(form: dataset_service_pb2.DownloadImageRequest.View.ValueType) -> View:
    """Which form of a picture; the original when nothing is said."""
    return _VIEWS.get(form, View.ORIGINAL)


def form(request: dataset_service_pb2.DownloadImageRequest | dataset_service_pb2.GetImageContentRequest) -> Form:
    """How a picture is wanted. Raises InvalidArgument when only one of width and height is given."""
    if bool(request.width) != bool(request.height):
        raise InvalidArgument(
            "Only one of width and height is given",
            field="height" if request.width else "width",
            reason="SIZE_INCOMPLETE",
            remedy="Give both, or none to leave the size as it is.",
        )
    size = (request.width, request.height) if request.width else None
    return Form(view(request.view), crop(request.crop), size)


def upload_header(header: dataset_service_pb2.UploadImageHeader, dataset: DatasetRef) -> UploadHeader:
    """What is said of a picture for a dataset."""
    return UploadHeader(
        dataset=dataset,
        file_name=header.file_name,
        size_bytes=header.size_bytes,
        sha256=header.sha256,
        caption=header.caption,
        tags=tuple(header.tags),
        request_id=header.request_id,
    )


def _parent(header: dataset_service_pb2.UploadImageHeader) -> DatasetRef:
    return DatasetRef.parse(header.parent, field="header.parent")


def _content_field(field: str) -> str:
    return "content" if field == "chunk" else field.removeprefix("header.")
