"""What differs between the two clients; `fiveshot.aio.platform` is its counterpart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from time import sleep
from typing import TypeVar

import grpc
from fiveshot.audit.v1.audit_service_pb2_grpc import AuditServiceStub as AuditStub
from fiveshot.connection import CHANNEL_OPTIONS, Endpoint
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


def open_channel(endpoint: Endpoint) -> grpc.Channel:
    """A channel that connects with its first call."""
    if endpoint.secure:
        credentials = grpc.ssl_channel_credentials(endpoint.authorities)
        return grpc.secure_channel(endpoint.address, credentials, CHANNEL_OPTIONS)
    return grpc.insecure_channel(endpoint.address, CHANNEL_OPTIONS)


def close(channel: grpc.Channel) -> None:
    """Ends a connection and the calls on it."""
    channel.close()


def each(items: Iterable[T], work: Callable[[T], None], parallel: int) -> None:
    """Does `work` with every item, begun in their order, so many at once. The first error ends it and is raised."""
    left, taking, over = iter(items), Lock(), Event()

    def worker() -> None:
        try:
            while not over.is_set():
                with taking:
                    item = next(left, _NONE)
                if isinstance(item, _None):
                    return
                work(item)
        except BaseException:
            over.set()
            raise

    with ThreadPoolExecutor(parallel, thread_name_prefix="fiveshot") as pool:
        running = [pool.submit(worker) for _ in range(parallel)]
        try:
            for each_running in running:
                each_running.result()
        finally:
            # Ctrl-C reaches the thread that waits here; the others end with the item that they have.
            over.set()


def read_bytes(path: Path) -> bytes:
    """A whole file."""
    return path.read_bytes()


class _None:
    """No item is left."""


_NONE = _None()
