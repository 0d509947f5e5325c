"""A dataset service in memory behind real gRPC: what the trainer and its workers ask of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from PIL import Image

from services.chassis.errors import FailedPrecondition, NotFound

SERVICE_NAME = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"].full_name
_Service = dataset_service_pb2
# The methods that are not written here answer UNIMPLEMENTED; typed as Any, for they are abstract to a type checker.
_Servicer: Any = dataset_service_pb2_grpc.DatasetServiceServicer


@dataclass
class Photo:
    """One picture of a set. caption: its final text, trigger word included."""

    data: bytes
    caption: str
    num_repeats: int = 0
    size: tuple[int, int] = (64, 64)


@dataclass
class PhotoSet:
    """A dataset. versions: the photos of each frozen one."""

    trigger_word: str
    photos: list[Photo]
    versions: list[list[Photo]] = field(default_factory=list)


def photo(
    color: tuple[int, int, int], caption: str, *, num_repeats: int = 0, size: tuple[int, int] = (64, 64)
) -> Photo:
    """A plain PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return Photo(buffer.getvalue(), caption, num_repeats, size)


class FakeDatasetServer(_Servicer):  # type: ignore[misc]  # the generated class is typed for the blocking API
    """Datasets by name. spoilt: names of version images whose bytes come out wrong."""

    def __init__(self) -> None:
        self.sets: dict[str, PhotoSet] = {}
        self.spoilt: set[str] = set()

    async def GetDataset(self, request: _Service.GetDatasetRequest, context: Any) -> dataset_pb2.Dataset:
        found = self._set(request.name)
        return dataset_pb2.Dataset(name=request.name, trigger_word=found.trigger_word, num_repeats=0)

    async def ListImages(self, request: _Service.ListImagesRequest, context: Any) -> _Service.ListImagesResponse:
        photos = self._set(request.parent).photos
        return _Service.ListImagesResponse(
            images=[
                dataset_pb2.Image(
                    name=f"{request.parent}/images/img-{number}",
                    caption=item.caption,
                    training_text=item.caption,
                    num_repeats=item.num_repeats,
                    width=item.size[0],
                    height=item.size[1],
                )
                for number, item in enumerate(photos, 1)
            ],
            total_size=len(photos),
        )

    async def CreateDatasetVersion(
        self, request: _Service.CreateDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        found = self._set(request.parent)
        if not found.photos:
            raise FailedPrecondition("The dataset holds no image", reason="DATASET_EMPTY", remedy="Upload a picture.")
        found.versions.append(list(found.photos))
        return self._version(f"{request.parent}/versions/{len(found.versions)}")

    async def GetDatasetVersion(
        self, request: _Service.GetDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        return self._version(request.name)

    async def ListDatasetVersionImages(
        self, request: _Service.ListDatasetVersionImagesRequest, context: Any
    ) -> _Service.ListDatasetVersionImagesResponse:
        photos = self._frozen(request.parent)
        return _Service.ListDatasetVersionImagesResponse(
            images=[
                dataset_pb2.DatasetVersionImage(
                    name=f"{request.parent}/images/img-{number}",
                    file_name=f"photo-{number}.png",
                    content_type="image/png",
                    width=item.size[0],
                    height=item.size[1],
                    size_bytes=len(item.data),
                    sha256=hashlib.sha256(item.data).hexdigest(),
                    caption=item.caption,
                    num_repeats=max(1, item.num_repeats),
                )
                for number, item in enumerate(photos, 1)
            ],
            total_size=len(photos),
        )

    async def DownloadImage(
        self, request: _Service.DownloadImageRequest, context: Any
    ) -> AsyncIterator[_Service.DownloadImageResponse]:
        version, _, image = request.name.rpartition("/images/img-")
        data = self._frozen(version)[int(image) - 1].data
        yield _Service.DownloadImageResponse(chunk=data[:100], content_type="image/png", size_bytes=len(data))
        yield _Service.DownloadImageResponse(chunk=data[100:] + (b"x" if request.name in self.spoilt else b""))

    def _set(self, name: str) -> PhotoSet:
        if name not in self.sets:
            raise NotFound(f"There is no dataset '{name}'", field="name", reason="DATASET_NOT_FOUND")
        return self.sets[name]

    def _frozen(self, name: str) -> list[Photo]:
        dataset, _, number = name.rpartition("/versions/")
        versions = self._set(dataset).versions
        if not 1 <= int(number) <= len(versions):
            raise NotFound(f"There is no version '{name}'", field="name", reason="VERSION_NOT_FOUND")
        return versions[int(number) - 1]

    def _version(self, name: str) -> dataset_pb2.DatasetVersion:
        photos = self._frozen(name)
        digest = hashlib.sha256(b"".join(item.data for item in photos)).hexdigest()
        trigger_word = self._set(name.rpartition("/versions/")[0]).trigger_word
        return dataset_pb2.DatasetVersion(name=name, digest=digest, image_count=len(photos), trigger_word=trigger_word)
