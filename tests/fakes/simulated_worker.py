"""A worker without an engine: it talks the real protocol and stores real, tiny files, but trains nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from fiveshot.trainer.v1 import training_job_pb2, worker_service_pb2, worker_service_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from services.chassis.s3 import ObjectStore
from tests.fixtures.patience import scaled

Outcome = training_job_pb2.Attempt.Outcome


@dataclass(frozen=True)
class Held:
    """A job that this worker holds. attempt: its number."""

    job: training_job_pb2.TrainingJob
    token: str
    attempt: int
    prefix: str
    checkpoint: tuple[training_job_pb2.EpochFile, ...]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return int(self.job.total_steps // self.job.parameters.num_epochs)


class SimulatedWorker:
    """Each method is one call; `work` is a whole job."""

    def __init__(self, channel: grpc.aio.Channel, objects: ObjectStore, worker_id: str) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._objects = objects
        self.worker_id = worker_id

    async def acquire(self, *, wait_s: float = 0.0, models: Sequence[str] = (), warm: str = "") -> Held | None:
        """The next job, or None."""
        wait = Duration()
        wait.FromTimedelta(timedelta(seconds=wait_s))
        answer = await self._stub.AcquireJob(
            worker_service_pb2.AcquireJobRequest(
                worker_id=self.worker_id, wait=wait, base_models=models, warm_base_model=warm, device="cpu"
            ),
            timeout=wait_s + scaled(30),
        )
        if not answer.HasField("job"):
            return None
        return Held(
            answer.job, answer.lease_token, answer.attempt, answer.object_prefix, tuple(answer.checkpoint_files)
        )

    async def heartbeat(self, held: Held, *, step: int, running: bool = True) -> int:
        """One sign of life with the points of that step; returns the directive."""
        metrics = [
            training_job_pb2.Metric(step=step, epoch=1, key=key, value=value)
            for key, value in (("loss", 1.0 / step), ("learning_rate", 1e-4))
        ]
        answer = await self._stub.Heartbeat(
            worker_service_pb2.HeartbeatRequest(
                training_job=held.job.name,
                lease_token=held.token,
                metrics=metrics,
                step=step,
                epoch=1,
                phase="training",
                loss=1.0 / step,
                images_per_second=10.0,
                eta_seconds=30.0,
                running=running,
            ),
            timeout=scaled(30),
        )
        return int(answer.directive)

    async def store(self, held: Held, key: str, data: bytes, file_id: str) -> training_job_pb2.EpochFile:
        """Puts a file under the attempt's prefix."""
        stored = await self._objects.put(f"{held.prefix}{key}", data)
        return training_job_pb2.EpochFile(
            file_id=file_id,
            file_name=key.rsplit("/", 1)[-1],
            content_type="application/octet-stream",
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            object_key=stored.key,
        )

    async def epoch_report(self, held: Held, number: int) -> worker_service_pb2.ReportEpochRequest:
        """Stores an epoch's files and returns the report that names them."""
        body = f"{held.job.name} epoch {number} attempt {held.attempt}".encode()
        files = [
            await self.store(held, f"epochs/{number}/{form}.safetensors", body + form.encode(), form)
            for form in (("kohya", "diffusers") if number else ())
        ]
        preview = await self.store(held, f"epochs/{number}/preview-1.png", body, "preview-1")
        sheet = await self.store(held, f"epochs/{number}/contact_sheet.png", body, "contact-sheet")
        checkpoint = [await self.store(held, f"checkpoints/{number}/state.bin", body, "checkpoint-1")] if number else []
        return worker_service_pb2.ReportEpochRequest(
            training_job=held.job.name,
            lease_token=held.token,
            epoch_number=number,
            epoch=training_job_pb2.Epoch(
                step=number * held.steps_per_epoch,
                loss=1.0 / (number + 1),
                files=[*files, preview, sheet],
                previews=[
                    training_job_pb2.Preview(
                        file_id="preview-1", prompt="a photo", seed=1, width=64, height=64, sha256=preview.sha256
                    )
                ],
                evaluation=training_job_pb2.Evaluation(fit_loss=0.5, drift=0.1, memorisation=0.2),
                train_seconds=1.5,
            ),
            checkpoint_files=checkpoint,
            recommended_epoch=number,
            recommendation_reason="The newest one." if number else "",
        )

    async def report(self, request: worker_service_pb2.ReportEpochRequest) -> int:
        """Reports an epoch; returns the directive."""
        return int((await self._stub.ReportEpoch(request, timeout=scaled(30))).directive)

    async def complete(
        self,
        held: Held,
        outcome: Outcome.ValueType = training_job_pb2.Attempt.OUTCOME_SUCCEEDED,
        *,
        reason: str = "",
        retryable: bool = False,
    ) -> int:
        """Ends the attempt; returns the job's state."""
        request = worker_service_pb2.CompleteAttemptRequest(
            training_job=held.job.name, lease_token=held.token, outcome=outcome
        )
        if reason:
            request.error.CopyFrom(
                training_job_pb2.JobError(
                    reason=reason, message="It went wrong.", remedy="Change something.", retryable=retryable
                )
            )
        return int((await self._stub.CompleteAttempt(request, timeout=scaled(30))).state)

    async def work(self, held: Held) -> None:
        """All of a job, from its checkpoint to its end."""
        await self.heartbeat(held, step=held.steps_per_epoch * held.job.epochs_completed + 1)
        for number in range(held.job.epochs_completed + 1, held.job.parameters.num_epochs + 1):
            await self.report(await self.epoch_report(held, number))
        await self.complete(held)
