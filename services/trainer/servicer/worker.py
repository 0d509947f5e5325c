"""WorkerService: the queue's other end, for GPU workers inside the deployment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fiveshot.trainer.v1 import worker_service_pb2, worker_service_pb2_grpc

from services.trainer.models.job import Directive
from services.trainer.proto_mapping.epochs import epoch_from_proto, metric_from_proto
from services.trainer.proto_mapping.jobs import (
    directive_to_proto,
    error_from_proto,
    outcome_from_proto,
    state_to_proto,
    to_duration,
)
from services.trainer.proto_mapping.measurements import measurement_from_proto
from services.trainer.proto_mapping.previews import assignment_to_proto, cell_from_proto
from services.trainer.proto_mapping.working import ask_from_proto, offer_to_proto, progress_from_proto
from services.trainer.use_cases.checking_base_models import BaseModelChecks
from services.trainer.use_cases.drawing import PreviewWork
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.offering import Offering
from services.trainer.use_cases.working import JobWork

_Service = worker_service_pb2


class WorkerServicer(worker_service_pb2_grpc.WorkerServiceServicer):
    """Every report carries the lease token of its attempt; an old one is answered with ABORTED."""

    def __init__(
        self,
        work: JobWork,
        offering: Offering,
        estimator: JobEstimator,
        drawing: PreviewWork,
        checks: BaseModelChecks,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._work = work
        self._drawing = drawing
        self._checks = checks
        self._offering = offering
        self._estimator = estimator
        self._clock = clock

    async def AcquireJob(self, request: _Service.AcquireJobRequest, context: Any) -> _Service.AcquireJobResponse:
        return offer_to_proto(await self._offering.offer(ask_from_proto(request), request.wait.ToTimedelta()))

    async def Heartbeat(self, request: _Service.HeartbeatRequest, context: Any) -> _Service.HeartbeatResponse:
        now = self._clock()
        directive, interval = await self._work.heartbeat(
            request.training_job,
            request.lease_token,
            progress_from_proto(request),
            [metric_from_proto(metric, now) for metric in request.metrics],
            running=request.running,
            notices=tuple(request.notices),
            back_to_step=request.back_to_step if request.HasField("back_to_step") else None,
        )
        return _Service.HeartbeatResponse(
            directive=directive_to_proto(directive), heartbeat_interval=to_duration(interval)
        )

    async def ReportEpoch(self, request: _Service.ReportEpochRequest, context: Any) -> _Service.ReportEpochResponse:
        epoch = epoch_from_proto(
            request.epoch,
            job=request.training_job,
            number=request.epoch_number,
            checkpoint=request.checkpoint_files,
            now=self._clock(),
        )
        directive = await self._work.report_epoch(
            request.training_job,
            request.lease_token,
            epoch,
            recommended_epoch=request.recommended_epoch,
            recommendation_reason=request.recommendation_reason,
        )
        return _Service.ReportEpochResponse(directive=directive_to_proto(directive))

    async def CompleteAttempt(
        self, request: _Service.CompleteAttemptRequest, context: Any
    ) -> _Service.CompleteAttemptResponse:
        state = await self._work.complete(
            request.training_job,
            request.lease_token,
            outcome_from_proto(request.outcome),
            error_from_proto(request.error) if request.HasField("error") else None,
        )
        return _Service.CompleteAttemptResponse(state=state_to_proto(state))

    async def ReportMeasurement(
        self, request: _Service.ReportMeasurementRequest, context: Any
    ) -> _Service.ReportMeasurementResponse:
        await self._estimator.learn(measurement_from_proto(request.measurement, self._clock()))
        return _Service.ReportMeasurementResponse()

    async def AcquirePreviews(
        self, request: _Service.AcquirePreviewsRequest, context: Any
    ) -> _Service.AcquirePreviewsResponse:
        found = await self._drawing.take_of_job(
            request.training_job,
            request.lease_token,
            request.wait.ToTimedelta(),
            worker_id=request.worker_id,
            pretends=request.pretends,
        )
        return _Service.AcquirePreviewsResponse(previews=assignment_to_proto(found) if found else None)

    async def ReportPreviews(
        self, request: _Service.ReportPreviewsRequest, context: Any
    ) -> _Service.ReportPreviewsResponse:
        await self._drawing.report(
            request.preview_request,
            request.lease_token,
            [cell_from_proto(cell) for cell in request.cells],
            outcome_from_proto(request.outcome) if request.outcome else None,
            error_from_proto(request.error) if request.HasField("error") else None,
        )
        # A request that was cancelled has no lease, so its worker is refused instead.
        return _Service.ReportPreviewsResponse(directive=directive_to_proto(Directive.CONTINUE))

    async def ReportBaseModelCheck(
        self, request: _Service.ReportBaseModelCheckRequest, context: Any
    ) -> _Service.ReportBaseModelCheckResponse:
        await self._checks.report(
            request.base_model,
            request.lease_token,
            outcome_from_proto(request.outcome) if request.outcome else None,
            error_from_proto(request.error) if request.HasField("error") else None,
            based_on=request.based_on,
        )
        # One that was deleted has no lease, so its worker is refused instead.
        return _Service.ReportBaseModelCheckResponse(directive=directive_to_proto(Directive.CONTINUE))
