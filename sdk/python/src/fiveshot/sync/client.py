# Made of fiveshot/aio/client.py by tools/sync_client.py; change that file.
"""The client: one connection, and what hangs on it."""

from __future__ import annotations

import os
from typing import Any

from fiveshot.audit.v1 import audit_pb2, audit_service_pb2
from fiveshot.cleaning import CleanedUp, cleaned_up, days
from fiveshot.connection import Patience, endpoint
from fiveshot.dataset.v1 import dataset_service_pb2 as dataset_api
from fiveshot.sync.base_models import OwnBaseModels
from fiveshot.sync.calls import Channel, Listing, Stubs
from fiveshot.sync.comparing import Comparison, compare
from fiveshot.sync.datasets import Datasets
from fiveshot.sync.models import Models
from fiveshot.sync.previews import PreviewRequests
from fiveshot.sync.training import TrainingJob, TrainingJobs
from fiveshot.sync.webhooks import Webhooks
from fiveshot.trainer.v1 import base_model_pb2
from fiveshot.trainer.v1 import training_service_pb2 as training_api


class Client:
    """A connection to Fiveshot: the stack on this machine, or the server of the environment or the arguments.

    server: host:port, or https://host:port for TLS; else FIVESHOT_SERVER, else the stack that `fiveshot up` started.
    api_key: else FIVESHOT_API_KEY; token: a JWT instead. project: what ids belong to; else FIVESHOT_PROJECT.
    ca_file: PEM of the certificates to trust; else FIVESHOT_CA_FILE, else the system's. data: the local stack's folder.
    timeout: seconds for a call with all its attempts. patience: what is repeated, after which pause.
    traceparent: of the trace that every call belongs to; else the running OpenTelemetry span, else TRACEPARENT.

    It connects with its first call, and is safe to share. Calls raise `fiveshot.errors`.
    Raises Unavailable (NO_SERVER) when nothing was said and no local stack runs.
    """

    def __init__(
        self,
        server: str = "",
        *,
        api_key: str = "",
        token: str = "",
        project: str = "",
        ca_file: str | os.PathLike[str] | None = None,
        data: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        patience: Patience | None = None,
        traceparent: str = "",
    ) -> None:
        self.endpoint = endpoint(
            server, api_key=api_key, token=token, project=project, ca_file=ca_file, data=data, traceparent=traceparent
        )  # fmt: skip
        self._channel = Channel(self.endpoint, timeout=timeout, patience=patience)
        self.stubs = Stubs(self._channel)
        self.datasets = Datasets(self.stubs)
        self.jobs = TrainingJobs(self.stubs)
        self.models = Models(self.stubs)
        self.own_base_models = OwnBaseModels(self.stubs)
        self.previews = PreviewRequests(self.stubs)
        self.webhooks = Webhooks(self.stubs)

    def base_models(self) -> list[base_model_pb2.BaseModel]:
        """The base models that can be fine-tuned, each with its parameters, their defaults and bounds."""
        answer = self.stubs.trainer.ListBaseModels(training_api.ListBaseModelsRequest())
        return list(answer.base_models)

    def compare(self, *jobs: TrainingJob | str) -> Comparison:
        """Training jobs (or their ids) side by side: the parameters in which they differ, and their losses."""
        found = [self.jobs.get(job) if isinstance(job, str) else job for job in jobs]
        return compare(found)

    def projects(self) -> Listing[dataset_api.Project]:
        """The projects that this caller may touch, by id; of a caller who may touch all, those that hold a dataset."""
        request = dataset_api.ListProjectsRequest()
        return Listing(self.stubs.dataset.ListProjects, request, "projects", lambda each: each)

    def clean_up(self, *, older_than: float | None = None, dry_run: bool = False) -> list[CleanedUp]:
        """Deletes what training jobs left behind once its lifetime is over: epochs that nobody needs, old jobs.

        older_than: days since the end of its job, for a shorter lifetime of epochs that are neither the newest nor
        recommended and of jobs that did not succeed. dry_run: deletes nothing, and tells what would go. Returns every
        kind, also where there is nothing of it. Raises InvalidArgument.
        """
        request = training_api.CleanUpTrainingJobsRequest(parent=self.endpoint.parent, validate_only=dry_run)
        if older_than is not None:
            request.older_than.FromTimedelta(days(older_than))
        answer = self.stubs.trainer.CleanUpTrainingJobs(request)
        return [cleaned_up(each) for each in answer.kinds]

    def audit_records(self, filter: str = "", *, all_projects: bool = False) -> Listing[audit_pb2.AuditRecord]:
        """Who changed what and who was refused, newest first; for admins.

        filter: such as `code != OK AND principal = "key:backend"`. all_projects: for callers with access to all.
        """
        parent = "projects/-" if all_projects else self.endpoint.parent
        request = audit_service_pb2.ListAuditRecordsRequest(parent=parent, filter=filter)
        return Listing(self.stubs.audit.ListAuditRecords, request, "audit_records", lambda each: each)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint.address} {self.endpoint.parent}>"
