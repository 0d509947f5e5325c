"""The worker's edge of the wire: its own records, from and to the messages of WorkerService.

The control plane has records of the same names behind the same messages; the two share nothing but the protos, so that
a worker and a trainer of different releases meet only there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from fiveshot.trainer.v1 import preview_request_pb2, training_job_pb2, worker_service_pb2

from services.chassis.texts import shown
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.preview_cells import Cell, cells_of

_REPORTS_A_LEASE = 3


class Directive(StrEnum):
    """What the trainer answers to a report: what to do with the job now."""

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"
    CANCEL = "CANCEL"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    LEASE_LOST = "LEASE_LOST"
    RELEASED = "RELEASED"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class JobError:
    """Why an attempt failed. reason: stable UPPER_SNAKE word. remedy: what to change before trying again."""

    reason: str
    message: str
    remedy: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the attempt is. step: optimizer steps of the whole job. epoch: at hand, from 1; 0 before."""

    step: int = 0
    epoch: int = 0
    phase: str = ""
    loss: float = 0.0
    images_per_second: float = 0.0
    eta_seconds: float = 0.0
    learning_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured point. step: from 1. key: `loss`, `learning_rate` or `images_per_second`. moment: aware."""

    step: int
    epoch: int
    key: str
    value: float
    moment: datetime


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job to work on. token: of its lease. prefix: where its objects go. checkpoint: files to resume from.
    traceparent: of the trace that the work belongs to. own: the base model, where it is one of the project's own.
    initial: where to get the LoRA that it goes on from, if any.

    lease_s: how long the lease holds without a report. interval_s: that the trainer wants between two; 0 when it does
    not say.
    """

    job: training_job_pb2.TrainingJob
    token: str
    attempt: int
    prefix: str
    checkpoint: tuple[training_job_pb2.EpochFile, ...]
    traceparent: str = ""
    lease_s: float = 0.0
    interval_s: float = 0.0
    own: worker_service_pb2.OwnBaseModel | None = None
    initial: worker_service_pb2.InitialLora | None = None

    def pause_s(self, own_s: float, wanted_s: float) -> float:
        """Seconds until the next report: what the trainer wants, no less than the worker's own setting, and neither so
        much that the loss of two reports would end the lease."""
        if not self.lease_s:
            return own_s
        return min(max(own_s, wanted_s), self.lease_s / _REPORTS_A_LEASE)


@dataclass(frozen=True, slots=True)
class PreviewTask:
    """A preview request to draw. token: of its lease. prefix: where its objects go. weights: files of its epochs. own:
    the base model, where it is one of the project's own."""

    request: preview_request_pb2.PreviewRequest
    token: str
    prefix: str
    weights: Mapping[str, training_job_pb2.EpochFile]
    own: worker_service_pb2.OwnBaseModel | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Those that no earlier try has drawn."""
        asked, drawn = self.request, {cell.index for cell in self.request.cells}
        cells = cells_of(asked.sources, asked.strengths, asked.prompts, asked.seeds)
        return tuple(cell for cell in cells if cell.index not in drawn)


@dataclass(frozen=True, slots=True)
class CheckTask:
    """A base model to check. token: of its lease, which holds `lease_s` without a report. candidates: names of entries
    of the catalogue that it may be made from."""

    own: worker_service_pb2.OwnBaseModel
    token: str
    lease_s: float
    candidates: tuple[str, ...]


def check_task_from_proto(message: worker_service_pb2.BaseModelCheckAssignment) -> CheckTask:
    """A check of an answer."""
    lease_s = message.lease_duration.ToTimedelta().total_seconds()
    return CheckTask(message.base_model, message.lease_token, lease_s, tuple(message.candidates))


def preview_task_from_proto(message: worker_service_pb2.PreviewAssignment) -> PreviewTask:
    """A preview request of an answer."""
    weights = {each.source: each.file for each in message.weights}
    own = message.own_base_model if message.HasField("own_base_model") else None
    return PreviewTask(message.preview_request, message.lease_token, message.object_prefix, weights, own)


def assignment_from_proto(answer: worker_service_pb2.AcquireJobResponse) -> Assignment | None:
    """The job of an answer, if it has one."""
    if not answer.HasField("job"):
        return None
    return Assignment(
        answer.job,
        answer.lease_token,
        answer.attempt,
        answer.object_prefix,
        tuple(answer.checkpoint_files),
        answer.traceparent,
        answer.lease_duration.ToTimedelta().total_seconds(),
        answer.heartbeat_interval.ToTimedelta().total_seconds(),
        answer.own_base_model if answer.HasField("own_base_model") else None,
        answer.initial_lora if answer.HasField("initial_lora") else None,
    )


def directive_from_proto(value: worker_service_pb2.Directive.ValueType) -> Directive:
    """A directive; none is a word to go on."""
    name = worker_service_pb2.Directive.Name(value).removeprefix("DIRECTIVE_")
    return Directive.CONTINUE if name == "UNSPECIFIED" else Directive(name)


def outcome_to_proto(outcome: Outcome) -> training_job_pb2.Attempt.Outcome.ValueType:
    """How an attempt ended."""
    return training_job_pb2.Attempt.Outcome.Value(f"OUTCOME_{outcome.value}")


def error_to_proto(error: JobError) -> training_job_pb2.JobError:
    """Why an attempt failed."""
    return training_job_pb2.JobError(
        reason=error.reason, message=shown(error.message), remedy=shown(error.remedy), retryable=error.retryable
    )


def metric_to_proto(metric: Metric) -> training_job_pb2.Metric:
    """A measured point."""
    message = training_job_pb2.Metric(step=metric.step, epoch=metric.epoch, key=metric.key, value=metric.value)
    message.create_time.FromDatetime(metric.moment.astimezone(UTC).replace(tzinfo=None))
    return message


def given_parameters(job: training_job_pb2.TrainingJob) -> dict[str, object]:
    """The parameters that the job sets, its trigger word included."""
    given: dict[str, object] = {}
    for field, value in job.parameters.ListFields():
        given[field.name] = tuple(value) if field.is_repeated else value
    return {**given, "trigger_word": job.trigger_word} if job.trigger_word else given


_SPELT_ALIKE = (
    "device",
    "base_model",
    "mixed_precision",
    "batch_size",
    "processes",
    "start_seconds",
    "epoch_end_seconds",
    "epochs",
    "baseline_bytes",
    "peak_bytes",
    "memory_bytes",
    "weight_bytes",
    "probe",
    "cost_version",
)


def measurement_to_proto(measurement: Measurement) -> worker_service_pb2.Measurement:
    """What a run took."""
    parts = [
        worker_service_pb2.Measurement.Part(
            name=name,
            seconds=part.seconds,
            flops=part.work.flops,
            moved_bytes=part.work.moved,
            kernels=part.work.kernels,
        )
        for name, part in sorted(measurement.parts.items())
    ]
    return worker_service_pb2.Measurement(parts=parts, **{name: getattr(measurement, name) for name in _SPELT_ALIKE})
