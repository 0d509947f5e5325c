"""The dataset service, over gRPC."""

from __future__ import annotations

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc

from services.trainer.models.base import TextSource, TrainingImage, TrainingSet
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.plan import PictureSize

_PAGE = 1000
_TIMEOUT_S = 30.0


class GrpcDatasets:
    """Implements `ports.Datasets`. The channel carries the caller's project rights along."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)

    async def look(self, name: str) -> TrainingSet:
        return await self._version(name) if "/versions/" in name else await self._live(name)

    async def pin(self, name: str) -> TrainingSet:
        if "/versions/" in name:
            return await self._version(name)
        request = dataset_service_pb2.CreateDatasetVersionRequest(parent=name)
        return await self._version((await self._stub.CreateDatasetVersion(request, timeout=_TIMEOUT_S)).name)

    async def draw(self, image: str, part: Crop, size: tuple[int, int]) -> bytes:
        left, top, right, bottom = part
        request = dataset_service_pb2.DownloadImageRequest(
            name=image,
            view=dataset_service_pb2.DownloadImageRequest.VIEW_CROP,
            crop=dataset_pb2.Crop(left=left, top=top, right=right, bottom=bottom),
            width=size[0],
            height=size[1],
        )
        return b"".join([part.chunk async for part in self._stub.DownloadImage(request, timeout=_TIMEOUT_S)])

    async def _version(self, name: str) -> TrainingSet:
        version = await self._stub.GetDatasetVersion(
            dataset_service_pb2.GetDatasetVersionRequest(name=name), timeout=_TIMEOUT_S
        )
        images: list[TrainingImage] = []
        token = ""
        while True:
            page = await self._stub.ListDatasetVersionImages(
                dataset_service_pb2.ListDatasetVersionImagesRequest(parent=name, page_size=_PAGE, page_token=token),
                timeout=_TIMEOUT_S,
            )
            images += [_of_version(item) for item in page.images]
            token = page.next_page_token
            if not token:
                return TrainingSet(name, version.digest, version.trigger_word, tuple(images), version.subject)

    async def _live(self, name: str) -> TrainingSet:
        dataset = await self._stub.GetDataset(
            dataset_service_pb2.GetDatasetRequest(name=name), timeout=_TIMEOUT_S
        )
        images: list[TrainingImage] = []
        token = ""
        while True:
            page = await self._stub.ListImages(
                dataset_service_pb2.ListImagesRequest(parent=name, page_size=_PAGE, page_token=token),
                timeout=_TIMEOUT_S,
            )
            images += [_of_live(item, dataset.num_repeats) for item in page.images]
            token = page.next_page_token
            if not token:
                return TrainingSet("", "", dataset.trigger_word, tuple(images), dataset.subject)


def _of_version(item: dataset_pb2.DatasetVersionImage) -> TrainingImage:
    size = PictureSize(item.width, item.height, _box(item.crop), max(1, item.num_repeats))
    tags = tuple(tag.label for tag in item.tags)
    return TrainingImage(size, item.caption, item.name, item.file_name, tags=tags)


def _of_live(item: dataset_pb2.Image, repeats: int) -> TrainingImage:
    size = PictureSize(item.width, item.height, _box(item.crop), max(1, item.num_repeats or repeats))
    caption, tags = item.caption.strip(), tuple(tag.label for tag in item.tags)
    source = TextSource.CAPTION if caption else TextSource.TAGS if tags else TextSource.NONE
    return TrainingImage(
        size,
        item.training_text,
        item.name,
        item.file_name,
        source,
        tags_unused=bool(caption and tags),
        tags=tags,
        facts=tuple(item.facts),
        content_area=_box(item.content_area),
        perceptual_hash=item.perceptual_hash,
    )


def _box(crop: dataset_pb2.Crop) -> Crop | None:
    """None for a message that is unset, and for one of zeros, which means the whole picture."""
    whole = crop.right <= crop.left or crop.bottom <= crop.top
    return None if whole else (crop.left, crop.top, crop.right, crop.bottom)
