"""TrainingService: what callers see of base models, jobs and epochs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fiveshot.trainer.v1 import (
    base_model_pb2,
    training_job_pb2,
    training_service_pb2,
    training_service_pb2_grpc,
)

from services.chassis.filters import Predicate, parse_filter, parse_order_by
from services.chassis.idempotency import digest
from services.chassis.names import project_of
from services.chassis.pagination import PageTokens, Scalar
from services.trainer.models.job import JobState, TrainingJob
from services.trainer.ports import JobFilter, JobQuery, RequestKey
from services.trainer.proto_mapping.epochs import epoch_to_proto, file_to_proto, metric_to_proto
from services.trainer.proto_mapping.events import event_from_payload
from services.trainer.proto_mapping.jobs import estimate_to_proto, job_to_proto, request_from_proto
from services.trainer.proto_mapping.parameters import base_model_to_proto
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.reading import JobReading, JobView
from services.trainer.use_cases.steering import JobSteering, SteeringRequest
from services.trainer.use_cases.watching import JobWatch

_Service = training_service_pb2
_Job = training_job_pb2.TrainingJob

_Steering = (
    _Service.CancelTrainingJobRequest
    | _Service.PauseTrainingJobRequest
    | _Service.ResumeTrainingJobRequest
    | _Service.StopTrainingJobRequest
    | _Service.RetryTrainingJobRequest
    | _Service.ExtendTrainingJobRequest
)

FILTER_FIELDS = {
    "state": "enum:" + ",".join(JobState),
    "base_model": "string",
    "display_name": "string",
    "create_time": "time",
}
ORDER_FIELDS = ("create_time", "update_time", "priority")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TrainingUseCases:
    """The verbs behind the service."""

    creator: JobCreator
    estimator: JobEstimator
    steering: JobSteering
    reading: JobReading
    watch: JobWatch


class TrainingServicer(training_service_pb2_grpc.TrainingServiceServicer):
    """Field rules and project rights are checked before these methods run; errors are mapped after them."""

    def __init__(self, use_cases: TrainingUseCases) -> None:
        self._do = use_cases
        self._pages = PageTokens()
        self._epoch_pages = PageTokens(default_size=100)

    async def ListBaseModels(
        self, request: _Service.ListBaseModelsRequest, context: Any
    ) -> _Service.ListBaseModelsResponse:
        models = await self._do.reading.base_models()
        return _Service.ListBaseModelsResponse(base_models=[base_model_to_proto(model) for model in models])

    async def GetBaseModel(self, request: _Service.GetBaseModelRequest, context: Any) -> base_model_pb2.BaseModel:
        return base_model_to_proto(await self._do.reading.base_model(request.name))

    async def EstimateTrainingJob(
        self, request: _Service.EstimateTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingEstimate:
        return estimate_to_proto(await self._do.estimator.estimate(request_from_proto(request)))

    async def CreateTrainingJob(self, request: _Service.CreateTrainingJobRequest, context: Any) -> _Job:
        asked = request_from_proto(request)
        body = request.training_job.SerializeToString(deterministic=True)
        content = digest(request.parent, request.training_job_id, body)
        key = RequestKey(asked.project, request.request_id, content)
        job = await self._do.creator.create(asked, key, validate_only=request.validate_only)
        return job_to_proto(JobView(job)) if request.validate_only else await self._answer(job)

    async def GetTrainingJob(self, request: _Service.GetTrainingJobRequest, context: Any) -> _Job:
        return job_to_proto(await self._do.reading.get(request.name))

    async def ListTrainingJobs(
        self, request: _Service.ListTrainingJobsRequest, context: Any
    ) -> _Service.ListTrainingJobsResponse:
        scope = f"ListTrainingJobs|{request.parent}|{request.filter}|{request.order_by}"
        page = self._pages.open(page_size=request.page_size, page_token=request.page_token, scope=scope)
        order = parse_order_by(request.order_by, ORDER_FIELDS, default="create_time desc")[0]
        query = JobQuery(
            project=project_of(request.parent),
            filters=tuple(_job_filter(item) for item in parse_filter(request.filter, FILTER_FIELDS)),
            order_field=order.field,
            descending=order.descending,
            limit=page.limit,
            cursor=_cursor(page.cursor, order.field),
        )
        found, views = await self._do.reading.list(query)
        token = ""
        if found.more:
            last = found.jobs[-1]
            token = self._pages.next((_sort_value(last, order.field), last.name), scope=scope)
        return _Service.ListTrainingJobsResponse(
            training_jobs=[job_to_proto(view) for view in views], next_page_token=token, total_size=found.total
        )

    async def CancelTrainingJob(self, request: _Service.CancelTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.cancel(_steering_request(request)))

    async def PauseTrainingJob(self, request: _Service.PauseTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.pause(_steering_request(request)))

    async def ResumeTrainingJob(self, request: _Service.ResumeTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.resume(_steering_request(request)))

    async def StopTrainingJob(self, request: _Service.StopTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.stop(_steering_request(request)))

    async def RetryTrainingJob(self, request: _Service.RetryTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.retry(_steering_request(request)))

    async def ExtendTrainingJob(self, request: _Service.ExtendTrainingJobRequest, context: Any) -> _Job:
        return await self._answer(await self._do.steering.extend(_steering_request(request), request.additional_epochs))

    async def WatchTrainingJob(
        self, request: _Service.WatchTrainingJobRequest, context: Any
    ) -> AsyncIterator[_Service.WatchTrainingJobResponse]:
        async for item in self._do.watch.watch(request.name, request.resume_token):
            response = _Service.WatchTrainingJobResponse(resume_token=item.token)
            if item.snapshot is not None:
                response.job.CopyFrom(job_to_proto(item.snapshot))
            if item.event is not None:
                response.event.CopyFrom(event_from_payload(item.event.payload))
            yield response

    async def ListMetrics(self, request: _Service.ListMetricsRequest, context: Any) -> _Service.ListMetricsResponse:
        points, more_after = await self._do.reading.metrics(
            request.parent,
            request.key or "loss",
            since_step=request.since_step,
            stride=max(1, request.stride),
            limit=min(request.page_size or 1000, 10_000),
        )
        return _Service.ListMetricsResponse(
            metrics=[metric_to_proto(point) for point in points], next_since_step=more_after
        )

    async def GetEpoch(self, request: _Service.GetEpochRequest, context: Any) -> training_job_pb2.Epoch:
        job, number = _epoch_name(request.name)
        epoch, owner = await self._do.reading.epoch(job, number)
        notes = self._do.reading.file_notes(owner)
        return epoch_to_proto(epoch, recommended=number == owner.recommended_epoch, file_notes=notes)

    async def ListEpochs(self, request: _Service.ListEpochsRequest, context: Any) -> _Service.ListEpochsResponse:
        scope = f"ListEpochs|{request.parent}"
        page = self._epoch_pages.open(page_size=request.page_size, page_token=request.page_token, scope=scope)
        after = int(page.cursor[0] or 0) if page.cursor else 0
        epochs, more, job = await self._do.reading.epochs(request.parent, after=after, limit=page.limit)
        notes = self._do.reading.file_notes(job)
        return _Service.ListEpochsResponse(
            epochs=[
                epoch_to_proto(epoch, recommended=epoch.number == job.recommended_epoch, file_notes=notes)
                for epoch in epochs
            ],
            next_page_token=self._epoch_pages.next((epochs[-1].number,), scope=scope) if more else "",
            total_size=job.epochs_completed,
        )

    async def DownloadEpochFile(
        self, request: _Service.DownloadEpochFileRequest, context: Any
    ) -> AsyncIterator[_Service.DownloadEpochFileResponse]:
        job, number = _epoch_name(request.name)
        file, chunks = await self._do.reading.file(job, number, request.file_id or "kohya")
        first = True
        async for chunk in chunks:
            response = _Service.DownloadEpochFileResponse(chunk=chunk)
            if first:
                response.file.CopyFrom(file_to_proto(file, with_key=False))
                first = False
            yield response

    async def _answer(self, job: TrainingJob) -> _Job:
        return job_to_proto(await self._do.reading.view(job))


def _steering_request(request: _Steering) -> SteeringRequest:
    method = type(request).__name__.removesuffix("Request")
    body = request.SerializeToString(deterministic=True)
    key = RequestKey(project_of(request.name), request.request_id, digest(body), method)
    return SteeringRequest(request.name, request.etag, key)


def _epoch_name(name: str) -> tuple[str, int]:
    job, _, number = name.rpartition("/epochs/")
    return job, int(number)


def _job_filter(item: Predicate) -> JobFilter:
    value = item.value if isinstance(item.value, datetime) else str(item.value)
    return JobFilter(item.field, item.op, value)


def _cursor(values: tuple[Scalar, ...] | None, field: str) -> tuple[object, ...] | None:
    """The sort values of a page token, with times as they are stored."""
    if values is None:
        return None
    first = int(values[0] or 0)
    return (first if field == "priority" else _EPOCH + timedelta(microseconds=first), values[1])


def _sort_value(job: TrainingJob, field: str) -> int:
    if field == "priority":
        return job.priority
    moment = job.create_time if field == "create_time" else job.update_time
    return (moment - _EPOCH) // timedelta(microseconds=1)
