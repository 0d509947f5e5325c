"""An event of a job as a row of the log."""

from __future__ import annotations

from services.chassis.cloud_events import event_subject
from services.chassis.outbox import OutboxEvent, new_event
from services.trainer.models.events import JobEvent, Progressed
from services.trainer.models.job import TrainingJob
from services.trainer.proto_mapping.events import event_payload, event_type


def job_event(job: TrainingJob, event: JobEvent, number: int) -> OutboxEvent:
    """The row. job: as it is after the event. number: of the event within the job, from 1."""
    kind = event_type(event)
    return new_event(
        aggregate=job.name,
        sequence=number,
        type=f"fiveshot.training_job.{kind}",
        subject=event_subject(job.project, "trainingJobs", job.job_id, kind),
        source=job.name,
        payload=lambda event_id, sequence, moment: event_payload(
            event, job, event_id=event_id, sequence=sequence, moment=moment
        ),
        # Progress is told so often that it is in no trace, as the heartbeats are not that bring it.
        traceparent="" if isinstance(event, Progressed) else job.traceparent,
    )
