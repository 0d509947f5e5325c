"""The registry, over gRPC: what a model version is for."""

from __future__ import annotations

import grpc
from fiveshot.registry.v1 import registry_service_pb2, registry_service_pb2_grpc

from services.chassis.names import project_of
from services.trainer.ports.previews import SavedVersion

_TIMEOUT_S = 10.0


class GrpcModelVersions:
    """Implements `ports.previews.ModelVersions`. The channel carries the caller's project rights along."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(channel)

    async def look(self, name: str) -> SavedVersion:
        request = registry_service_pb2.GetModelVersionRequest(name=name)
        version = await self._stub.GetModelVersion(request, timeout=_TIMEOUT_S)
        return SavedVersion(version.name, version.lineage.base_model)


class GrpcSavedModels:
    """Implements `ports.base_models.SavedModels`. The channel carries the caller's project rights along."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(channel)

    async def trained_on(self, base_model: str) -> int:
        request = registry_service_pb2.ListModelsRequest(
            parent=f"projects/{project_of(base_model)}", filter=f'base_models:"{base_model}"', page_size=1
        )
        return (await self._stub.ListModels(request, timeout=_TIMEOUT_S)).total_size
