"""What differs between the two clients; `fiveshot.sync.platform` is its counterpart."""

from __future__ import annotations

import asyncio
from asyncio import Event, Lock, sleep
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
from fiveshot.connection import CHANNEL_OPTIONS, Endpoint

if TYPE_CHECKING:
    from fiveshot.audit.v1.audit_service_pb2_grpc import AuditServiceAsyncStub as AuditStub
    from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub as DatasetStub
    from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceAsyncStub as NotifierStub
    from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub as RegistryStub
    from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceAsyncStub as TaggerStub
    from fiveshot.trainer.v1.training_service_pb2_grpc import TrainingServiceAsyncStub as TrainingStub
else:
    from fiveshot.audit.v1.audit_service_pb2_grpc import AuditServiceStub as AuditStub
    from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub as DatasetStub
    from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceStub as NotifierStub
    from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub as RegistryStub
    from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceStub as TaggerStub
    from fiveshot.trainer.v1.training_service_pb2_grpc import TrainingServiceStub as TrainingStub

__all__ = [
    "AuditStub", "DatasetStub", "Event", "Lock", "NotifierStub", "RegistryStub", "TaggerStub", "TrainingStub", "close",
    "each",
    "open_channel", "read_bytes", "sleep",
]  # fmt: skip

T = TypeVar("T")


def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """A channel that connects with its first call."""
    if endpoint.secure:
        credentials = grpc.ssl_channel_credentials(endpoint.authorities)
        return grpc.aio.secure_channel(endpoint.address, credentials, CHANNEL_OPTIONS)
    return grpc.aio.insecure_channel(endpoint.address, CHANNEL_OPTIONS)


async def close(channel: grpc.aio.Channel) -> None:
    """Ends a connection and the calls on it."""
    await channel.close(None)


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], parallel: int) -> None:
    """Does `work` with every item, begun in their order, so many at once. The first error ends it and is raised."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    workers = [asyncio.create_task(worker()) for _ in range(parallel)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def read_bytes(path: Path) -> bytes:
    """A whole file."""
    return await asyncio.to_thread(path.read_bytes)
