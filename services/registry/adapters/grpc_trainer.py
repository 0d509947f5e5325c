"""The trainer over gRPC: its epochs, read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator

import grpc
from fiveshot.trainer.v1 import training_job_pb2 as job_pb
from fiveshot.trainer.v1 import training_service_pb2 as service_pb
from fiveshot.trainer.v1.training_service_pb2_grpc import TrainingServiceStub
from google.protobuf.json_format import MessageToDict

from services.chassis.errors import FailedPrecondition, NotFound
from services.registry.models.names import parse_epoch_name
from services.registry.models.resources import BaseModelFacts, EpochFile, EpochPreview, FinishedEpoch, LineageDataset

_State = job_pb.TrainingJob.State
_WORKING = (
    _State.STATE_QUEUED,
    _State.STATE_PREPARING,
    _State.STATE_RUNNING,
    _State.STATE_PAUSING,
    _State.STATE_PAUSED,
    _State.STATE_STOPPING,
)
# What a reader of a model card asks first.
_CARD_SETTINGS = (
    "adapter",
    "target_modules",
    "learning_rate",
    "optimizer",
    "batch_size",
    "num_repeats",
    "resolution",
    "seed",
)


class GrpcEpochSource:
    """Implements ports.EpochSource over a channel of services.chassis.grpc_client, whose calls raise DomainErrors."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float = 10.0) -> None:
        self._stub = TrainingServiceStub(channel)
        self._timeout_s = timeout_s

    async def finished_epoch(self, name: str) -> FinishedEpoch:
        """See ports.EpochSource."""
        _, job_name, number = parse_epoch_name(name)
        try:
            job = await self._stub.GetTrainingJob(
                service_pb.GetTrainingJobRequest(name=job_name), timeout=self._timeout_s
            )
        except NotFound as error:
            raise NotFound(
                f"{job_name} does not exist", field="epoch", reason=error.reason, remedy="List the training jobs."
            ) from error
        try:
            epoch = await self._stub.GetEpoch(service_pb.GetEpochRequest(name=name), timeout=self._timeout_s)
        except NotFound as error:
            raise _absent(job, number) from error
        try:
            base_model = await self.base_model(job.base_model)
        except NotFound:
            # It may have left the catalogue since the job ran; its epochs stay worth keeping.
            base_model = BaseModelFacts(name=job.base_model)
        return _finished(epoch, job, base_model)

    async def read_file(self, epoch: str, file: EpochFile) -> AsyncIterator[bytes]:
        """See ports.EpochSource."""
        request = service_pb.DownloadEpochFileRequest(name=epoch, file_id=file.file_id)
        async for response in self._stub.DownloadEpochFile(request):
            yield response.chunk

    async def base_model(self, name: str) -> BaseModelFacts:
        """See ports.EpochSource."""
        try:
            found = await self._stub.GetBaseModel(service_pb.GetBaseModelRequest(name=name), timeout=self._timeout_s)
        except NotFound as error:
            raise NotFound(
                f"{name} is not in the catalogue",
                field="base_model",
                reason="BASE_MODEL_NOT_FOUND",
                remedy="List the base models, or leave it out.",
            ) from error
        return BaseModelFacts(
            name=name,
            display_name=found.display_name,
            license=found.license,
            hub_id=found.hub_id,
            hub_tags=tuple(found.hub_tags),
            native_resolution=found.native_resolution,
        )


def _absent(job: job_pb.TrainingJob, number: int) -> NotFound | FailedPrecondition:
    done = job.epochs_completed
    if job.state in _WORKING and number <= job.parameters.num_epochs:
        return FailedPrecondition(
            f"Epoch {number} of {job.name} is not finished",
            field="epoch",
            reason="EPOCH_NOT_FINISHED",
            remedy=f"Wait for it, or save an earlier one; {done} are finished.",
        )
    remedy = f"It has epochs 1 to {done}." if done else "It has finished none."
    return NotFound(f"{job.name} has no epoch {number}", field="epoch", reason="EPOCH_NOT_FOUND", remedy=remedy)


def _finished(epoch: job_pb.Epoch, job: job_pb.TrainingJob, base_model: BaseModelFacts) -> FinishedEpoch:
    parameters = MessageToDict(job.parameters, preserving_proto_field_name=True)
    canonical = json.dumps(parameters, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return FinishedEpoch(
        name=epoch.name,
        number=parse_epoch_name(epoch.name)[2],
        step=epoch.step,
        loss=epoch.loss,
        files=tuple(
            EpochFile(file.file_id, file.file_name, file.content_type, file.size_bytes, file.sha256)
            for file in (*epoch.files, *epoch.pictures)
        ),
        previews=tuple(
            EpochPreview(preview.file_id, preview.prompt, preview.seed, preview.width, preview.height)
            for preview in epoch.previews
        ),
        training_job=job.name,
        dataset_version=job.dataset_version,
        dataset_digest=job.dataset_digest,
        image_count=job.image_count,
        base_model=base_model,
        trigger_word=job.trigger_word,
        rank=job.parameters.rank,
        alpha=job.parameters.alpha,
        parameters_sha256=hashlib.sha256(canonical.encode()).hexdigest(),
        settings={name: str(parameters[name]) for name in _CARD_SETTINGS if name in parameters},
        file_notes=tuple(epoch.file_notes),
        pretended=epoch.pretended,
        initial_lora=job.initial_lora,
        datasets=tuple(
            LineageDataset(
                each.dataset_version, each.dataset_digest, each.weight, each.regularization, each.trigger_word
            )
            for each in job.datasets
        ),
    )
