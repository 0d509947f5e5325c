"""Callers of every path into the suite, without retries: gRPC, JSON, gRPC-Web, uploads. They count what fails."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.notifier.v1 import notifier_service_pb2 as ns
from fiveshot.registry.v1 import registry_service_pb2 as rs
from fiveshot.tagger.v1 import tagger_service_pb2 as ts
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as tr
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from PIL import Image

from tests.chaos.fleet import Fleet
from tests.fixtures.patience import lasting, within

PARENT = "projects/roll"
DATASET = f"{PARENT}/datasets/cat"
MODEL = "baseModels/fiveshot-tiny"
UNARY = ("gRPC", "JSON", "gRPC-Web")
PATHS = (*UNARY, "upload")
_IMAGES_A_DATASET = 80
# Between two calls of one caller: processes that start need the same cores.
_PAUSE_S = 0.01
_ANSWER_S = 30.0
_TRAILERS = 0x80
# Both doors are called in turn. No retry policy, so the library sends a call again only when it has never left.
_CHANNEL = (
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.use_local_subchannel_pool", 1),
    # As our own client: a door that is open again is found before the other one closes.
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


@dataclass(frozen=True)
class Ask:
    """One unary call. reads: it changes nothing. verb, path: as JSON; its body is `body`."""

    method: str
    request: Message
    reads: bool
    verb: str
    path: str
    body: Message | None = None


@dataclass(frozen=True)
class Failure:
    """A call that was not answered. began, ended: on the loop's clock."""

    path: str
    method: str
    reads: bool
    began: float
    ended: float
    error: str


@dataclass
class Load:
    """What was called. name: in the ids that it makes. counts: answered calls by path. uploaded: images by dataset."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    uploaded: dict[str, int] = field(default_factory=dict)

    async def one(self, path: str, method: str, reads: bool, call: Callable[[], Awaitable[None]]) -> None:
        """Makes one call and counts it."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with within(_ANSWER_S):
                await call()
        except (grpc.RpcError, httpx.HTTPError, AssertionError, TimeoutError) as error:
            said = f"{error.code()}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else repr(error)
            self.failures.append(Failure(path, method, reads, began, clock(), said[:300]))
        else:
            self.counts[path] += 1


def asks(prefix: str) -> Iterator[Ask]:
    """Calls to all services, some of which change something, without end. prefix: of the ids that they make."""
    job = training_job_pb2.TrainingJob(base_model=MODEL, dataset_version=DATASET)
    estimate = tr.EstimateTrainingJobRequest(parent=PARENT, training_job=job)
    for number in itertools.count():
        made = f"{prefix}-{number}"
        body = ds.CreateDatasetRequest(dataset_id=made)
        create = ds.CreateDatasetRequest(parent=PARENT, dataset_id=made)
        yield _get("dataset.v1.DatasetService/GetDataset", ds.GetDatasetRequest(name=DATASET), DATASET)
        yield _get("dataset.v1.DatasetService/ListImages", ds.ListImagesRequest(parent=DATASET), f"{DATASET}/images")
        jobs = f"{PARENT}/trainingJobs"
        yield _get("trainer.v1.TrainingService/ListTrainingJobs", tr.ListTrainingJobsRequest(parent=PARENT), jobs)
        # The trainer asks the dataset service for it.
        yield Ask(
            "trainer.v1.TrainingService/EstimateTrainingJob", estimate, True, "POST", f"{jobs}:estimate",
            tr.EstimateTrainingJobRequest(training_job=job),
        )  # fmt: skip
        yield _get("tagger.v1.TaggerService/ListTagJobs", ts.ListTagJobsRequest(parent=PARENT), f"{PARENT}/tagJobs")
        yield _get("registry.v1.RegistryService/ListModels", rs.ListModelsRequest(parent=PARENT), f"{PARENT}/models")
        hooks = f"{PARENT}/webhooks"
        yield _get("notifier.v1.NotifierService/ListWebhooks", ns.ListWebhooksRequest(parent=PARENT), hooks)
        yield Ask("dataset.v1.DatasetService/CreateDataset", create, False, "POST", f"{PARENT}/datasets", body)


@asynccontextmanager
async def calling(fleet: Fleet, load: Load, callers: int) -> AsyncIterator[asyncio.Event]:
    """So many callers on each path until the block ends, or until the event that it gets is set."""
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(_web(fleet, door)) for door in fleet.doors]
        tasks = []
        for number in range(callers):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(fleet.server, _CHANNEL))
            caller = Caller(channel, doors[number % 2 :] + doors[: number % 2], fleet.key, load)
            for path, calls in (("gRPC", caller.grpc), ("JSON", caller.json), ("gRPC-Web", caller.grpc_web)):
                tasks.append(
                    asyncio.create_task(_until(over, caller, path, calls, f"{load.name}-{path.lower()}-{number}"))
                )
            tasks.append(asyncio.create_task(_uploads(over, caller, f"{load.name}-upload-{number}")))
        try:
            yield over
        finally:
            over.set()
            await asyncio.gather(*tasks)


async def _until(
    over: asyncio.Event, caller: Caller, path: str, call: Callable[[Ask], Awaitable[None]], prefix: str
) -> None:
    for ask in asks(prefix):
        if over.is_set():
            return
        await caller.load.one(path, ask.method, ask.reads, lambda ask=ask: call(ask))  # type: ignore[misc]
        await lasting(_PAUSE_S)


