"""A dataset servicer that answers from what it was asked, for tests of what stands in front of a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from services.chassis import errors, http_bodies
from services.chassis.errors import DataLoss

SERVICE_NAME = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"].full_name


class RecordingDatasetServicer:
    """Remembers the metadata of each call, and the requests of updates and deletes.

    The dataset `missing` does not exist; the image `endless` has no end.

    going_out: downloads at work.
    """

    def __init__(self) -> None:
        self.going_out = 0
        self.metadata: list[dict[str, str]] = []
        self.uploaded: Any = None
        self.requests: list[Any] = []

    async def GetDataset(self, request: Any, context: Any) -> Any:
        self._record(context)
        if request.name.endswith("/missing"):
            raise errors.NotFound("There is no such dataset", field="name", remedy="List the datasets.")
        return dataset_pb2.Dataset(name=request.name, display_name="A dataset", image_count=5)

    async def CreateDataset(self, request: Any, context: Any) -> Any:
        self._record(context)
        answer = dataset_pb2.Dataset(name=f"{request.parent}/datasets/{request.dataset_id}")
        answer.MergeFrom(dataset_pb2.Dataset(display_name=request.dataset.display_name))
        return answer

    async def UpdateDataset(self, request: Any, context: Any) -> Any:
        self._record(context)
        self.requests.append(request)
        return request.dataset

    async def DeleteDataset(self, request: Any, context: Any) -> Any:
        self._record(context)
        self.requests.append(request)
        return Empty()

    async def UploadImage(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        self._record(context)
        size = 0
        async for message in request_iterator:
            size += len(message.chunk)
        return dataset_pb2.Image(name="projects/acme/datasets/d/images/i", size_bytes=size)

    async def UploadImageContent(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        self._record(context)
        pieces = [message async for message in request_iterator]
        self.uploaded = pieces[0]
        size = sum(len(piece.content.data) for piece in pieces)
        return dataset_pb2.Image(name="projects/acme/datasets/d/images/i", size_bytes=size)

    async def GetImageContent(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._record(context)

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                if number == 2 and request.name.endswith("/deleted"):
                    raise DataLoss("It was deleted meanwhile")
                yield bytes([number]) * 1000

        if request.name.endswith("/endless"):
            self.going_out += 1
            try:
                while True:
                    yield HttpBody(content_type="image/png", data=bytes(65_536))
            finally:
                self.going_out -= 1
        async for body in http_bodies.send(http_bodies.File("one.png", "image/png", 3000, "one", chunks()), context):
            yield body

    async def DownloadImage(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._record(context)
        for number in range(3):
            yield dataset_service_pb2.DownloadImageResponse(chunk=bytes([number]) * 1000)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds it to a server."""
        methods = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"].methods_by_name
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetDataset": grpc.unary_unary_rpc_method_handler(
                self.GetDataset, dataset_service_pb2.GetDatasetRequest.FromString, _serialize
            ),
            "CreateDataset": grpc.unary_unary_rpc_method_handler(
                self.CreateDataset, dataset_service_pb2.CreateDatasetRequest.FromString, _serialize
            ),
            "UpdateDataset": grpc.unary_unary_rpc_method_handler(
                self.UpdateDataset, dataset_service_pb2.UpdateDatasetRequest.FromString, _serialize
            ),
            "DeleteDataset": grpc.unary_unary_rpc_method_handler(
                self.DeleteDataset, dataset_service_pb2.DeleteDatasetRequest.FromString, _serialize
            ),
            "UploadImage": grpc.stream_unary_rpc_method_handler(
                self.UploadImage, dataset_service_pb2.UploadImageRequest.FromString, _serialize
            ),
            "UploadImageContent": grpc.stream_unary_rpc_method_handler(
                self.UploadImageContent, dataset_service_pb2.UploadImageContentRequest.FromString, _serialize
            ),
            "GetImageContent": grpc.unary_stream_rpc_method_handler(
                self.GetImageContent, dataset_service_pb2.GetImageContentRequest.FromString, _serialize
            ),
            "DownloadImage": grpc.unary_stream_rpc_method_handler(
                self.DownloadImage, dataset_service_pb2.DownloadImageRequest.FromString, _serialize
            ),
        }
        assert set(handlers) <= set(methods)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))

    def _record(self, context: Any) -> None:
        self.metadata.append(dict(context.invocation_metadata()))


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
