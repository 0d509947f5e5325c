"""The connection of one command: where the gateway is, with which key and project, and the stubs of the services.

Options win over FIVESHOT_SERVER, FIVESHOT_API_KEY and FIVESHOT_PROJECT; these win over the local stack's state file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceStub
from fiveshot.trainer.v1.training_service_pb2_grpc import TrainingServiceStub

from gateway.cli.names import nearest_id
from gateway.cli.requests import with_request_id
from gateway.supervisor.folder import LOCAL_PROJECT, DataFolder, default_data_folder
from gateway.supervisor.run import running_state
from services.chassis.errors import InvalidArgument, Unavailable
from services.chassis.names import ID_RULE

CALL_TIMEOUT_S = 60.0
_MIB = 1024 * 1024
_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

_KINDS = {"datasets": "dataset", "trainingJobs": "job", "models": "model"}
_FULL_NAME = re.compile(r"projects(/[A-Za-z0-9-]{1,63})+")
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}(/[a-z0-9-]{1,63})*")


@dataclass
class Session:
    """What every command gets. server: host:port, or https://host:port for TLS. json: print machine-readable output."""

    server: str = ""
    api_key: str = ""
    project: str = ""
    json: bool = False
    ca_file: Path | None = None
    data: Path = field(default_factory=default_data_folder)
    _channels: list[grpc.Channel] = field(default_factory=list)

    @cached_property
    def dataset(self) -> DatasetServiceStub:
        """Stub of the dataset service."""
        return DatasetServiceStub(self._channel)

    @cached_property
    def tagger(self) -> TaggerServiceStub:
        """Stub of the tagger service."""
        return TaggerServiceStub(self._channel)

    @cached_property
    def trainer(self) -> TrainingServiceStub:
        """Stub of the training service."""
        return TrainingServiceStub(self._channel)

    @cached_property
    def registry(self) -> RegistryServiceStub:
        """Stub of the registry service."""
        return RegistryServiceStub(self._channel)

    @property
    def parent(self) -> str:
        """`projects/{project}`."""
        return f"projects/{self.project or LOCAL_PROJECT}"

    def name(self, collection: str, given: str) -> str:
        """The resource name of what the user typed: a full name stays, an id is put below the project.

        `name("datasets", "dogs")` is `projects/default/datasets/dogs`.
        """
        if not given:
            raise InvalidArgument(f"An empty name was given for {collection}", remedy="Give an id or a full name.")
        if not (_FULL_NAME if given.startswith("projects/") else _ID).fullmatch(given):
            near = "" if "/" in given else f"Did you mean '{nearest_id(given, _KINDS.get(collection, ''))}'? "
            raise InvalidArgument(
                f"'{given}' is neither an id nor a resource name", field="name", reason="NAME_INVALID",
                remedy=f"{near}An id holds {ID_RULE}; a name joins ids with slashes.",
            )  # fmt: skip
        return given if given.startswith("projects/") else f"{self.parent}/{collection}/{given}"

    def close(self) -> None:
        """Closes the connection, if there is one."""
        for channel in self._channels:
            channel.close()

    @cached_property
    def _channel(self) -> grpc.Channel:
        server, key = self._endpoint()
        options: list[tuple[str, Any]] = [
            ("grpc.service_config", json.dumps(_RETRIES)),
            ("grpc.max_receive_message_length", 64 * _MIB),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.initial_reconnect_backoff_ms", 200),
        ]
        scheme, _, address = server.rpartition("://")
        if scheme == "https":
            authorities = self.ca_file.read_bytes() if self.ca_file else None
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities), options)
        else:
            channel = grpc.insecure_channel(address, options)
        self._channels.append(channel)
        return grpc.intercept_channel(channel, _Credentials(key))

    def _endpoint(self) -> tuple[str, str]:
        """Server and key. Raises Unavailable when nothing was said and no local stack runs."""
        if self.server:
            return self.server, self.api_key
        folder = DataFolder(self.data)
        state = running_state(folder)
        if state is None or not state.server:
            raise Unavailable(
                "No server was named and no local stack runs",
                reason="NO_SERVER",
                remedy="Start one with `fiveshot up --detach`, or set FIVESHOT_SERVER and FIVESHOT_API_KEY.",
            )
        return state.server, self.api_key or folder.credentials().api_key


class _Credentials(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Adds the key to every call; to calls with one answer a deadline, and a request_id, when the caller set none."""

    def __init__(self, api_key: str) -> None:
        self._metadata = (("x-api-key", api_key),) if api_key else ()

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._details(client_call_details, CALL_TIMEOUT_S), with_request_id(request))

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._details(client_call_details, None), request)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._details(client_call_details, None), request_iterator)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._details(client_call_details, None), request_iterator)

    def _details(self, details: Any, timeout: float | None) -> Any:
        return _Details(
            details.method,
            details.timeout if details.timeout is not None else timeout,
            (*(details.metadata or ()), *self._metadata),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


@dataclass(frozen=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


def pages(call: Callable[[Any], Any], request: Any, items: str, limit: int) -> Iterator[Any]:
    """All items of a List method over its pages, at most `limit` (0: all). items: the field that holds them."""
    left = limit or None
    while True:
        if left is not None and hasattr(request, "page_size"):
            request.page_size = min(left, 1000)
        answer = call(request)
        for item in getattr(answer, items):
            if left == 0:
                return
            yield item
            left = None if left is None else left - 1
        if not answer.next_page_token or left == 0:
            return
        request.page_token = answer.next_page_token
