"""What workers ask for and report, and what they are offered."""

from __future__ import annotations

from fiveshot.trainer.v1 import worker_service_pb2

from services.trainer.models.job import Progress
from services.trainer.ports import WorkerAsk
from services.trainer.proto_mapping.base_models import check_to_proto, for_worker
from services.trainer.proto_mapping.epochs import file_to_proto
from services.trainer.proto_mapping.jobs import stored_job_to_proto, to_duration
from services.trainer.proto_mapping.previews import assignment_to_proto
from services.trainer.use_cases.checking_base_models import BaseModelCheck
from services.trainer.use_cases.drawing import PreviewAssignment
from services.trainer.use_cases.offering import Offer

_Service = worker_service_pb2


def ask_from_proto(request: _Service.AcquireJobRequest) -> WorkerAsk:
    """A worker that asks for a job."""
    return WorkerAsk(
        request.worker_id,
        tuple(request.base_models),
        request.warm_base_model,
        request.device,
        request.device_memory_bytes,
        request.pretends,
        tuple(request.families),
        tuple(request.mixed_precisions),
        draws=request.draws,
        drew=request.drew,
        takes_own=request.takes_own_base_models,
        skill=request.skill,
    )


def offer_to_proto(offer: Offer) -> _Service.AcquireJobResponse:
    """A job, a preview request, a check of a base model, or what to measure."""
    assignment = offer.assignment
    if isinstance(assignment, BaseModelCheck):
        return _Service.AcquireJobResponse(base_model_check=check_to_proto(assignment))
    if isinstance(assignment, PreviewAssignment):
        return _Service.AcquireJobResponse(previews=assignment_to_proto(assignment))
    if assignment is None:
        return _Service.AcquireJobResponse(unmeasured_base_models=offer.unmeasured)
    answer = _Service.AcquireJobResponse(
        job=stored_job_to_proto(assignment.job),
        lease_token=assignment.token,
        lease_duration=to_duration(assignment.lease),
        attempt=assignment.job.attempts[-1].number,
        checkpoint_files=[file_to_proto(file, with_key=True) for file in assignment.checkpoint],
        object_prefix=assignment.prefix,
        traceparent=assignment.job.traceparent,
        heartbeat_interval=to_duration(assignment.interval),
        own_base_model=for_worker(assignment.own) if assignment.own else None,
    )
    lora = assignment.job.initial_lora
    if lora is not None and not assignment.checkpoint:
        answer.initial_lora.form = lora.form
        if assignment.initial is not None:
            answer.initial_lora.file.CopyFrom(file_to_proto(assignment.initial, with_key=True))
    return answer


def progress_from_proto(request: _Service.HeartbeatRequest) -> Progress:
    """How far an attempt is."""
    return Progress(
        step=request.step,
        epoch=request.epoch,
        phase=request.phase,
        loss=request.loss,
        images_per_second=request.images_per_second,
        eta_seconds=request.eta_seconds,
        learning_rate=request.learning_rate,
    )
