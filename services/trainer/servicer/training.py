"""TrainingService: what callers see of jobs, epochs and previews; `base_models` has the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fiveshot.trainer.v1 import (
    audit_pb2,
    preview_request_pb2,
    training_job_pb2,
    training_picture_pb2,
    training_service_pb2,
    training_service_pb2_grpc,
)
from fiveshot.usage.v1 import usage_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from services.chassis import http_bodies
from services.chassis.names import project_of
from services.trainer.models.job import TrainingJob
from services.trainer.proto_mapping.audits import audit_to_proto
from services.trainer.proto_mapping.epochs import (
    epoch_name,
    epoch_to_proto,
    file_to_proto,
    labelled_epoch,
    metric_to_proto,
)
from services.trainer.proto_mapping.events import event_from_payload
from services.trainer.proto_mapping.jobs import edit_from_proto, estimate_to_proto, job_to_proto, request_from_proto
from services.trainer.proto_mapping.operating import found_to_proto, queue_to_proto, worker_to_proto
from services.trainer.proto_mapping.pictures import picture_to_proto
from services.trainer.proto_mapping.previews import preview_ask, preview_key, preview_to_proto
from services.trainer.proto_mapping.requests import create_key, list_request, metric_keys, steering_from_proto
from services.trainer.proto_mapping.usage import usage_to_proto
from services.trainer.servicer.base_models import BaseModelMethods
from services.trainer.use_cases.auditing import Auditor
from services.trainer.use_cases.budgeting import UsageReading
from services.trainer.use_cases.cleaning import CleanUp
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.deleting import JobDeleting
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.operating import Operating
from services.trainer.use_cases.own_base_models import OwnBaseModels
from services.trainer.use_cases.previewing import TrainingPreview
from services.trainer.use_cases.previews import PreviewReading
from services.trainer.use_cases.reading import JobReading
from services.trainer.use_cases.requesting_previews import PreviewRequesting
from services.trainer.use_cases.steering import JobSteering
from services.trainer.use_cases.uploading_base_models import BaseModelUploading
from services.trainer.use_cases.watching import JobWatch

_Service = training_service_pb2
_Job = training_job_pb2.TrainingJob


@dataclass(frozen=True, slots=True)
class TrainingUseCases:
    """The verbs behind the service."""

    creator: JobCreator
    estimator: JobEstimator
    previewing: TrainingPreview
    auditing: Auditor
    steering: JobSteering
    reading: JobReading
    watch: JobWatch
    deleting: JobDeleting
    cleaning: CleanUp
    operating: Operating
    usage: UsageReading
    requesting: PreviewRequesting
    previews: PreviewReading
    base_models: OwnBaseModels
    uploading: BaseModelUploading


class TrainingServicer(BaseModelMethods, training_service_pb2_grpc.TrainingServiceServicer):
    """Field rules and project rights are checked before these methods run; errors are mapped after them."""

    def __init__(self, use_cases: TrainingUseCases) -> None:
        super().__init__(use_cases.reading, use_cases.base_models, use_cases.uploading)
        self._do = use_cases

    async def EstimateTrainingJob(
        self, request: _Service.EstimateTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingEstimate:
        return estimate_to_proto(await self._do.estimator.estimate(request_from_proto(request)))

    async def PreviewTraining(
        self, request: _Service.PreviewTrainingRequest, context: Any
    ) -> AsyncIterator[training_picture_pb2.TrainingPicture]:
        asked = request_from_proto(request)
        async for seen in self._do.previewing(asked, draw=not request.without_pictures):
            yield picture_to_proto(seen)

    async def AuditDataset(self, request: _Service.AuditDatasetRequest, context: Any) -> audit_pb2.DatasetAudit:
        return audit_to_proto(await self._do.auditing(request_from_proto(request)))

    async def CreateTrainingJob(self, request: _Service.CreateTrainingJobRequest, context: Any) -> _Job:
        asked, key = request_from_proto(request), create_key(request)
        return job_to_proto(await self._do.creator.create(asked, key, validate_only=request.validate_only))

    async def GetTrainingJob(self, request: _Service.GetTrainingJobRequest, context: Any) -> _Job:
        return job_to_proto(await self._do.reading.get(request.name))

    async def ListTrainingJobs(
        self, request: _Service.ListTrainingJobsRequest, context: Any
    ) -> _Service.ListTrainingJobsResponse:
        views, token, total = await self._do.reading.list(list_request(request))
        return _Service.ListTrainingJobsResponse(
            training_jobs=[job_to_proto(view) for view in views], next_page_token=token, total_size=total
        )

    async def CancelTrainingJob(self, request: _Service.CancelTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.cancel(steering_from_proto(request)))

    async def PauseTrainingJob(self, request: _Service.PauseTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.pause(steering_from_proto(request)))

    async def ResumeTrainingJob(self, request: _Service.ResumeTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.resume(steering_from_proto(request)))

    async def StopTrainingJob(self, request: _Service.StopTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.stop(steering_from_proto(request)))

    async def RetryTrainingJob(self, request: _Service.RetryTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.retry(steering_from_proto(request)))

    async def ExtendTrainingJob(self, request: _Service.ExtendTrainingJobRequest, context: Any) -> _Job:
        asked = steering_from_proto(request)
        return await self._answer(await self._do.steering.extend(asked, request.additional_epochs))

    async def UpdateTrainingJob(self, request: _Service.UpdateTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.update(edit_from_proto(request)))

    async def DeleteTrainingJob(self, request: _Service.DeleteTrainingJobRequest, context: Any) -> Empty:
        await self._do.deleting.job(request.name, etag=request.etag, force=request.force)
        return Empty()

    async def UpdateEpoch(self, request: _Service.UpdateEpochRequest, context: Any) -> training_job_pb2.Epoch:
        given, mask = request.epoch, request.update_mask.paths
        name = labelled_epoch(given.name)
        epoch, owner = await self._do.deleting.label(name, dict(given.labels), mask, given.etag)
        notes = self._do.reading.file_notes(owner)
        return epoch_to_proto(epoch, recommended=name[1] == owner.recommended_epoch, file_notes=notes)

    async def DeleteEpoch(self, request: _Service.DeleteEpochRequest, context: Any) -> Empty:
        job, number = epoch_name(request.name)
        await self._do.deleting.epoch(job, number, etag=request.etag)
        return Empty()

    async def CleanUpTrainingJobs(
        self, request: _Service.CleanUpTrainingJobsRequest, context: Any
    ) -> _Service.CleanUpTrainingJobsResponse:
        older_than = request.older_than.ToTimedelta() if request.HasField("older_than") else None
        found = await self._do.cleaning.project(
            project_of(request.parent), older_than=older_than, validate_only=request.validate_only
        )
        return _Service.CleanUpTrainingJobsResponse(kinds=[found_to_proto(one) for one in found])

    async def ListWorkers(self, request: _Service.ListWorkersRequest, context: Any) -> _Service.ListWorkersResponse:
        workers = await self._do.operating.workers()
        return _Service.ListWorkersResponse(workers=[worker_to_proto(worker) for worker in workers])

    async def GetTrainingQueue(self, request: _Service.GetTrainingQueueRequest, context: Any) -> _Service.TrainingQueue:
        return queue_to_proto(await self._do.operating.queue())

    async def WatchTrainingJob(
        self, request: _Service.WatchTrainingJobRequest, context: Any
    ) -> AsyncIterator[_Service.WatchTrainingJobResponse]:
        async for item in self._do.watch.watch(request.name, request.resume_token, from_start=request.from_start):
            response = _Service.WatchTrainingJobResponse(resume_token=item.token)
            if item.snapshot is not None:
                response.job.CopyFrom(job_to_proto(item.snapshot))
            if item.event is not None:
                response.event.CopyFrom(event_from_payload(item.event.payload))
            yield response

    async def ListMetrics(self, request: _Service.ListMetricsRequest, context: Any) -> _Service.ListMetricsResponse:
        points, more_after = await self._do.reading.metrics(
            request.parent,
            metric_keys(request),
            since_step=request.since_step,
            stride=request.stride,
            page_size=request.page_size,
        )
        return _Service.ListMetricsResponse(
            metrics=[metric_to_proto(point) for point in points], next_since_step=more_after
        )

    async def GetEpoch(self, request: _Service.GetEpochRequest, context: Any) -> training_job_pb2.Epoch:
        job, number = epoch_name(request.name)
        epoch, owner = await self._do.reading.epoch(job, number)
        notes = self._do.reading.file_notes(owner)
        return epoch_to_proto(epoch, recommended=number == owner.recommended_epoch, file_notes=notes)

    async def ListEpochs(self, request: _Service.ListEpochsRequest, context: Any) -> _Service.ListEpochsResponse:
        epochs, token, total, job = await self._do.reading.epochs(list_request(request))
        notes = self._do.reading.file_notes(job)
        return _Service.ListEpochsResponse(
            epochs=[
                epoch_to_proto(epoch, recommended=epoch.number == job.recommended_epoch, file_notes=notes)
                for epoch in epochs
            ],
            next_page_token=token,
            total_size=total,
        )

    async def DownloadEpochFile(
        self, request: _Service.DownloadEpochFileRequest, context: Any
    ) -> AsyncIterator[_Service.DownloadEpochFileResponse]:
        job, number = epoch_name(request.name)
        file, chunks = await self._do.reading.file(job, number, request.file_id)
        first = True
        async for chunk in chunks:
            response = _Service.DownloadEpochFileResponse(chunk=chunk)
            if first:
                response.file.CopyFrom(file_to_proto(file, with_key=False))
                first = False
            yield response

    async def GetEpochFileContent(
        self, request: _Service.GetEpochFileContentRequest, context: Any
    ) -> AsyncIterator[HttpBody]:
        job, number = epoch_name(request.name)
        file, chunks = await self._do.reading.file(job, number, request.file_id)
        part = partial(self._do.reading.part, job, file)
        sent = http_bodies.File(file.file_name, file.content_type, file.size_bytes, file.sha256, chunks, part)
        async for body in http_bodies.send(sent, context):
            yield body

    async def RequestPreviews(
        self, request: _Service.RequestPreviewsRequest, context: Any
    ) -> preview_request_pb2.PreviewRequest:
        asked, key = preview_ask(request), preview_key(request)
        return preview_to_proto(await self._do.requesting.request(asked, key, validate_only=request.validate_only))

    async def GetPreviewRequest(
        self, request: _Service.GetPreviewRequestRequest, context: Any
    ) -> preview_request_pb2.PreviewRequest:
        return preview_to_proto(await self._do.previews.get(request.name))

    async def ListPreviewRequests(
        self, request: _Service.ListPreviewRequestsRequest, context: Any
    ) -> _Service.ListPreviewRequestsResponse:
        found, token, total = await self._do.previews.list(list_request(request))
        return _Service.ListPreviewRequestsResponse(
            preview_requests=[preview_to_proto(each) for each in found], next_page_token=token, total_size=total
        )

    async def WatchPreviewRequest(
        self, request: _Service.WatchPreviewRequestRequest, context: Any
    ) -> AsyncIterator[_Service.WatchPreviewRequestResponse]:
        async for found in self._do.previews.watch(request.name):
            yield _Service.WatchPreviewRequestResponse(preview_request=preview_to_proto(found))

    async def CancelPreviewRequest(
        self, request: _Service.CancelPreviewRequestRequest, context: Any
    ) -> preview_request_pb2.PreviewRequest:
        return preview_to_proto(await self._do.previews.cancel(request.name))

    async def DeletePreviewRequest(self, request: _Service.DeletePreviewRequestRequest, context: Any) -> Empty:
        await self._do.previews.delete(request.name, etag=request.etag)
        return Empty()

    async def DownloadPreviewFile(
        self, request: _Service.DownloadPreviewFileRequest, context: Any
    ) -> AsyncIterator[_Service.DownloadPreviewFileResponse]:
        file, chunks = await self._do.previews.file(request.name, request.file_id)
        told: training_job_pb2.EpochFile | None = file_to_proto(file, with_key=False)
        async for chunk in chunks:
            yield _Service.DownloadPreviewFileResponse(chunk=chunk, file=told)
            told = None

    async def GetPreviewFileContent(
        self, request: _Service.GetPreviewFileContentRequest, context: Any
    ) -> AsyncIterator[HttpBody]:
        file, chunks = await self._do.previews.file(request.name, request.file_id)
        sent = http_bodies.File(file.file_name, file.content_type, file.size_bytes, file.sha256, chunks)
        async for body in http_bodies.send(sent, context):
            yield body

    async def GetUsage(self, request: _Service.GetUsageRequest, context: Any) -> usage_pb2.Usage:
        return usage_to_proto(request.name, await self._do.usage.get(project_of(request.name)))

    async def _answer(self, job: TrainingJob) -> _Job:
        return job_to_proto(await self._do.reading.view(job))
