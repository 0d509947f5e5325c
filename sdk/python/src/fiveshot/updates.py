"""What a watch says of a training job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fiveshot.records import ENDED, moment, state_of
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2


@dataclass(frozen=True)
class Update:
    """What a watch says: one thing that happened, and where the job stands after it.

    kind: `job` (a snapshot), `created`, `state`, `progress`, `epoch`, `base_previews` or `notice` (the job helped
    itself and goes on). loss: mean over the last steps, None before the first. eta: time to the end, None while it is
    not known. epoch: the current one, from 1; of the kind `epoch` the one that was finished. text: a sentence where a
    state needs one, and that of a notice. message: the answer itself.
    """

    kind: str = "job"
    state: str = ""
    step: int = 0
    total_steps: int = 0
    epoch: int = 0
    loss: float | None = None
    eta: timedelta | None = None
    phase: str = ""
    images_per_second: float = 0.0
    text: str = ""
    message: training_service_pb2.WatchTrainingJobResponse = field(
        default_factory=training_service_pb2.WatchTrainingJobResponse, repr=False, compare=False
    )

    def then(self, message: training_service_pb2.WatchTrainingJobResponse) -> Update:
        """The next update: what the message says, and of all else what was known before."""
        if message.WhichOneof("update") == "job":
            return replace(self, kind="job", message=message, **_of_job(message.job))
        event = message.event
        kind = _KINDS.get(event.WhichOneof("payload") or "", "other")
        known: dict[str, Any] = {"kind": kind, "message": message, "text": ""}
        if event.state:
            known["state"] = state_of(event)
        if kind == "created":
            known |= _of_job(event.created.job)
        elif kind == "state":
            known["text"] = event.state_changed.error.message or event.state_changed.message
        elif kind == "notice":
            known["text"] = event.notice.text
        elif kind == "epoch":
            done = event.epoch_completed.epoch
            # It is told once its files are stored, when the next one may have begun.
            known |= {"epoch": int(done.name.rsplit("/", 1)[-1]), "step": max(self.step, done.step)}
        elif kind == "progress":
            at = event.progress
            known |= {
                "step": at.step, "total_steps": at.total_steps, "epoch": at.epoch, "loss": at.loss or self.loss,
                "eta": timedelta(seconds=round(at.eta_seconds)) if at.eta_seconds else None, "phase": at.phase,
                "images_per_second": at.images_per_second,
            }  # fmt: skip
        if known.get("state") in ENDED:
            known["eta"] = None
        return replace(self, **known)


_KINDS = {
    "created": "created", "state_changed": "state", "progress": "progress", "epoch_completed": "epoch",
    "base_previews_completed": "base_previews", "notice": "notice",
}  # fmt: skip


def _of_job(job: training_job_pb2.TrainingJob) -> dict[str, Any]:
    end = moment(job.estimated_end_time)
    left = end - datetime.now(UTC) if end and not job.HasField("end_time") else None
    return {
        "state": state_of(job), "step": job.step, "total_steps": job.total_steps, "loss": job.loss or None,
        "phase": job.phase, "images_per_second": job.images_per_second,
        "eta": timedelta(seconds=round(left.total_seconds())) if left and left > timedelta(0) else None,
    }  # fmt: skip
