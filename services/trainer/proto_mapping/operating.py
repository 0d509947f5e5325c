"""Workers, the queue, and what is cleaned up."""

from __future__ import annotations

from fiveshot.trainer.v1 import training_service_pb2

from services.trainer.models.lifetimes import Found
from services.trainer.models.queue import QueueLoad
from services.trainer.ports import PresentWorker
from services.trainer.proto_mapping.jobs import to_duration
from services.trainer.proto_mapping.times import to_timestamp

_Service = training_service_pb2


def worker_to_proto(worker: PresentWorker) -> _Service.Worker:
    """A worker."""
    return _Service.Worker(
        worker_id=worker.worker_id,
        device=worker.device,
        device_memory_bytes=worker.device_memory_bytes,
        base_models=worker.base_models,
        last_seen_time=to_timestamp(worker.seen_at),
        training_job=worker.job,
        families=worker.families,
        mixed_precisions=worker.mixed_precisions,
    )


def queue_to_proto(load: QueueLoad) -> _Service.TrainingQueue:
    """The queue."""
    return _Service.TrainingQueue(
        waiting_jobs=sum(share.waiting for share in load.projects),
        active_jobs=sum(share.active for share in load.projects),
        projects=[
            _Service.ProjectQueue(
                project=f"projects/{share.project}", waiting_jobs=share.waiting, active_jobs=share.active
            )
            for share in load.projects
        ],
    )


def found_to_proto(found: Found) -> _Service.CleanUpTrainingJobsResponse.Kind:
    """What was found of a kind."""
    message = _Service.CleanUpTrainingJobsResponse.Kind(
        kind=found.kind.value, count=found.count, size_bytes=found.size_bytes
    )
    if found.oldest is not None:
        message.oldest_time.CopyFrom(to_timestamp(found.oldest))
    if found.lifetime is not None:
        message.lifetime.CopyFrom(to_duration(found.lifetime))
    return message
