"""The trainer as a worker sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from fiveshot.trainer.v1 import training_job_pb2, worker_service_pb2, worker_service_pb2_grpc

from services.chassis.errors import DomainError
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.trainer.models.job import Directive, JobError, Outcome
from services.trainer.proto_mapping.jobs import error_to_proto, to_duration
from services.trainer.proto_mapping.measurements import measurement_to_proto
from services.trainer.recipe.calibration import Measurement

_CALL_S = 15.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job. prefix: where its objects go. checkpoint: files to resume from."""

    job: training_job_pb2.TrainingJob
    token: str
    attempt: int
    prefix: str
    checkpoint: tuple[training_job_pb2.EpochFile, ...]


@dataclass(frozen=True, slots=True)
class NoJob:
    """Nothing to do. unmeasured: base models of which the trainer has no run on such a device."""

    unmeasured: tuple[str, ...] = ()


class TrainerClient:
    """Calls that may be repeated are repeated while the trainer is away. A lost lease raises Aborted."""

    def __init__(
        self, channel: grpc.aio.Channel, *, worker_id: str, device: str, device_memory_bytes: int = 0, patience_s: float
    ) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._worker_id = worker_id
        self._device = device
        self._device_memory_bytes = device_memory_bytes
        self._patience_s = patience_s

    async def acquire(self, base_models: Sequence[str], *, warm: str, wait_s: float) -> Lease | NoJob:
        """A job, or none when none came in time. warm: base model that is preferred, or "". Raises Unavailable."""
        request = worker_service_pb2.AcquireJobRequest(
            worker_id=self._worker_id,
            base_models=base_models,
            warm_base_model=warm,
            wait=to_duration(timedelta(seconds=wait_s)),
            device=self._device,
            device_memory_bytes=self._device_memory_bytes,
        )
        answer = await self._stub.AcquireJob(request, timeout=wait_s + _CALL_S)
        if not answer.HasField("job"):
            return NoJob(tuple(answer.unmeasured_base_models))
        return Lease(
            answer.job, answer.lease_token, answer.attempt, answer.object_prefix, tuple(answer.checkpoint_files)
        )

    async def heartbeat(self, request: worker_service_pb2.HeartbeatRequest) -> Directive:
        """One sign of life; the caller repeats it anyway."""
        return _directive((await self._stub.Heartbeat(request, timeout=_CALL_S)).directive)

    async def report_epoch(self, request: worker_service_pb2.ReportEpochRequest) -> Directive:
        """Reports a finished epoch, whose files are stored."""

        async def call() -> Directive:
            return _directive((await self._stub.ReportEpoch(request, timeout=_CALL_S)).directive)

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

    async def complete(self, lease: Lease, outcome: Outcome, error: JobError | None = None) -> None:
        """Ends the attempt."""
        request = worker_service_pb2.CompleteAttemptRequest(
            training_job=lease.job.name,
            lease_token=lease.token,
            outcome=training_job_pb2.Attempt.Outcome.Value(f"OUTCOME_{outcome.value}"),
        )
        if error is not None:
            request.error.CopyFrom(error_to_proto(error))

        async def call() -> None:
            await self._stub.CompleteAttempt(request, timeout=_CALL_S)

        await patiently(call, what="trainer", patience_s=self._patience_s)


def _directive(value: worker_service_pb2.Directive.ValueType) -> Directive:
    name = worker_service_pb2.Directive.Name(value).removeprefix("DIRECTIVE_")
    if name == "UNSPECIFIED":
        return Directive.CONTINUE
    return Directive(name)
