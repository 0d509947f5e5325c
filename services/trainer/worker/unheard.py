"""What happened in an attempt and the trainer has not heard yet; it waits while the trainer is away."""

from __future__ import annotations

from dataclasses import dataclass, field

from fiveshot.trainer.v1 import worker_service_pb2

from services.trainer.worker.training import Report
from services.trainer.worker.wire import Assignment, Metric, metric_to_proto

MOST_METRICS = 9_000
"""Points of one heartbeat; more wait for the next one."""
MOST_NOTICES = 20


@dataclass
class Unheard:
    """Points, notices, and the step to which the attempt went back; None when it did not."""

    metrics: list[Metric] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    back_to_step: int | None = None

    def __bool__(self) -> bool:
        return bool(self.metrics or self.notices or self.back_to_step is not None)

    def add(self, report: Report) -> None:
        """What the run said since the report before."""
        back = report.back_to_step
        if back is not None:
            self.metrics = [metric for metric in self.metrics if metric.step <= back]
            self.back_to_step = back
        self.metrics += report.metrics
        self.notices += report.notices

    def request(self, assignment: Assignment, report: Report) -> worker_service_pb2.HeartbeatRequest:
        """A heartbeat that tells as much of it as one may."""
        progress = report.progress
        return worker_service_pb2.HeartbeatRequest(
            training_job=assignment.job.name,
            lease_token=assignment.token,
            metrics=[metric_to_proto(metric) for metric in self.metrics[:MOST_METRICS]],
            step=max(progress.step, assignment.job.step),
            epoch=progress.epoch or assignment.job.epochs_completed,
            phase=progress.phase,
            loss=progress.loss,
            images_per_second=progress.images_per_second,
            eta_seconds=progress.eta_seconds,
            learning_rate=progress.learning_rate,
            running=report.running,
            notices=self.notices[:MOST_NOTICES],
            back_to_step=self.back_to_step,
        )

    def heard(self) -> None:
        """The last request was answered."""
        del self.metrics[:MOST_METRICS]
        del self.notices[:MOST_NOTICES]
        self.back_to_step = None
