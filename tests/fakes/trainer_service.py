"""A small TrainingService over real gRPC: one job with epochs whose files a test can damage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from fiveshot.trainer.v1 import base_model_pb2, training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as service_pb
from fiveshot.trainer.v1.training_service_pb2_grpc import (
    TrainingServiceServicer,
    add_TrainingServiceServicer_to_server,
)

from services.chassis.errors import NotFound
from tests.fakes.finished_epochs import JOB, LORA, PROMPTS, contents, epoch_files

NAME = service_pb.DESCRIPTOR.services_by_name["TrainingService"].full_name
State = training_job_pb2.TrainingJob.State


class FakeTrainer(TrainingServiceServicer):
    """Epochs 1 to `finished` of JOB, which is planned for five. `projects`: what calls said they may touch."""

    def __init__(self) -> None:
        self.contents = contents()
        self.finished = 3
        self.state = State.STATE_RUNNING
        self.has_base_model = True
        self.hub_id = ""
        self.projects: set[str] = set()
        self.downloads = 0

    def register(self, server: grpc.aio.Server) -> None:
        """For services.chassis.grpc_server.start_server."""
        add_TrainingServiceServicer_to_server(self, server)

    async def GetTrainingJob(
        self, request: service_pb.GetTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingJob:
        self._note(context)
        if request.name != JOB:
            raise NotFound(f"{request.name} does not exist", reason="JOB_NOT_FOUND")
        return training_job_pb2.TrainingJob(
            name=JOB,
            base_model="baseModels/tiny",
            dataset_version="projects/pets/datasets/rex/versions/1",
            dataset_digest="d" * 64,
            image_count=5,
            trigger_word="sks dog",
            state=self.state,
            epochs_completed=self.finished,
            parameters=training_job_pb2.TrainingParameters(
                num_epochs=5, rank=16, alpha=8.0, learning_rate=1.5e-3, optimizer="adamw", resolution=64
            ),
        )

    async def GetBaseModel(self, request: service_pb.GetBaseModelRequest, context: Any) -> base_model_pb2.BaseModel:
        if not self.has_base_model:
            raise NotFound(f"{request.name} does not exist")
        return base_model_pb2.BaseModel(
            name=request.name,
            display_name="Tiny",
            family="stable-diffusion",
            license="Apache-2.0",
            hub_id=self.hub_id,
            hub_tags=["stable-diffusion", "stable-diffusion-diffusers"],
        )

    async def GetEpoch(self, request: service_pb.GetEpochRequest, context: Any) -> training_job_pb2.Epoch:
        self._note(context)
        number = int(request.name.rsplit("/", 1)[1])
        if number > self.finished:
            raise NotFound(f"{request.name} does not exist", reason="EPOCH_NOT_FOUND")
        return training_job_pb2.Epoch(
            name=request.name,
            step=60 * number,
            loss=0.5 / number,
            # As the trainer answers: pictures apart from the LoRA's forms.
            files=[_file(file) for file in epoch_files() if file.file_id in LORA],
            pictures=[_file(file) for file in epoch_files() if file.file_id not in LORA],
            previews=[
                training_job_pb2.Preview(file_id=f"preview-{n}", prompt=prompt, seed=n, width=64, height=64)
                for n, prompt in enumerate(PROMPTS, 1)
            ],
        )

    async def DownloadEpochFile(
        self, request: service_pb.DownloadEpochFileRequest, context: Any
    ) -> AsyncIterator[service_pb.DownloadEpochFileResponse]:
        self._note(context)
        self.downloads += 1
        content = self.contents[request.file_id]
        file = next(file for file in epoch_files() if file.file_id == request.file_id)
        yield service_pb.DownloadEpochFileResponse(file=_file(file))
        for start in range(0, len(content), 256 * 1024):
            yield service_pb.DownloadEpochFileResponse(chunk=content[start : start + 256 * 1024])

    def _note(self, context: Any) -> None:
        self.projects |= {value for key, value in context.invocation_metadata() if key == "x-fiveshot-projects"}


def _file(file: Any) -> training_job_pb2.EpochFile:
    return training_job_pb2.EpochFile(
        file_id=file.file_id,
        file_name=file.file_name,
        content_type=file.content_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
    )
