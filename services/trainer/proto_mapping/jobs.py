"""Jobs, attempts, their states, and estimates."""

from __future__ import annotations

from datetime import timedelta

from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2, worker_service_pb2
from google.protobuf.duration_pb2 import Duration

from services.chassis.names import project_of
from services.trainer.models.base import Estimate
from services.trainer.models.editing import Editable
from services.trainer.models.job import Attempt, Directive, JobError, JobState, Outcome, TrainedDataset, TrainingJob
from services.trainer.proto_mapping.epochs import preview_to_proto
from services.trainer.proto_mapping.parameters import given_parameters, parameters_to_proto
from services.trainer.proto_mapping.times import to_timestamp
from services.trainer.use_cases.mixing import AskedDataset
from services.trainer.use_cases.planning import JobRequest
from services.trainer.use_cases.reading import JobView
from services.trainer.use_cases.steering import JobEdit

_Job = training_job_pb2.TrainingJob
_Attempt = training_job_pb2.Attempt


def state_to_proto(state: JobState) -> training_job_pb2.TrainingJob.State.ValueType:
    """A state."""
    return _Job.State.Value(f"STATE_{state.value}")


def directive_to_proto(directive: Directive) -> worker_service_pb2.Directive.ValueType:
    """What a worker should do."""
    return worker_service_pb2.Directive.Value(f"DIRECTIVE_{directive.value}")


def outcome_from_proto(outcome: training_job_pb2.Attempt.Outcome.ValueType) -> Outcome:
    """How a worker says that its attempt ended; never unspecified, which the field rules refuse."""
    return Outcome(_Attempt.Outcome.Name(outcome).removeprefix("OUTCOME_"))


def error_to_proto(error: JobError) -> training_job_pb2.JobError:
    """Why a job failed."""
    return training_job_pb2.JobError(
        reason=error.reason, message=error.message, remedy=error.remedy, retryable=error.retryable
    )


def error_from_proto(message: training_job_pb2.JobError) -> JobError:
    """Why an attempt failed."""
    return JobError(message.reason, message.message, message.remedy, message.retryable)


def request_from_proto(
    request: training_service_pb2.CreateTrainingJobRequest
    | training_service_pb2.EstimateTrainingJobRequest
    | training_service_pb2.PreviewTrainingRequest
    | training_service_pb2.AuditDatasetRequest,
) -> JobRequest:
    """What a caller asks for; an estimate, a preview and an audit take what a create takes."""
    job = request.training_job
    create = request if isinstance(request, training_service_pb2.CreateTrainingJobRequest) else None
    return JobRequest(
        project=project_of(request.parent),
        job_id=create.training_job_id if create else "",
        display_name=job.display_name,
        base_model=job.base_model,
        dataset=job.dataset_version,
        parameters=given_parameters(job.parameters),
        priority=job.priority,
        trigger_word=job.trigger_word,
        labels=dict(job.labels),
        ignore_audit=create.ignore_audit if create else False,
        initial_lora=job.initial_lora,
        datasets=tuple(
            AskedDataset(each.dataset_version, each.weight if each.HasField("weight") else None, each.regularization)
            for each in job.datasets
        ),
    )


def edit_from_proto(request: training_service_pb2.UpdateTrainingJobRequest) -> JobEdit:
    """What a caller wants to change."""
    job = request.training_job
    return JobEdit(
        name=job.name,
        etag=job.etag,
        given=Editable(job.display_name, job.priority, dict(job.labels)),
        mask=tuple(request.update_mask.paths),
    )


def job_to_proto(view: JobView) -> training_job_pb2.TrainingJob:
    """A job as callers see it, with its place in the queue."""
    message = stored_job_to_proto(view.job)
    message.queue_position_in_project = view.position_in_project
    message.queue_position = view.position
    message.held_back = view.held_back
    if view.expected_end is not None:
        message.estimated_end_time.CopyFrom(to_timestamp(view.expected_end))
    return message


