"""The dataset service, over gRPC."""

from __future__ import annotations

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc

from services.trainer.models.base import PictureFeatures, TextSource, TrainingImage, TrainingSet
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.plan import PictureSize

_Form = dataset_service_pb2.DownloadImageRequest
_PAGE = 1000
_TIMEOUT_S = 30.0
# By whether a caption and whether tags are trained.
_SOURCES = {
    (True, True): TextSource.CAPTION_AND_TAGS,
    (True, False): TextSource.CAPTION,
    (False, True): TextSource.TAGS,
    (False, False): TextSource.NONE,
}


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

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        left, top, right, bottom = part
        request = _Form(
            name=image,
            view=_Form.VIEW_MASK if mask else _Form.VIEW_CROP,
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
                dataset_service_pb2.ListDatasetVersionImagesRequest(
                    parent=name, page_size=_PAGE, page_token=token, with_features=True
                ),
                timeout=_TIMEOUT_S,
            )
            images += [_of_version(item, version) for item in page.images]
            token = page.next_page_token
            if not token:
                return TrainingSet(name, version.digest, version.trigger_word, tuple(images), version.subject)

    async def _live(self, name: str) -> TrainingSet:
        dataset = await self._stub.GetDataset(dataset_service_pb2.GetDatasetRequest(name=name), timeout=_TIMEOUT_S)
        images: list[TrainingImage] = []
        token = ""
        while True:
            page = await self._stub.ListImages(
                dataset_service_pb2.ListImagesRequest(
                    parent=name, page_size=_PAGE, page_token=token, with_features=True
                ),
                timeout=_TIMEOUT_S,
            )
            images += [_of_live(item, dataset) for item in page.images]
            token = page.next_page_token
            if not token:
                return TrainingSet("", "", dataset.trigger_word, tuple(images), dataset.subject)


def _of_version(item: dataset_pb2.DatasetVersionImage, version: dataset_pb2.DatasetVersion) -> TrainingImage:
    size = PictureSize(item.width, item.height, _box(item.crop), max(1, item.num_repeats), masked=item.HasField("mask"))
    tags = tuple(tag.label for tag in item.tags)
    return TrainingImage(
        size,
        item.caption,
        item.name,
        item.file_name,
        tags_unused=bool(tags) and version.text_from == dataset_pb2.TEXT_FROM_CAPTION,
        tags=tags,
        facts=tuple(item.facts),
        content_area=_box(item.content_area),
        perceptual_hash=item.perceptual_hash,
        text_areas=tuple(filter(None, map(_box, item.text_areas))),
        features=_features(item),
    )


def _of_live(item: dataset_pb2.Image, dataset: dataset_pb2.Dataset) -> TrainingImage:
    repeats = max(1, item.num_repeats or dataset.num_repeats)
    size = PictureSize(item.width, item.height, _box(item.crop), repeats, masked=item.HasField("mask"))
    has_caption, tags = bool(item.caption.strip()), tuple(tag.label for tag in item.tags)
    takes_caption, takes_tags = _taken(dataset.text_from, has_caption=has_caption)
    caption, listed = has_caption and takes_caption, bool(tags) and takes_tags
    source = _SOURCES[caption, listed]
    return TrainingImage(
        size,
        item.training_text,
        item.name,
        item.file_name,
        source,
        tags_unused=bool(tags) and not listed,
        tags=tags,
        facts=tuple(item.facts),
        content_area=_box(item.content_area),
        perceptual_hash=item.perceptual_hash,
        text_areas=tuple(filter(None, map(_box, item.text_areas))),
        features=_features(item),
        stored_tags=tuple(tag.SerializeToString() for tag in item.tags),
        caption_unused=has_caption and not caption,
        caption_counts=dataset.text_from not in (dataset_pb2.TEXT_FROM_TAGS, dataset_pb2.TEXT_FROM_CAPTION_AND_TAGS),
        tags_count=dataset.text_from != dataset_pb2.TEXT_FROM_CAPTION,
    )


def _taken(text_from: dataset_pb2.TextFrom.ValueType, *, has_caption: bool) -> tuple[bool, bool]:
    """Whether a caption and tags are trained, by what the dataset has chosen."""
    match text_from:
        case dataset_pb2.TEXT_FROM_CAPTION:
            return True, False
        case dataset_pb2.TEXT_FROM_TAGS:
            return False, True
        case dataset_pb2.TEXT_FROM_CAPTION_AND_TAGS:
            return True, True
        case _:
            return True, not has_caption


def _box(crop: dataset_pb2.Crop) -> Crop | None:
    """None for a message that is unset, and for one of zeros, which means the whole picture."""
    whole = crop.right <= crop.left or crop.bottom <= crop.top
    return None if whole else (crop.left, crop.top, crop.right, crop.bottom)


def _features(item: dataset_pb2.Image | dataset_pb2.DatasetVersionImage) -> PictureFeatures | None:
    return PictureFeatures(item.features.model_sha256, item.features.places) if item.HasField("features") else None
