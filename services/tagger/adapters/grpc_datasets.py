"""The dataset service as the tagger uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from google.protobuf.field_mask_pb2 import FieldMask

from services.chassis.errors import InvalidArgument
from services.tagger.models.tags import CaptionOrigin, DatasetRecord, ImageRecord, Seen, Tag
from services.tagger.ports import Box
from services.tagger.proto_mapping import messages as proto_mapping

_PAGE_SIZE = 500
_CALL_S = 15.0
_DOWNLOAD_S = 60.0


class GrpcDatasets:
    """Datasets over a chassis channel, which turns failures into DomainErrors and carries the caller's identity."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = DatasetServiceStub(channel)

    async def get_dataset(self, name: str) -> DatasetRecord:
        """See the port."""
        request = dataset_service_pb2.GetDatasetRequest(name=name)
        dataset = await self._stub.GetDataset(request, timeout=_CALL_S)
        return DatasetRecord(dataset.name, dataset.trigger_word, dataset.image_count, dataset.subject)

    async def list_images(self, dataset: str, filter: str) -> list[ImageRecord]:
        """See the port."""
        images: list[ImageRecord] = []
        token = ""
        while True:
            page = await self._stub.ListImages(
                dataset_service_pb2.ListImagesRequest(
                    parent=dataset, filter=filter, page_size=_PAGE_SIZE, page_token=token
                ),
                timeout=_CALL_S,
            )
            images += [proto_mapping.image_from_proto(image) for image in page.images]
            token = page.next_page_token
            if not token:
                return images

    async def get_image(self, name: str) -> ImageRecord:
        """See the port."""
        request = dataset_service_pb2.GetImageRequest(name=name)
        return proto_mapping.image_from_proto(await self._stub.GetImage(request, timeout=_CALL_S))

    async def read_original(self, name: str) -> bytes:
        """See the port."""
        request = dataset_service_pb2.DownloadImageRequest(
            name=name, view=dataset_service_pb2.DownloadImageRequest.VIEW_ORIGINAL
        )
        return b"".join([part.chunk async for part in self._stub.DownloadImage(request, timeout=_DOWNLOAD_S)])

    async def write_tags(self, image: str, tags: Sequence[Tag], etag: str, seen: Seen) -> ImageRecord:
        """See the port."""
        features = None if seen.features is None else dataset_pb2.PictureFeatures(**vars(seen.features))
        changed = dataset_pb2.Image(
            name=image,
            etag=etag,
            tags=[proto_mapping.tag_to_proto(tag) for tag in tags],
            text_areas=map(proto_mapping.box_to_proto, seen.text_areas or ()),
            features=features,
        )
        paths = ["tags", *(name for name, value in vars(seen).items() if value is not None)]
        request = dataset_service_pb2.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=paths))
        try:
            return proto_mapping.image_from_proto(await self._stub.UpdateImage(request, timeout=_CALL_S))
        except InvalidArgument as error:
            # During a rollout a replica of before knows no features; the tags are worth more than they.
            if error.reason != "UPDATE_MASK_INVALID" or seen.features is None:
                raise
            return await self.write_tags(image, tags, etag, replace(seen, features=None))

    async def write_crops(self, dataset: str, crops: Mapping[str, Box], etags: Mapping[str, str]) -> None:
        """See the port."""
        images = [
            dataset_pb2.Image(name=name, etag=etags[name], crop=proto_mapping.box_to_proto(box))
            for name, box in crops.items()
        ]
        mask = FieldMask(paths=["crop"])
        requests = [dataset_service_pb2.UpdateImageRequest(image=image, update_mask=mask) for image in images]
        request = dataset_service_pb2.BatchUpdateImagesRequest(parent=dataset, requests=requests)
        await self._stub.BatchUpdateImages(request, timeout=_CALL_S)

    async def write_caption(self, image: str, caption: str, origin: CaptionOrigin, etag: str) -> ImageRecord:
        """See the port."""
        written_by = dataset_pb2.CaptionOrigin(captioner=origin.captioner, model=origin.model)
        changed = dataset_pb2.Image(name=image, etag=etag, caption=caption, caption_origin=written_by)
        request = dataset_service_pb2.UpdateImageRequest(
            image=changed, update_mask=FieldMask(paths=["caption", "caption_origin"])
        )
        return proto_mapping.image_from_proto(await self._stub.UpdateImage(request, timeout=_CALL_S))