def stored_job_to_proto(job: TrainingJob) -> training_job_pb2.TrainingJob:
    """A job without what depends on the rest of the queue."""
    message = training_job_pb2.TrainingJob(
        name=job.name,
        display_name=job.display_name,
        base_model=job.base_model,
        dataset_version=job.dataset_version,
        parameters=parameters_to_proto(job.parameters),
        priority=job.priority,
        state=state_to_proto(job.state),
        phase=job.progress.phase,
        dataset_digest=job.dataset_digest,
        image_count=job.image_count,
        trigger_word=job.trigger_word,
        step=job.progress.step,
        total_steps=job.total_steps,
        epochs_completed=job.epochs_completed,
        loss=job.progress.loss,
        images_per_second=job.progress.images_per_second,
        recommended_epoch=job.recommended_epoch,
        recommendation_reason=job.recommendation_reason,
        attempts=[_attempt_to_proto(attempt) for attempt in job.attempts],
        create_time=to_timestamp(job.create_time),
        update_time=to_timestamp(job.update_time),
        etag=job.etag,
        base_previews=[preview_to_proto(preview) for preview in job.base_previews],
        labels=dict(job.labels),
        notices=job.notices,
        pretended=job.pretended,
    )
    message.datasets.extend(_dataset_to_proto(dataset) for dataset in job.datasets)
    if job.initial_lora is not None:
        message.initial_lora = job.initial_lora.name
        message.initial_lora_digest = job.initial_lora.sha256
    if job.error is not None:
        message.error.CopyFrom(error_to_proto(job.error))
    if job.start_time is not None:
        message.start_time.CopyFrom(to_timestamp(job.start_time))
    if job.end_time is not None:
        message.end_time.CopyFrom(to_timestamp(job.end_time))
    return message


def _dataset_to_proto(dataset: TrainedDataset) -> training_job_pb2.TrainedDataset:
    return training_job_pb2.TrainedDataset(
        dataset_version=dataset.version,
        weight=None if dataset.regularization else dataset.weight,
        regularization=dataset.regularization,
        dataset_digest=dataset.digest,
        image_count=dataset.image_count,
        trigger_word=dataset.trigger_word,
        subject=dataset.subject,
    )


def _attempt_to_proto(attempt: Attempt) -> training_job_pb2.Attempt:
    message = training_job_pb2.Attempt(
        number=attempt.number,
        worker_id=attempt.worker_id,
        start_time=to_timestamp(attempt.start_time),
        message=attempt.message,
        pretended=attempt.pretended,
    )
    if attempt.outcome is not None:
        message.outcome = _Attempt.Outcome.Value(f"OUTCOME_{attempt.outcome.value}")
    if attempt.end_time is not None:
        message.end_time.CopyFrom(to_timestamp(attempt.end_time))
    return message


def estimate_to_proto(estimate: Estimate) -> training_job_pb2.TrainingEstimate:
    """An estimate; its durations stay unset when nothing is known."""
    message = training_job_pb2.TrainingEstimate(
        steps_per_epoch=estimate.steps_per_epoch,
        total_steps=estimate.total_steps,
        memory_bytes=round(estimate.memory.middle),
        memory_low_bytes=round(estimate.memory.low),
        memory_high_bytes=round(estimate.memory.high),
        memory_basis=estimate.memory_basis,
        basis=estimate.basis,
        measured_runs=estimate.measured_runs,
        device=estimate.device,
        device_memory_bytes=estimate.device_memory_bytes,
        fit=training_job_pb2.TrainingEstimate.Fit.Value(f"FIT_{estimate.fit.value}"),
        fit_remedy=estimate.fit_remedy,
        file_notes=estimate.file_notes,
        parameters=parameters_to_proto(estimate.parameters),
        image_count=estimate.image_count,
        long_captions=estimate.captions.too_long,
        longest_caption_tokens=estimate.captions.longest,
        caption_token_limit=estimate.captions.limit,
    )
    if estimate.time is not None:
        message.duration.CopyFrom(_seconds(estimate.time.middle))
        message.duration_low.CopyFrom(_seconds(estimate.time.low))
        message.duration_high.CopyFrom(_seconds(estimate.time.high))
    if estimate.parts is not None:
        message.start_duration.CopyFrom(_seconds(estimate.parts.start.middle))
        message.training_duration.CopyFrom(_seconds(estimate.parts.training.middle))
        message.epoch_ends_duration.CopyFrom(_seconds(estimate.parts.epoch_ends.middle))
    return message


def _seconds(seconds: float) -> Duration:
    return to_duration(timedelta(seconds=seconds))


def to_duration(span: timedelta) -> Duration:
    """A span of time."""
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
