"""What callers see of base models: those of the catalogue, and those that their projects have uploaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fiveshot.trainer.v1 import base_model_pb2, training_service_pb2
from google.protobuf.empty_pb2 import Empty

from services.trainer.proto_mapping.base_models import (
    announcement_from_proto,
    announcement_key,
    base_model_edit,
    own_to_proto,
    upload_messages,
    view_to_proto,
)
from services.trainer.proto_mapping.parameters import base_model_to_proto
from services.trainer.proto_mapping.requests import list_request
from services.trainer.use_cases.own_base_models import OwnBaseModels
from services.trainer.use_cases.reading import JobReading
from services.trainer.use_cases.uploading_base_models import BaseModelUploading

_Service = training_service_pb2


class BaseModelMethods:
    """The methods of TrainingService about base models."""

    def __init__(self, reading: JobReading, own: OwnBaseModels, uploading: BaseModelUploading) -> None:
        self._catalogue = reading
        self._own = own
        self._uploading = uploading

    async def ListBaseModels(
        self, request: _Service.ListBaseModelsRequest, context: Any
    ) -> _Service.ListBaseModelsResponse:
        models = await self._catalogue.base_models()
        return _Service.ListBaseModelsResponse(base_models=[base_model_to_proto(model) for model in models])

    async def ListOwnBaseModels(
        self, request: _Service.ListOwnBaseModelsRequest, context: Any
    ) -> _Service.ListOwnBaseModelsResponse:
        views, token, total = await self._own.list(list_request(request))
        return _Service.ListOwnBaseModelsResponse(
            base_models=[view_to_proto(view) for view in views], next_page_token=token, total_size=total
        )

    async def GetBaseModel(self, request: _Service.GetBaseModelRequest, context: Any) -> base_model_pb2.BaseModel:
        if request.name.startswith("projects/"):
            return view_to_proto(await self._own.get(request.name))
        return base_model_to_proto(await self._catalogue.base_model(request.name))

    async def CreateBaseModel(self, request: _Service.CreateBaseModelRequest, context: Any) -> base_model_pb2.BaseModel:
        asked, key = announcement_from_proto(request), announcement_key(request)
        return view_to_proto(await self._own.announce(asked, key, validate_only=request.validate_only))

    async def UploadBaseModel(
        self, request: AsyncIterator[_Service.UploadBaseModelRequest], context: Any
    ) -> base_model_pb2.BaseModel:
        return own_to_proto(await self._uploading.upload(upload_messages(request)))

    async def UpdateBaseModel(self, request: _Service.UpdateBaseModelRequest, context: Any) -> base_model_pb2.BaseModel:
        return view_to_proto(await self._own.update(base_model_edit(request)))

    async def DeleteBaseModel(self, request: _Service.DeleteBaseModelRequest, context: Any) -> Empty:
        await self._own.delete(request.name, etag=request.etag, force=request.force)
        return Empty()
