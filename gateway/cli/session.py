"""The connection of one command: where the gateway is, with which key and project, and the stubs of the services.

Options win over FIVESHOT_SERVER, FIVESHOT_API_KEY and FIVESHOT_PROJECT; these win over the local stack's state file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fiveshot.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from fiveshot.connection import ID_RULE, Endpoint, default_data_folder
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from fiveshot.errors import InvalidArgument
from fiveshot.notifier.v1.notifier_service_pb2_grpc import NotifierServiceStub
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from fiveshot.sync.calls import Stubs
from fiveshot.sync.client import Client
from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceStub
from fiveshot.trainer.v1.training_service_pb2_grpc import TrainingServiceStub

from gateway.cli.names import nearest_id
from gateway.supervisor.folder import LOCAL_PROJECT

_KINDS = {"datasets": "dataset", "trainingJobs": "job", "models": "model", "webhooks": "webhook"}


@dataclass
class Session:
    """What every command gets. server: host:port, or https://host:port for TLS. json: print machine-readable output.
    traceparent: of the trace that all calls of the command belong to; "" leaves it to the environment."""

    server: str = ""
    api_key: str = ""
    project: str = ""
    json: bool = False
    ca_file: Path | None = None
    data: Path = field(default_factory=default_data_folder)
    traceparent: str = ""

    @cached_property
    def stubs(self) -> Stubs:
        """Stubs of every service. Raises as `client`."""
        return self.client.stubs

    @cached_property
    def client(self) -> Client:
        """The Python client. Raises Unavailable when no server was named and no local stack runs."""
        return Client(
            self.server, api_key=self.api_key, project=self.project, ca_file=self.ca_file, data=self.data,
            traceparent=self.traceparent,
        )  # fmt: skip

    @cached_property
    def dataset(self) -> DatasetServiceStub:
        """Stub of the dataset service."""
        return self.stubs.dataset

    @cached_property
    def tagger(self) -> TaggerServiceStub:
        """Stub of the tagger service."""
        return self.stubs.tagger

    @cached_property
    def trainer(self) -> TrainingServiceStub:
        """Stub of the training service."""
        return self.stubs.trainer

    @cached_property
    def registry(self) -> RegistryServiceStub:
        """Stub of the registry service."""
        return self.stubs.registry

    @cached_property
    def notifier(self) -> NotifierServiceStub:
        """Stub of the notifier service."""
        return self.stubs.notifier

    @cached_property
    def audit(self) -> AuditServiceStub:
        """Stub of the audit service."""
        return self.stubs.audit

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
        try:
            return Endpoint("", self.project or LOCAL_PROJECT).resource(collection, given)
        except InvalidArgument as error:
            near = "" if "/" in given else nearest_id(given, _KINDS.get(collection, ""))
            offer = f"Did you mean '{near}'? " if near else ""
            remedy = f"{offer}An id holds {ID_RULE}; a name joins ids with slashes."
            raise InvalidArgument(error.message, field="name", reason=error.reason, remedy=remedy) from None

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if "stubs" in self.__dict__:
            self.stubs.channel.close()
