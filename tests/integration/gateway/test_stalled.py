"""Callers that stop in the middle: what stands still is ended, what is merely quiet is not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub

from tests.fixtures.patience import lasting, until
from tests.integration.gateway.conftest import Gateway

STALLED_S = 0.6
pytestmark = pytest.mark.parametrize("gateway", [{"stalled_s": STALLED_S}], indirect=True)


async def sent(gateway: Gateway, verb: str, path: str, *more: str, body: bytes = b"") -> socket.socket:
    """A connection over which so much of a request went. It takes little that it does not read."""
    host, _, port = gateway.target.rpartition(":")
    line, loop = socket.socket(), asyncio.get_running_loop()
    line.setblocking(False)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(line, (host, int(port)))
    lines = [f"{verb} {path} HTTP/1.1", f"host: {gateway.target}", f"x-api-key: {gateway.key}", *more, "", ""]
    await loop.sock_sendall(line, "\r\n".join(lines).encode("ascii") + body)
    return line


async def test_a_download_that_nobody_takes_ends_and_frees_its_place(gateway: Gateway) -> None:
    path = "/v1/projects/acme/datasets/d/images/endless:download"
    with await sent(gateway, "GET", path) as stands_still, await sent(gateway, "GET", path) as slow:
        await until(lambda: gateway.servicer.going_out == 2)

        async def reading() -> None:
            while await asyncio.get_running_loop().sock_recv(slow, 65_536):
                pass

        reads = asyncio.create_task(reading())
        await until(lambda: gateway.servicer.going_out == 1)
        assert not reads.done()
        reads.cancel()
        await asyncio.gather(reads, return_exceptions=True)
        assert stands_still.fileno() > 0


async def test_a_json_body_that_does_not_come_is_answered(gateway: Gateway) -> None:
    headers = ("content-type: application/json", "content-length: 400")
    with await sent(gateway, "POST", "/v1/projects/acme/datasets", *headers, body=b'{"datasetId":') as line:
        answer = await asyncio.get_running_loop().sock_recv(line, 65_536)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        status = json.loads(body)
        assert (status["code"], status["details"][0]["reason"]) == (4, "GATEWAY_HTTP_408")
        assert status["details"][0]["metadata"]["remedy"]


async def test_a_call_that_waits_for_its_caller_or_its_service_goes_on(gateway: Gateway) -> None:
    async def pieces() -> AsyncIterator[Any]:
        for _ in range(2):
            yield dataset_service_pb2.UploadImageRequest(chunk=b"x")
            await lasting(3 * STALLED_S)

    async with grpc.aio.insecure_channel(gateway.target) as channel:
        stub: Any = DatasetServiceStub(channel)
        assert (await stub.UploadImage(pieces(), metadata=(("x-api-key", gateway.key),))).size_bytes == 2
    upload = "/v1/projects/acme/datasets/d/images:upload?file_name=a.png"
    with await sent(gateway, "POST", upload, "content-length: 2", body=b"x") as line:
        await lasting(3 * STALLED_S)
        await asyncio.get_running_loop().sock_sendall(line, b"y")
        assert (await asyncio.get_running_loop().sock_recv(line, 65_536)).startswith(b"HTTP/1.1 200")
