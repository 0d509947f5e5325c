"""A change whose answer is lost on the way is sent again as the same request, by a real client to a real server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2_grpc
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from typer.testing import CliRunner

from gateway.cli import output
from gateway.cli.main import app


class _Losing(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Loses the first answers, as a gateway does that ends while it waits."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.request_ids: list[str] = []

    def CreateDataset(self, request: Any, context: Any) -> Any:
        self.request_ids.append(request.request_id)
        if len(self.request_ids) <= self.lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return dataset_pb2.Dataset(name=f"{request.parent}/datasets/{request.dataset_id}")

    def CreateDatasetVersion(self, request: pb.CreateDatasetVersionRequest, context: Any) -> Any:
        self.request_ids.append(request.request_id)
        return dataset_pb2.DatasetVersion(name=f"{request.parent}/versions/1")


@pytest.fixture
def losing() -> Iterator[tuple[_Losing, str]]:
    """The servicer and the address of its server."""
    servicer = _Losing(lost=2)  # type: ignore[abstract]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer, address
    server.stop(grace=None).wait()


def _run(address: str, *arguments: str) -> int:
    return CliRunner().invoke(app, ["--server", address, *arguments], prog_name="fiveshot").exit_code


def test_a_create_is_repeated_with_its_request_id(losing: tuple[_Losing, str]) -> None:
    servicer, address = losing
    assert _run(address, "dataset", "create", "cat") == output.OK
    assert len(servicer.request_ids) == 3
    assert len(set(servicer.request_ids)) == 1
    assert servicer.request_ids[0]


def test_two_commands_are_two_requests(losing: tuple[_Losing, str]) -> None:
    servicer, address = losing
    assert [_run(address, "dataset", "freeze", "cat") for _ in range(2)] == [output.OK, output.OK]
    assert len(set(servicer.request_ids)) == 2
