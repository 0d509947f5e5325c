"""A tagger beside a real dataset service, both on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceStub
from PIL import Image, ImageDraw

from gateway.demo_pictures.backgrounds import COLOURS
from services.chassis.grpc_client import channel
from services.chassis.service import serving
from services.chassis.store_settings import S3Settings
from services.dataset.app import build as build_dataset
from services.dataset.settings import Settings as DatasetSettings
from services.tagger.app import build
from services.tagger.settings import Settings
from tests.fixtures.patience import within

if TYPE_CHECKING:
    # Only the type stubs tell the two kinds of stubs apart.
    from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub
    from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceAsyncStub

DATASET = "projects/pets/datasets/discs"
ENDED = (tagger_pb2.TagJob.STATE_SUCCEEDED, tagger_pb2.TagJob.STATE_FAILED, tagger_pb2.TagJob.STATE_CANCELLED)


@dataclass
class Suite:
    """Stubs of both services, and where they listen."""

    datasets: DatasetServiceAsyncStub
    tagger: TaggerServiceAsyncStub
    dataset_target: str
    tagger_target: str
    connections: tuple[grpc.aio.Channel, ...]

    async def upload(self, colour: str, name: str, *, data: bytes = b"", **fields: object) -> dataset_pb2.Image:
        """A disc of a colour on white, or other bytes, with tags or a caption if given."""
        data = data or disc(colour)

        def messages() -> Iterator[dataset_service_pb2.UploadImageRequest]:
            header = dataset_service_pb2.UploadImageHeader(
                parent=DATASET,
                file_name=name,
                size_bytes=len(data),
                **fields,  # type: ignore[arg-type]
            )
            yield dataset_service_pb2.UploadImageRequest(header=header)
            yield dataset_service_pb2.UploadImageRequest(chunk=data)

        return await self.datasets.UploadImage(messages())

    async def image(self, name: str) -> dataset_pb2.Image:
        """The image as it is now."""
        return await self.datasets.GetImage(dataset_service_pb2.GetImageRequest(name=name))

    async def start(self, **fields: object) -> tagger_pb2.TagJob:
        """A tag job over the dataset."""
        request = tagger_service_pb2.TagImagesRequest(parent="projects/pets", dataset=DATASET, **fields)  # type: ignore[arg-type]
        return await self.tagger.TagImages(request)

    async def states(self, job: tagger_pb2.TagJob) -> list[tagger_pb2.TagJob]:
        """Everything that a watcher sees until the job ends."""
        async with within():
            request = tagger_service_pb2.WatchTagJobRequest(name=job.name)
            return [state async for state in self.tagger.WatchTagJob(request)]

    async def run(self, **fields: object) -> tagger_pb2.TagJob:
        """A tag job, watched to its end."""
        return (await self.states(await self.start(**fields)))[-1]


def disc(colour: str, side: int = 320) -> bytes:
    """A PNG of a disc on white."""
    image = Image.new("RGB", (side, side), COLOURS["white"])
    ImageDraw.Draw(image).ellipse([side // 4, side // 4, 3 * side // 4, 3 * side // 4], fill=COLOURS[colour])
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def tagger_settings(dataset_target: str, database_url: str, **more: object) -> Settings:
    """Settings of a tagger beside that dataset service. It only measures: what a network says is tested elsewhere."""
    fixed = {"shutdown_grace_s": 0.0, "photo": False}
    given = {"dataset_target": dataset_target, "database_url": database_url, **fixed, **more}
    return Settings(**given)  # type: ignore[arg-type]


@pytest.fixture
async def dataset_target(s3_settings: S3Settings, tmp_path: Path) -> AsyncIterator[str]:
    """A dataset service."""
    settings = DatasetSettings(
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'dataset.db'}", shutdown_grace_s=0.0, **s3_settings.model_dump()
    )
    async with serving(settings, build_dataset(settings)) as server:
        yield server.target


@pytest.fixture
async def suite(dataset_target: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """Both services and an empty dataset with a trigger word."""
    async with running_suite(dataset_target, tmp_path) as suite:
        yield suite


@pytest.fixture
async def photo_suite(dataset_target: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """The same with the tagger of photographs."""
    async with running_suite(dataset_target, tmp_path, photo=True) as suite:
        yield suite


@asynccontextmanager
async def running_suite(dataset_target: str, tmp_path: Path, **more: object) -> AsyncIterator[Suite]:
    """Both services and an empty dataset with a trigger word; more: settings of the tagger."""
    settings = tagger_settings(dataset_target, f"sqlite+aiosqlite:///{tmp_path / 'tagger.db'}", **more)
    async with serving(settings, build(settings)) as server:
        connections = channel(dataset_target), channel(server.target)
        suite = Suite(
            DatasetServiceStub(connections[0]),
            TaggerServiceStub(connections[1]),
            dataset_target,
            server.target,
            connections,
        )
        await suite.datasets.CreateDataset(
            dataset_service_pb2.CreateDatasetRequest(
                parent="projects/pets", dataset_id="discs", dataset=dataset_pb2.Dataset(trigger_word="sks")
            )
        )
        yield suite
        for connection in connections:
            await connection.close(None)
