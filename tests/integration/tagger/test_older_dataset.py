"""A tagger beside a dataset service of before, which knows less of an image."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceServicer, add_DatasetServiceServicer_to_server

from services.chassis.errors import InvalidArgument
from services.chassis.grpc_client import channel
from services.chassis.grpc_errors import to_status
from services.tagger.adapters.grpc_datasets import GrpcDatasets
from services.tagger.models.tags import Features, Seen, Tag

NAME = "projects/pets/datasets/discs/images/img-1"
# The methods that are not written here answer UNIMPLEMENTED; typed as Any, for they are abstract to a type checker.
_Servicer: Any = DatasetServiceServicer
FEATURES = Features("a" * 64, bytes(800))


class OlderDatasets(_Servicer):  # type: ignore[misc]
    """Knows the fields of an image up to `text_areas`."""

    def __init__(self) -> None:
        self.paths: list[list[str]] = []
        self.known = {"tags", "text_areas"}

    async def UpdateImage(self, request: dataset_service_pb2.UpdateImageRequest, context: Any) -> dataset_pb2.Image:
        self.paths.append(list(request.update_mask.paths))
        if set(request.update_mask.paths) - self.known:
            status = to_status(InvalidArgument("No such field", reason="UPDATE_MASK_INVALID", field="update_mask"))
            await context.abort_with_status(status)
        return request.image


async def test_tags_are_written_where_features_are_not_known_yet() -> None:
    server, older = grpc.aio.server(), OlderDatasets()
    add_DatasetServiceServicer_to_server(older, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with channel(f"127.0.0.1:{port}") as connection:
            datasets = GrpcDatasets(connection)
            written = await datasets.write_tags(NAME, [Tag("dog")], "", Seen(((0.0, 0.9, 1.0, 1.0),), FEATURES))
            assert [tag.label for tag in written.tags] == ["dog"]
            assert older.paths == [["tags", "text_areas", "features"], ["tags", "text_areas"]]
            older.known = {"tags"}
            with pytest.raises(InvalidArgument):
                await datasets.write_tags(NAME, [Tag("dog")], "", Seen(((0.0, 0.9, 1.0, 1.0),), FEATURES))
    finally:
        await server.stop(None)
