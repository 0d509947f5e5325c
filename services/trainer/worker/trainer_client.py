"""The trainer as a worker sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, worker_service_pb2, worker_service_pb2_grpc

from services.chassis.errors import DomainError
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.skills import SKILL
from services.trainer.worker.wire import (
    Assignment,
    CheckTask,
    Directive,
    JobError,
    Outcome,
    PreviewTask,
    assignment_from_proto,
    check_task_from_proto,
    directive_from_proto,
    error_to_proto,
    measurement_to_proto,
    outcome_to_proto,
    preview_task_from_proto,
)

_CALL_S = 15.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NoJob:
    """Nothing to do. unmeasured: base models of which the trainer has no run on such a device."""

    unmeasured: tuple[str, ...] = ()


class TrainerClient:
    """Calls that may be repeated are repeated while the trainer is away. A lost lease raises Aborted."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        worker_id: str,
        device: str,
        device_memory_bytes: int = 0,
        families: Sequence[str] = (),
        mixed_precisions: Sequence[str] = (),
        pretends: bool = False,
        takes_own: bool = False,
        patience_s: float,
    ) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._worker_id = worker_id
        self._device = device
        self._device_memory_bytes = device_memory_bytes
        self._families = families
        self._mixed_precisions = mixed_precisions
        self._pretends = pretends
        self._takes_own = takes_own
        self._patience_s = patience_s

    async def acquire(
        self, base_models: Sequence[str], *, warm: str, wait_s: float, drew: bool = False
    ) -> Assignment | PreviewTask | CheckTask | NoJob:
        """A job, a preview request or a check, or none when none came in time. Raises Unavailable.

        warm: base model that is preferred, or "". drew: the last thing was a preview request.
        """
        request = worker_service_pb2.AcquireJobRequest(
            worker_id=self._worker_id,
            base_models=base_models,
            warm_base_model=warm,
            device=self._device,
            device_memory_bytes=self._device_memory_bytes,
            families=self._families,
            mixed_precisions=self._mixed_precisions,
            pretends=self._pretends,
            draws=True,
            drew=drew,
            takes_own_base_models=self._takes_own,
            skill=SKILL,
        )
        request.wait.FromTimedelta(timedelta(seconds=wait_s))
        answer = await self._stub.AcquireJob(request, timeout=wait_s + _CALL_S)
        if answer.HasField("previews"):
            return preview_task_from_proto(answer.previews)
        if answer.HasField("base_model_check"):
            return check_task_from_proto(answer.base_model_check)
        return assignment_from_proto(answer) or NoJob(tuple(answer.unmeasured_base_models))

    async def acquire_previews(self, assignment: Assignment, *, wait_s: float) -> PreviewTask | None:
        """A request for a job that this worker holds, as it stands now; None when none came in time.

        Raises Unimplemented of a trainer of the release before.
        """
        request = worker_service_pb2.AcquirePreviewsRequest(
            worker_id=self._worker_id,
            training_job=assignment.job.name,
            lease_token=assignment.token,
            pretends=self._pretends,
        )
        request.wait.FromTimedelta(timedelta(seconds=wait_s))
        answer = await self._stub.AcquirePreviews(request, timeout=wait_s + _CALL_S)
        return preview_task_from_proto(answer.previews) if answer.HasField("previews") else None

    async def report_previews(
        self,
        task: PreviewTask,
        cells: Sequence[preview_request_pb2.PreviewCell] = (),
        *,
        outcome: Outcome | None = None,
        error: JobError | None = None,
        patience_s: float | None = None,
    ) -> None:
        """Brings cells whose pictures are stored, or a sign of life; with an outcome the try is over.

        Raises Aborted or NotFound once nobody wants the request any more.
        """
        request = worker_service_pb2.ReportPreviewsRequest(
            preview_request=task.request.name,
            lease_token=task.token,
            cells=cells,
            outcome=outcome_to_proto(outcome) if outcome else training_job_pb2.Attempt.OUTCOME_UNSPECIFIED,
            error=error_to_proto(error) if error else None,
        )

        async def call() -> None:
            await self._stub.ReportPreviews(request, timeout=_CALL_S)

        await patiently(call, what="trainer", patience_s=self._patience_s if patience_s is None else patience_s)

    async def report_check(
        self,
        task: CheckTask,
        *,
        outcome: Outcome | None = None,
        error: JobError | None = None,
        based_on: str = "",
        patience_s: float | None = None,
    ) -> None:
        """A sign of life of a check; with an outcome it is over.

        Raises Aborted or NotFound once nobody wants it any more.
        """
        request = worker_service_pb2.ReportBaseModelCheckRequest(
            base_model=task.own.name,
            lease_token=task.token,
            outcome=outcome_to_proto(outcome) if outcome else training_job_pb2.Attempt.OUTCOME_UNSPECIFIED,
            error=error_to_proto(error) if error else None,
            based_on=based_on,
        )

        async def call() -> None:
            await self._stub.ReportBaseModelCheck(request, timeout=_CALL_S)

        await patiently(call, what="trainer", patience_s=self._patience_s if patience_s is None else patience_s)

    async def heartbeat(self, request: worker_service_pb2.HeartbeatRequest) -> tuple[Directive, float]:
        """One sign of life; the caller repeats it anyway, after so many seconds if the trainer says so, else 0."""
        answer = await self._stub.Heartbeat(request, timeout=_CALL_S)
        return directive_from_proto(answer.directive), answer.heartbeat_interval.ToTimedelta().total_seconds()

    async def report_epoch(self, request: worker_service_pb2.ReportEpochRequest) -> Directive:
        """Reports a finished epoch, whose files are stored."""

        async def call() -> Directive:
            return directive_from_proto((await self._stub.ReportEpoch(request, timeout=_CALL_S)).directive)

        return await patiently(call, what="trainer", patience_s=self._patience_s)

    async def report_measurement(self, measurement: Measurement) -> None:
        """Says what a run took; a trainer that is away or older misses it, which harms nobody."""
        request = worker_service_pb2.ReportMeasurementRequest(
            worker_id=self._worker_id, measurement=measurement_to_proto(measurement)
        )
        try:
            await self._stub.ReportMeasurement(request, timeout=_CALL_S)
        except DomainError as error:
            log.warning("measurement_unheard", reason=error.reason)

    async def complete(self, assignment: Assignment, outcome: Outcome, error: JobError | None = None) -> None:
        """Ends the attempt."""
        request = worker_service_pb2.CompleteAttemptRequest(
            training_job=assignment.job.name,
            lease_token=assignment.token,
            outcome=outcome_to_proto(outcome),
        )
        if error is not None:
            request.error.CopyFrom(error_to_proto(error))

        async def call() -> None:
            await self._stub.CompleteAttempt(request, timeout=_CALL_S)

        await patiently(call, what="trainer", patience_s=self._patience_s)
