"""The dataset service, over gRPC."""

from __future__ import annotations

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc

from services.trainer.models.base import TrainingImage, TrainingSet
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
            images += [_image(item, item.num_repeats, item.caption) for item in page.images]
            token = page.next_page_token
            if not token:
                return TrainingSet(name, version.digest, version.trigger_word, tuple(images))

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
            images += [
                _image(item, item.num_repeats or dataset.num_repeats, item.training_text) for item in page.images
            ]
            token = page.next_page_token
            if not token:
                return TrainingSet("", "", dataset.trigger_word, tuple(images))


def _image(
    item: dataset_pb2.Image | dataset_pb2.DatasetVersionImage, repeats: int, caption: str
) -> TrainingImage:
    crop = item.crop
    whole = not item.HasField("crop") or crop.right <= crop.left or crop.bottom <= crop.top
    cut = None if whole else (crop.left, crop.top, crop.right, crop.bottom)
    return TrainingImage(PictureSize(item.width, item.height, cut, max(1, repeats)), caption)
