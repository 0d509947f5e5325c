"""The registry, over gRPC: what a model version is for, and what its file is."""

from __future__ import annotations

import json
import struct

import grpc
from fiveshot.registry.v1 import registry_service_pb2, registry_service_pb2_grpc

from services.chassis.errors import DataLoss
from services.chassis.names import project_of
from services.trainer.ports.previews import SavedVersion
from services.trainer.recipe.lora_shape import LoraHeader

_TIMEOUT_S = 10.0
_MAKING_S = 120.0
"""A form that is not stored is made whole before its first byte comes."""

# https://github.com/huggingface/safetensors#format
_LENGTH = struct.Struct("<Q")
_ABOUT = "__metadata__"
_MOST = 16 * 1024 * 1024
"""Bytes of the longest header that the registry keeps."""


class GrpcModelVersions:
    """Implements `ports.previews.ModelVersions`. The channel carries the caller's project rights along."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(channel)

    async def look(self, name: str) -> SavedVersion:
        request = registry_service_pb2.GetModelVersionRequest(name=name)
        version = await self._stub.GetModelVersion(request, timeout=_TIMEOUT_S)
        files = {file.file_id: file.sha256 for file in version.files}
        return SavedVersion(version.name, version.lineage.base_model, files, version.rank, version.alpha)

    async def header(self, name: str, form: str) -> LoraHeader:
        request = registry_service_pb2.DownloadModelVersionRequest(name=name, file_id=form)
        call = self._stub.DownloadModelVersion(request, timeout=_MAKING_S)
        head = bytearray()
        try:
            async for message in call:
                head += message.chunk
                end = _LENGTH.size + _LENGTH.unpack_from(head)[0] if len(head) >= _LENGTH.size else _MOST
                if len(head) >= end or end > _MOST:
                    break
        finally:
            # The tensors are the worker's to read.
            call.cancel()
        try:
            (length,) = _LENGTH.unpack_from(head)
            header = json.loads(head[_LENGTH.size : _LENGTH.size + length])
            return LoraHeader(tuple(name for name in header if name != _ABOUT), header.get(_ABOUT) or {})
        except (struct.error, ValueError, AttributeError, RecursionError) as error:
            raise DataLoss(
                f"The stored LoRA of {name} cannot be read",
                reason="MODEL_FILE_UNREADABLE",
                remedy="Use another one; tell the operator that the object store lost data.",
            ) from error


class GrpcSavedModels:
    """Implements `ports.base_models.SavedModels`. The channel carries the caller's project rights along."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(channel)

    async def trained_on(self, base_model: str) -> int:
        request = registry_service_pb2.ListModelsRequest(
            parent=f"projects/{project_of(base_model)}", filter=f'base_models:"{base_model}"', page_size=1
        )
        return (await self._stub.ListModels(request, timeout=_TIMEOUT_S)).total_size
