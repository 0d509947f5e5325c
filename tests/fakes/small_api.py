"""The API as small as the client's tests need it: it loses answers, refuses pictures and holds events back."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2_grpc
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2, training_service_pb2_grpc
from fiveshot.trainer.v1 import training_service_pb2 as training
from google.protobuf import empty_pb2

from services.chassis import errors, grpc_errors
from tests.fixtures.patience import LIMIT_S, scaled

JOB = "projects/default/trainingJobs/job-1"
PICTURE = b"\x89PNG" + bytes(range(256)) * 2048
State = training_job_pb2.TrainingJob.State


class SmallDataset(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Keeps images in the order in which their uploads end.

    failures: raised by the next calls, one each. slow: a file whose upload ends only once `proceed` is set.
    """

    def __init__(self) -> None:
        self.failures: list[errors.DomainError] = []
        self.images: list[dataset_pb2.Image] = []
        self.request_ids: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.updates: list[pb.UpdateImageRequest] = []
        self.deadlines: list[float | None] = []
        self.slow, self.proceed = "", threading.Event()
        self.begun: list[str] = []
        self.damaged = False
        self._lock = threading.Lock()

    def CreateDataset(self, request: Any, context: Any) -> Any:
        self._note(request.request_id, context)
        kept = request.dataset
        kept.name = f"{request.parent}/datasets/{request.dataset_id}"
        return kept

    def GetDataset(self, request: Any, context: Any) -> Any:
        return dataset_pb2.Dataset(name=request.name, image_count=len(self.images))

    def DeleteDataset(self, request: Any, context: Any) -> Any:
        self._note("", context)
        return empty_pb2.Empty()

    def ListImages(self, request: Any, context: Any) -> Any:
        start = int(request.page_token or 0)
        end = start + min(request.page_size or 2, 2)
        token = str(end) if end < len(self.images) else ""
        return pb.ListImagesResponse(images=self.images[start:end], next_page_token=token)

    def GetImage(self, request: Any, context: Any) -> Any:
        return dataset_pb2.Image(name=request.name, caption="as it was")

    def UpdateImage(self, request: Any, context: Any) -> Any:
        self.updates.append(request)
        return request.image

    def UploadImage(self, request_iterator: Any, context: Any) -> Any:
        header = next(request_iterator).header
        self.begun.append(header.file_name)
        if header.file_name == "denied.png":
            _abort(context, errors.PermissionDenied("No"))
        data = b"".join(message.chunk for message in request_iterator)
        if header.file_name == self.slow:
            assert self.proceed.wait(scaled(LIMIT_S))
        with self._lock:
            self._note(header.request_id, context)
            if header.file_name == "bad.png":
                damaged = errors.InvalidArgument("It is damaged", reason="IMAGE_UNREADABLE", remedy="Save it again.")
                _abort(context, damaged)
            if header.file_name == "held.png":
                image = {"image": f"{header.parent}/images/held"}
                _abort(context, errors.AlreadyExists("It is held", reason="IMAGE_DUPLICATE", metadata=image))
            digest = hashlib.sha256(data).hexdigest()
            assert (digest, len(data)) == (header.sha256, header.size_bytes)
            name = f"{header.parent}/images/img-{len(self.images)}"
            made = dataset_pb2.Image(
                name=name, file_name=header.file_name, size_bytes=len(data), sha256=digest, caption=header.caption
            )
            self.images.append(made)
            return made

    def DownloadImage(self, request: Any, context: Any) -> Iterator[pb.DownloadImageResponse]:
        yield pb.DownloadImageResponse(chunk=PICTURE[:1000])
        self._note("", context)
        yield pb.DownloadImageResponse(chunk=b"x" if self.damaged else PICTURE[1000:])

    def _note(self, request_id: str, context: Any) -> None:
        self.request_ids.append(request_id)
        self.metadata.append(dict(context.invocation_metadata()))
        self.deadlines.append(context.time_remaining())
        if self.failures:
            _abort(context, self.failures.pop(0))


class SmallTrainer(training_service_pb2_grpc.TrainingServiceServicer):
    """One job whose event n is told once `allowed` is at least n; it ends with event `last`."""

    def __init__(self, last: int) -> None:
        self.last, self.allowed = last, 0
        self.watches = 0
        self.state: State.ValueType = State.STATE_RUNNING
        self.created: list[training.CreateTrainingJobRequest] = []
        self._changed = threading.Condition()

    def allow(self, count: int) -> None:
        """Lets events up to this one out."""
        with self._changed:
            self.allowed = max(self.allowed, count)
            self._changed.notify_all()

    def CreateTrainingJob(self, request: Any, context: Any) -> Any:
        self.created.append(request)
        parameters = request.training_job.parameters
        return training_job_pb2.TrainingJob(name=JOB, state=State.STATE_QUEUED, parameters=parameters)

    def GetTrainingJob(self, request: Any, context: Any) -> Any:
        job = training_job_pb2.TrainingJob(name=JOB, state=self.state)
        if self.state == State.STATE_FAILED:
            error = training_job_pb2.JobError(reason="OUT_OF_MEMORY", message="Too large", remedy="Lower the rank.")
            job.error.CopyFrom(error)
        return job

    def WatchTrainingJob(self, request: Any, context: Any) -> Iterator[training.WatchTrainingJobResponse]:
        self.watches += 1
        told = int(request.resume_token or 0)
        if not request.resume_token:
            job = training_job_pb2.TrainingJob(name=JOB, state=State.STATE_QUEUED, total_steps=self.last)
            yield training.WatchTrainingJobResponse(resume_token="0", job=job)
        while told < self.last:
            with self._changed:
                while self.allowed <= told and context.is_active():
                    self._changed.wait(0.05)
            if not context.is_active():
                return
            told += 1
            yield training.WatchTrainingJobResponse(resume_token=str(told), event=self._event(told))

    def _event(self, number: int) -> training_event_pb2.TrainingJobEvent:
        event = training_event_pb2.TrainingJobEvent(sequence=number, state=State.STATE_RUNNING)
        if number == self.last:
            event.state = event.state_changed.state = self.state
        else:
            event.progress.CopyFrom(
                training_event_pb2.JobProgress(
                    step=number, total_steps=self.last, epoch=1, loss=1 / number, eta_seconds=self.last - number
                )
            )
        return event


class SmallApi:
    """Both on one server. address: host:port."""

    def __init__(self, server: grpc.Server, last: int, credentials: grpc.ServerCredentials | None) -> None:
        self.dataset = SmallDataset()  # type: ignore[abstract]
        self.trainer = SmallTrainer(last)  # type: ignore[abstract]
        dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(self.dataset, server)
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server(self.trainer, server)
        place = "127.0.0.1:0"
        port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
        self.address = f"127.0.0.1:{port}"


@contextmanager
def small_api(last: int = 5, *, credentials: grpc.ServerCredentials | None = None) -> Iterator[SmallApi]:
    """A server on a free port. last: events of the job. credentials: for TLS."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    made = SmallApi(server, last, credentials)
    server.start()
    try:
        yield made
    finally:
        made.dataset.proceed.set()
        server.stop(grace=None).wait()


def lost(*, retry_after_s: float | None = None) -> errors.DomainError:
    """An answer that got lost on the way, with or without word when to come back."""
    return errors.Unavailable("gone", retry_after_s=retry_after_s)


def _abort(context: Any, error: errors.DomainError) -> Callable[..., Any]:
    context.abort_with_status(grpc_errors.to_status(error))
    raise AssertionError