async def _uploads(over: asyncio.Event, caller: Caller, prefix: str) -> None:
    dataset = ""
    for number in itertools.count():
        if over.is_set():
            return
        if number % _IMAGES_A_DATASET == 0:
            made = f"{prefix}-{number}"
            dataset = f"{PARENT}/datasets/{made}"
            create = ds.CreateDatasetRequest(parent=PARENT, dataset_id=made, request_id=made)
            ask = Ask("dataset.v1.DatasetService/CreateDataset", create, False, "POST", "")
            failed = -1
            # One that failed with its replica is made again: the uploads need it.
            while failed != len(caller.load.failures) and not over.is_set():
                failed = len(caller.load.failures)
                await caller.load.one("gRPC", ask.method, ask.reads, lambda ask=ask: caller.grpc(ask))  # type: ignore[misc]
        stream = number % 2
        upload = caller.upload if stream else caller.upload_content
        method = "UploadImage" if stream else "UploadImageContent"
        data, file_name = picture(), f"{number}.png"
        await caller.load.one("upload", method, False, lambda d=dataset, b=data, n=file_name, u=upload: u(d, n, b))  # type: ignore[misc]
        await lasting(_PAUSE_S)


class Caller:
    """One caller by every path. doors: of the gateways; one that refuses the connection is passed over."""

    def __init__(self, channel: grpc.aio.Channel, doors: list[httpx.AsyncClient], key: str, load: Load) -> None:
        self.load = load
        self._channel = channel
        self._doors = doors
        self._turn = itertools.count()
        self._metadata = (("x-api-key", key),)

    async def grpc(self, ask: Ask) -> None:
        """Over gRPC."""
        call = self._channel.unary_unary(f"/fiveshot.{ask.method}", type(ask.request).SerializeToString, bytes)
        await call(ask.request, metadata=self._metadata)

    async def json(self, ask: Ask) -> None:
        """As JSON."""
        body = None if ask.body is None else MessageToDict(ask.body)
        answer = await self._send(ask.verb, f"/v1/{ask.path}", json=body)
        assert answer.status_code == 200, answer.text

    async def grpc_web(self, ask: Ask) -> None:
        """As browsers do, over HTTP/1.1."""
        data = ask.request.SerializeToString()
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        answer = await self._send(
            "POST", f"/fiveshot.{ask.method}", content=b"\0" + struct.pack(">I", len(data)) + data, headers=headers
        )
        assert answer.status_code == 200, answer.text
        assert _status(answer) == "0", (dict(answer.headers), answer.content[-300:])

    async def upload(self, dataset: str, file_name: str, data: bytes) -> None:
        """A picture as a stream of messages."""

        async def messages() -> AsyncIterator[ds.UploadImageRequest]:
            yield ds.UploadImageRequest(header=ds.UploadImageHeader(parent=dataset, file_name=file_name))
            for begin in range(0, len(data), 16_384):
                yield ds.UploadImageRequest(chunk=data[begin : begin + 16_384])

        method = "/fiveshot.dataset.v1.DatasetService/UploadImage"
        call = self._channel.stream_unary(method, ds.UploadImageRequest.SerializeToString, dataset_pb2.Image.FromString)
        image = await call(messages(), metadata=self._metadata)
        assert image.size_bytes == len(data)
        self._kept(dataset)

    async def upload_content(self, dataset: str, file_name: str, data: bytes) -> None:
        """A picture as the body of a POST."""
        path = f"/v1/{dataset}/images:upload?file_name={file_name}"
        answer = await self._send("POST", path, content=data, headers={"content-type": "image/png"})
        assert answer.status_code == 200, answer.text
        self._kept(dataset)

    def _kept(self, dataset: str) -> None:
        self.load.uploaded[dataset] = self.load.uploaded.get(dataset, 0) + 1

    async def _send(self, verb: str, path: str, **given: Any) -> httpx.Response:
        turn = next(self._turn) % len(self._doors)
        *first, last = self._doors[turn:] + self._doors[:turn]
        for door in first:
            # Nothing was sent where nobody listens: so do clients with a name that has several addresses.
            with suppress(httpx.ConnectError):
                return await door.request(verb, path, **given)
        return await last.request(verb, path, **given)


def picture() -> bytes:
    """A picture that nobody has uploaded before, about 40 kB."""
    made = io.BytesIO()
    Image.frombytes("RGB", (112, 112), os.urandom(112 * 112 * 3)).save(made, "png")
    return made.getvalue()


def _get(method: str, request: Message, path: str) -> Ask:
    return Ask(method, request, True, "GET", path)


def _web(fleet: Fleet, door: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{door}", headers={"x-api-key": fleet.key}, timeout=None)


def _status(answer: httpx.Response) -> str:
    """`grpc-status`, from the trailers at the end of the body or from the headers."""
    at, body = 0, answer.content
    while at < len(body):
        kind, length = body[at], int.from_bytes(body[at + 1 : at + 5])
        if kind == _TRAILERS:
            lines = body[at + 5 : at + 5 + length].decode().split("\r\n")
            return dict(line.split(":", 1) for line in lines if line).get("grpc-status", "?").strip()
        at += 5 + length
    return str(answer.headers.get("grpc-status", "?"))
