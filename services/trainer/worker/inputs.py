"""What a job trains on, fetched to local files and checked: pictures, and the checkpoint to resume from."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from fiveshot.trainer.v1 import training_job_pb2

from services.chassis.errors import DataLoss, Unavailable
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.trainer.engine.job import TrainedDataset, TrainItem

_Form = dataset_service_pb2.DownloadImageRequest
_PAGE = 1000
_CALL_S = 60.0


@dataclass(frozen=True, slots=True)
class JobPictures:
    """What a job trains on, as ``TrainJobSpec`` takes it."""

    items: tuple[TrainItem, ...]
    datasets: tuple[TrainedDataset, ...] = ()
    regularization: tuple[TrainItem, ...] = ()


class Inputs:
    """Fetches inputs; repeats while the dataset service or the object store is away."""

    def __init__(self, datasets: grpc.aio.Channel, objects: ObjectStore, *, patience_s: float) -> None:
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(datasets)
        self._objects = objects
        self._patience_s = patience_s

    async def of_job(self, job: training_job_pb2.TrainingJob, folder: Path, *, masks: bool) -> JobPictures:
        """The pictures of all of a job's datasets, numbered as they are trained. Raises as `pictures` does, and
        Unavailable where the trainer names only some of the datasets."""
        found = await self._of_job(job, folder, masks=masks)
        if len(found.items) != job.image_count:
            # A replica of a release before jobs on several datasets: the next attempt may come from another one.
            raise Unavailable(
                f"The job trains {job.image_count} pictures, and the trainer named {len(found.items)}",
                reason="PICTURES_DIFFER",
                remedy="Retry the job once every replica of the trainer is of the same release.",
            )
        return found

    async def _of_job(self, job: training_job_pb2.TrainingJob, folder: Path, *, masks: bool) -> JobPictures:
        if not job.datasets:
            return JobPictures(await self.pictures(job.dataset_version, folder, masks=masks))
        items: list[TrainItem] = []
        regularization: list[TrainItem] = []
        datasets: list[TrainedDataset] = []
        for place, each in enumerate(job.datasets):
            found = await self.pictures(each.dataset_version, folder / str(place), masks=masks)
            if each.regularization:
                regularization += found
            else:
                number, weight = len(datasets), each.weight if each.HasField("weight") else 1.0
                items += [replace(item, dataset=number, weight=weight) for item in found]
                name = each.dataset_version.split("/")[3]
                datasets.append(TrainedDataset(name, each.dataset_digest, each.trigger_word, each.subject))
        several = tuple(datasets) if len(datasets) > 1 else ()
        return JobPictures(tuple(items), several, tuple(regularization))

    async def pictures(self, version: str, folder: Path, *, masks: bool) -> tuple[TrainItem, ...]:
        """The version's pictures in its order, with its own repeats; with their masks where a job asks for them.

        Raises DataLoss when the bytes of a picture or mask are not those that were pinned.
        """
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        items = []
        for number, image in enumerate(await self._images(version)):
            path = folder / f"{number:04d}.{'png' if image.content_type == 'image/png' else 'jpg'}"
            await self._download(image, path, image.sha256, _Form.VIEW_ORIGINAL)
            mask = folder / f"{number:04d}-mask.png" if masks and image.HasField("mask") else None
            if mask is not None:
                await self._download(image, mask, image.mask.sha256, _Form.VIEW_MASK)
            crop = image.crop
            cut = image.HasField("crop") and crop.right > crop.left and crop.bottom > crop.top
            items.append(
                TrainItem(
                    image_path=path,
                    caption=image.caption,
                    repeats=max(1, image.num_repeats),
                    crop=(crop.left, crop.top, crop.right, crop.bottom) if cut else None,
                    name=image.file_name,
                    mask_path=mask,
                )
            )
        return tuple(items)

    async def checkpoint(self, files: tuple[training_job_pb2.EpochFile, ...], folder: Path) -> Path | None:
        """The folder with the checkpoint's files; None when there are none."""
        for file in files:
            path = folder / Path(file.file_name).name

            async def fetch(key: str = file.object_key, to: Path = path) -> None:
                await self._objects.download_to(key, to)

            await patiently(fetch, what="object store", patience_s=self._patience_s)
            _check(await asyncio.to_thread(path.read_bytes), file.sha256, file.file_name)
        return folder if files else None

    async def _images(self, version: str) -> list[dataset_pb2.DatasetVersionImage]:
        images: list[dataset_pb2.DatasetVersionImage] = []
        token = ""
        while True:
            request = dataset_service_pb2.ListDatasetVersionImagesRequest(
                parent=version, page_size=_PAGE, page_token=token
            )

            async def call(
                request: dataset_service_pb2.ListDatasetVersionImagesRequest = request,
            ) -> dataset_service_pb2.ListDatasetVersionImagesResponse:
                return await self._datasets.ListDatasetVersionImages(request, timeout=_CALL_S)

            page = await patiently(call, what="dataset service", patience_s=self._patience_s)
            images += page.images
            token = page.next_page_token
            if not token:
                return images

    async def _download(
        self, image: dataset_pb2.DatasetVersionImage, path: Path, sha256: str, form: _Form.View.ValueType
    ) -> None:
        request = _Form(name=image.name, view=form)

        async def call() -> bytes:
            stream = self._datasets.DownloadImage(request, timeout=_CALL_S)
            return b"".join([message.chunk async for message in stream])

        data = await patiently(call, what="dataset service", patience_s=self._patience_s)
        _check(data, sha256, image.file_name)
        await asyncio.to_thread(path.write_bytes, data)


def _check(data: bytes, sha256: str, name: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataLoss(
            f"The stored file {name} is not what was written",
            reason="DIGEST_MISMATCH",
            remedy="Upload the picture again and start a new job; tell the operator that the object store lost data.",
            metadata={"expected": sha256, "found": found},
        )
