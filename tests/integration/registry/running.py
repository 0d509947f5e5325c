"""The registry with a trainer in memory, served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
from fiveshot.registry.v1 import model_pb2 as pb
from fiveshot.registry.v1 import registry_service_pb2 as service_pb

from services.chassis import service
from services.chassis.errors import DomainError
from services.chassis.grpc_client import channel
from services.chassis.s3 import ObjectStore
from services.registry.app import build
from services.registry.settings import Settings
from tests.fakes.finished_epochs import EPOCH
from tests.fakes.trainer_service import FakeTrainer

if TYPE_CHECKING:
    from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

PETS = "projects/pets"
REX = f"{PETS}/models/rex"


@dataclass
class Running:
    """A running registry with its client, and the two servers that a test looks into."""

    stub: RegistryServiceAsyncStub
    trainer: FakeTrainer
    objects: ObjectStore

    async def keys(self) -> list[str]:
        return [info.key async for info in self.objects.list("registry/")]

    async def save(self, **fields: object) -> pb.ModelVersion:
        values = {"parent": PETS, "epoch": EPOCH, "model_id": "rex", "create_model": True, **fields}
        return await self.stub.SaveEpoch(service_pb.SaveEpochRequest(**values))  # type: ignore[arg-type]

    async def refused(self, kind: type[DomainError], **fields: object) -> DomainError:
        """A save that fails with `kind`; rows and objects are as before."""
        keys, models = await self.keys(), await self.models()
        with pytest.raises(kind) as caught:
            await self.save(**fields)
        assert await self.keys() == keys
        assert await self.models() == models
        return caught.value

    async def models(self) -> service_pb.ListModelsResponse:
        return await self.stub.ListModels(service_pb.ListModelsRequest(parent=PETS))

    async def download(self, name: str, file_id: str = "") -> tuple[pb.ModelFile, bytes]:
        request = service_pb.DownloadModelVersionRequest(name=name, file_id=file_id)
        responses = [response async for response in self.stub.DownloadModelVersion(request)]
        assert max(len(response.chunk) for response in responses) <= 256 * 1024
        return responses[0].file, b"".join(response.chunk for response in responses)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a registry of these settings."""
    async with service.serving(settings, build(settings)) as server:
        connection = channel(server.target)
        yield connection
        await connection.close(None)
