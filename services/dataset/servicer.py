"""The rpc methods: parse, call, map. Errors pass through to the interceptor, which knows their codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from fiveshot.usage.v1 import usage_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from services.chassis import http_bodies, telemetry
from services.chassis.names import project_of
from services.dataset.models.edits import Edit
from services.dataset.models.names import DatasetRef, EditRef, ImageRef, VersionRef, parse_picture
from services.dataset.models.resources import Image
from services.dataset.proto_mapping import projects, resources, transfers
from services.dataset.use_cases.datasets import DatasetVerbs
from services.dataset.use_cases.direct_uploads import DirectUploads
from services.dataset.use_cases.edits import EditVerbs
from services.dataset.use_cases.exports import ExportVerb
from services.dataset.use_cases.image_batches import ImageBatches, ImageDelete
from services.dataset.use_cases.images import ImageVerbs
from services.dataset.use_cases.imports import ImportVerb
from services.dataset.use_cases.masks import MaskVerbs
from services.dataset.use_cases.projects import ProjectVerbs
from services.dataset.use_cases.tags import TagVerbs
from services.dataset.use_cases.trained_pictures import TrainedPictures
from services.dataset.use_cases.uploads import UploadVerb
from services.dataset.use_cases.usage import UsageVerbs
from services.dataset.use_cases.versions import VersionVerbs

messages = dataset_service_pb2

STORED = telemetry.counter("fiveshot_dataset_images_stored_total", "Pictures that callers sent and that were kept.")
STORED_BYTES = telemetry.counter("fiveshot_dataset_image_bytes_stored_total", "Bytes of those pictures.")


class DatasetServicer(dataset_service_pb2_grpc.DatasetServiceServicer):
    """fiveshot.dataset.v1.DatasetService."""

    def __init__(
        self,
        *,
        datasets: DatasetVerbs,
        uploads: UploadVerb,
        images: ImageVerbs,
        trained: TrainedPictures,
        batches: ImageBatches,
        direct: DirectUploads,
        tags: TagVerbs,
        versions: VersionVerbs,
        imports: ImportVerb,
        exports: ExportVerb,
        usage: UsageVerbs,
        masks: MaskVerbs,
        edits: EditVerbs,
        project_verbs: ProjectVerbs,
    ) -> None:
        self._datasets = datasets
        self._uploads = uploads
        self._images = images
        self._trained = trained
        self._batches = batches
        self._direct = direct
        self._tags = tags
        self._versions = versions
        self._imports = imports
        self._exports = exports
        self._usage = usage
        self._masks = masks
        self._edits = edits
        self._projects = project_verbs

    async def ListProjects(self, request: messages.ListProjectsRequest, context: Any) -> messages.ListProjectsResponse:
        return projects.projects_proto(await self._projects.list(projects.projects_request(request)))

    async def CreateDataset(self, request: messages.CreateDatasetRequest, context: Any) -> dataset_pb2.Dataset:
        return resources.dataset_proto(await self._datasets.create(resources.new_dataset(request)))

    async def GetDataset(self, request: messages.GetDatasetRequest, context: Any) -> dataset_pb2.Dataset:
        return resources.dataset_proto(await self._datasets.get(DatasetRef.parse(request.name)))

    async def ListDatasets(self, request: messages.ListDatasetsRequest, context: Any) -> messages.ListDatasetsResponse:
        found, token, total = await self._datasets.list(resources.list_request(request))
        return messages.ListDatasetsResponse(
            datasets=[resources.dataset_proto(dataset) for dataset in found], next_page_token=token, total_size=total
        )

    async def UpdateDataset(self, request: messages.UpdateDatasetRequest, context: Any) -> dataset_pb2.Dataset:
        ref = DatasetRef.parse(request.dataset.name, field="dataset.name")
        fields, mask = resources.dataset_fields(request.dataset), tuple(request.update_mask.paths)
        return resources.dataset_proto(await self._datasets.update(ref, fields, mask, request.dataset.etag))

    async def DeleteDataset(self, request: messages.DeleteDatasetRequest, context: Any) -> Empty:
        await self._datasets.delete(DatasetRef.parse(request.name), etag=request.etag, force=request.force)
        return Empty()

    async def UploadImage(self, request: AsyncIterator[messages.UploadImageRequest], context: Any) -> dataset_pb2.Image:
        return await self._shown(_counted(await self._uploads.upload(transfers.upload_messages(request))))

    async def UploadImageContent(
        self, request: AsyncIterator[messages.UploadImageContentRequest], context: Any
    ) -> dataset_pb2.Image:
        with transfers.content_fields():
            return await self._shown(_counted(await self._uploads.upload(transfers.content_messages(request))))

    async def ImportImages(
        self, request: AsyncIterator[messages.ImportImagesRequest], context: Any
    ) -> messages.ImportImagesResponse:
        imported = await self._imports.run(transfers.import_messages(request))
        return transfers.imported_proto(imported, (await self._datasets.get(imported.dataset)).fields)

    async def GetImage(self, request: messages.GetImageRequest, context: Any) -> dataset_pb2.Image:
        return await self._shown(await self._images.get(ImageRef.parse(request.name)))

    async def ListImages(self, request: messages.ListImagesRequest, context: Any) -> messages.ListImagesResponse:
        found, token, total = await self._images.list(resources.list_request(request))
        dataset = await self._datasets.get(DatasetRef.parse(request.parent, field="parent"))
        return messages.ListImagesResponse(
            images=[
                resources.image_proto(image, dataset.fields, with_features=request.with_features) for image in found
            ],
            next_page_token=token,
            total_size=total,
        )

    async def UpdateImage(self, request: messages.UpdateImageRequest, context: Any) -> dataset_pb2.Image:
        ref = ImageRef.parse(request.image.name, field="image.name")
        fields, mask = resources.image_fields(request.image), tuple(request.update_mask.paths)
        return await self._shown(await self._images.update(ref, fields, mask, request.image.etag))

    async def DeleteImage(self, request: messages.DeleteImageRequest, context: Any) -> Empty:
        await self._images.delete(ImageRef.parse(request.name), etag=request.etag)
        return Empty()

    async def DownloadImage(
        self, request: messages.DownloadImageRequest, context: Any
    ) -> AsyncIterator[messages.DownloadImageResponse]:
        picture = await self._trained.download(parse_picture(request.name), transfers.form(request))
        first = True
        async for chunk in picture.chunks:
            if first:
                yield messages.DownloadImageResponse(
                    chunk=chunk, content_type=picture.content_type, size_bytes=picture.size_bytes or 0
                )
                first = False
            else:
                yield messages.DownloadImageResponse(chunk=chunk)

    async def CreateImageUploads(
        self, request: messages.CreateImageUploadsRequest, context: Any
    ) -> messages.CreateImageUploadsResponse:
        addresses = await self._direct.addresses(DatasetRef.parse(request.parent, field="parent"), request.count)
        return messages.CreateImageUploadsResponse(uploads=[transfers.address_proto(one) for one in addresses])

    async def CompleteImageUploads(
        self, request: messages.CompleteImageUploadsRequest, context: Any
    ) -> messages.CompleteImageUploadsResponse:
        parent = DatasetRef.parse(request.parent, field="parent")
        outcomes = await self._direct.complete(parent, [transfers.direct_upload(one) for one in request.uploads])
        for stored in [one.image for one in outcomes if one.image is not None]:
            _counted(stored)
        fields = (await self._datasets.get(parent)).fields
        return messages.CompleteImageUploadsResponse(results=[transfers.outcome_proto(one, fields) for one in outcomes])

    async def GetImageDownloadUrl(
        self, request: messages.GetImageDownloadUrlRequest, context: Any
    ) -> messages.GetImageDownloadUrlResponse:
        address = await self._direct.address_of(parse_picture(request.name), transfers.view(request.view))
        expire_time = resources.timestamp(address.expire_time)
        return messages.GetImageDownloadUrlResponse(url=address.url, expire_time=expire_time)

    async def BatchGetImages(
        self, request: messages.BatchGetImagesRequest, context: Any
    ) -> messages.BatchGetImagesResponse:
        parent = DatasetRef.parse(request.parent, field="parent")
        found = await self._batches.get(parent, request.names)
        return messages.BatchGetImagesResponse(images=await self._all_shown(parent, found))

    async def BatchUpdateImages(
        self, request: messages.BatchUpdateImagesRequest, context: Any
    ) -> messages.BatchUpdateImagesResponse:
        parent = DatasetRef.parse(request.parent, field="parent")
        changed, edit = await self._batches.update(parent, [resources.image_edit(one) for one in request.requests])
        return messages.BatchUpdateImagesResponse(images=await self._all_shown(parent, changed), edit=_name(edit))

    async def UploadImageMask(
        self, request: AsyncIterator[messages.UploadImageMaskRequest], context: Any
    ) -> dataset_pb2.Image:
        return await self._shown(await self._masks.upload(transfers.mask_messages(request)))

    async def BatchSetImageMasks(
        self, request: messages.BatchSetImageMasksRequest, context: Any
    ) -> messages.BatchSetImageMasksResponse:
        parent = DatasetRef.parse(request.parent, field="parent")
        changed, edit = await self._masks.set_all(parent, [transfers.new_mask(one) for one in request.requests])
        return messages.BatchSetImageMasksResponse(images=await self._all_shown(parent, changed), edit=_name(edit))

    async def ListEdits(self, request: messages.ListEditsRequest, context: Any) -> messages.ListEditsResponse:
        found = await self._edits.list(DatasetRef.parse(request.parent, field="parent"))
        return messages.ListEditsResponse(edits=[resources.edit_proto(edit) for edit in found])

    async def UndoEdit(self, request: messages.UndoEditRequest, context: Any) -> dataset_pb2.Edit:
        undone = await self._edits.undo(EditRef.parse(request.name), validate_only=request.validate_only)
        return resources.edit_proto(undone)

    async def BatchDeleteImages(self, request: messages.BatchDeleteImagesRequest, context: Any) -> Empty:
        deletes = [ImageDelete(one.name, one.etag) for one in request.requests]
        await self._batches.delete(DatasetRef.parse(request.parent, field="parent"), deletes)
        return Empty()

    async def GetImageContent(self, request: messages.GetImageContentRequest, context: Any) -> AsyncIterator[HttpBody]:
        picture = await self._trained.download(parse_picture(request.name), transfers.form(request))
        async for body in http_bodies.send(transfers.content_file(picture), context):
            yield body

    async def EditTags(self, request: messages.EditTagsRequest, context: Any) -> messages.EditTagsResponse:
        outcome = await self._tags.edit(
            DatasetRef.parse(request.parent, field="parent"),
            filter_text=request.filter,
            edits=[resources.tag_edit(edit) for edit in request.edits],
            validate_only=request.validate_only,
            etag=request.etag,
        )
        return messages.EditTagsResponse(
            matched_images=outcome.matched_images, changed_images=outcome.changed_images, edit=_name(outcome.edit)
        )

    async def ListTagStats(self, request: messages.ListTagStatsRequest, context: Any) -> messages.ListTagStatsResponse:
        stats = await self._tags.stats(DatasetRef.parse(request.parent, field="parent"))
        return messages.ListTagStatsResponse(stats=[resources.stat_proto(stat) for stat in stats])

    async def CreateDatasetVersion(
        self, request: messages.CreateDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        version = await self._versions.create(
            DatasetRef.parse(request.parent, field="parent"),
            description=request.description,
            request_id=request.request_id,
            labels=dict(request.labels),
        )
        return resources.version_proto(version)

    async def UpdateDatasetVersion(
        self, request: messages.UpdateDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        given, mask = request.dataset_version, tuple(request.update_mask.paths)
        ref = VersionRef.parse(given.name, field="dataset_version.name")
        return resources.version_proto(await self._versions.label(ref, dict(given.labels), mask, given.etag))

    async def GetDatasetVersion(
        self, request: messages.GetDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        return resources.version_proto(await self._versions.get(VersionRef.parse(request.name)))

    async def ListDatasetVersions(
        self, request: messages.ListDatasetVersionsRequest, context: Any
    ) -> messages.ListDatasetVersionsResponse:
        found, token, total = await self._versions.list_versions(resources.list_request(request))
        return messages.ListDatasetVersionsResponse(
            versions=[resources.version_proto(version) for version in found], next_page_token=token, total_size=total
        )

    async def ExportDatasetVersion(
        self, request: messages.ExportDatasetVersionRequest, context: Any
    ) -> AsyncIterator[HttpBody]:
        archive = await self._exports.open(VersionRef.parse(request.name), transfers.layout(request.layout))
        async for body in http_bodies.send(transfers.content_file(archive), context):
            yield body

    async def DeleteDatasetVersion(self, request: messages.DeleteDatasetVersionRequest, context: Any) -> Empty:
        await self._versions.delete(VersionRef.parse(request.name), etag=request.etag, force=request.force)
        return Empty()

    async def ListDatasetVersionImages(
        self, request: messages.ListDatasetVersionImagesRequest, context: Any
    ) -> messages.ListDatasetVersionImagesResponse:
        found, token, total = await self._versions.list_images(resources.list_request(request))
        return messages.ListDatasetVersionImagesResponse(
            images=[resources.version_image_proto(image, with_features=request.with_features) for image in found],
            next_page_token=token,
            total_size=total,
        )

    async def GetUsage(self, request: messages.GetUsageRequest, context: Any) -> usage_pb2.Usage:
        return resources.usage_proto(request.name, await self._usage.get(project_of(request.name)))

    async def _shown(self, image: Image) -> dataset_pb2.Image:
        dataset = await self._datasets.get(image.ref.dataset)
        return resources.image_proto(image, dataset.fields)

    async def _all_shown(self, parent: DatasetRef, images: list[Image]) -> list[dataset_pb2.Image]:
        fields = (await self._datasets.get(parent)).fields
        return [resources.image_proto(image, fields) for image in images]


def _name(edit: Edit | None) -> str:
    return edit.ref.name if edit else ""


def _counted(image: Image) -> Image:
    STORED.inc()
    STORED_BYTES.inc(image.picture.size_bytes)
    return image
