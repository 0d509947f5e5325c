"""Training jobs: started, followed across lost connections, steered; their epochs with previews and files."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiveshot import pictures
from fiveshot.aio import transfer
from fiveshot.aio.calls import Listing, Stubs
from fiveshot.aio.models import ModelVersion, save_epoch
from fiveshot.aio.previews import TriedOut
from fiveshot.errors import FailedPrecondition
from fiveshot.records import EpochRecord, JobFailed, TrainingJobRecord
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from fiveshot.transfers import Saved
from fiveshot.updates import Update
from fiveshot.words import labelled
from google.protobuf.field_mask_pb2 import FieldMask

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = "contact-sheet"
_SHEET_SUFFIX = ".png"


async def updates(
    stubs: Stubs, job: str, *, from_start: bool = False, token: str = ""
) -> AsyncIterator[pb.WatchTrainingJobResponse]:
    """Everything that happens to a job (full name) until it ends, across lost connections: no gap, no repetition.

    from_start: with all that happened before. token: the `resume_token` of the last answer that is known already.
    """
    last = token

    def start() -> AsyncIterable[pb.WatchTrainingJobResponse]:
        request = pb.WatchTrainingJobRequest(name=job, resume_token=last, from_start=from_start and not last)
        return stubs.trainer.WatchTrainingJob(request)

    async for message in stubs.channel.resumed(start):
        last = message.resume_token
        yield message


class Preview:
    """A picture that an epoch draws of a prompt. Its bytes are fetched when they are asked for."""

    def __init__(self, stubs: Stubs, epoch: str, message: training_job_pb2.Preview) -> None:
        self._stubs, self._epoch = stubs, epoch
        self.message = message
        self.prompt, self.seed = message.prompt, message.seed

    async def read(self) -> bytes:
        """The PNG, checked against its digest."""
        return await _read(self._stubs, self._epoch, self.message.file_id, self.message.sha256)

    async def image(self) -> Image:
        """The picture for Pillow. Raises FailedPrecondition (PILLOW_MISSING)."""
        return pictures.opened(await self.read())

    async def show(self) -> None:
        """Opens it in the machine's viewer. Raises FailedPrecondition (PILLOW_MISSING)."""
        (await self.image()).show(title=self.prompt)

    async def save(self, to: str | os.PathLike[str]) -> None:
        """Writes it; another ending than .png converts it, which needs Pillow."""
        pictures.write(await self.read(), Path(to))

    def __repr__(self) -> str:
        return f"<Preview {self.message.file_id}: {self.prompt}>"


class Epoch(EpochRecord, TriedOut[training_job_pb2.Epoch]):
    """One finished epoch: a LoRA in its formats, and what it draws."""

    def __init__(self, stubs: Stubs, message: training_job_pb2.Epoch) -> None:
        super().__init__(message)
        self._stubs = stubs

    @property
    def previews(self) -> list[Preview]:
        """A picture a prompt; the same prompts and seeds at every epoch."""
        return [Preview(self._stubs, self.name, each) for each in self.message.previews]

    async def save(
        self, model: str, *, create: bool = True, display_name: str = "", description: str = "",
        aliases: str | Sequence[str] = (), labels: Mapping[str, str] | None = None,
    ) -> ModelVersion:  # fmt: skip
        """Keeps it as the next version of a model (id), which is created where it does not exist.

        create: False raises NotFound instead.
        """
        return await save_epoch(
            self._stubs, self.name, model, create=create, display_name=display_name, description=description,
            aliases=aliases, labels=labelled(labels),
        )  # fmt: skip

    async def download(
        self, to: str | os.PathLike[str] | None = None, *, format: str = "kohya", overwrite: bool = True
    ) -> Saved:
        """Writes one of its files: `kohya`, `diffusers`, `preview-1` and so on, `contact-sheet`; its digest is checked.

        to: a file, or a folder to put it in under its own name; None is the working folder.
        """
        return await transfer.save(
            self._stubs.channel, lambda: _chunks(self._stubs, self.name, format), to, overwrite=overwrite
        )

    async def update(self, *, labels: Mapping[str, str]) -> Epoch:
        """Gives it other labels; nothing else of an epoch changes. Raises Aborted when it has changed since."""
        given = training_job_pb2.Epoch(name=self.name, etag=self.message.etag, labels=labelled(labels))
        request = pb.UpdateEpochRequest(epoch=given, update_mask=FieldMask(paths=["labels"]))
        self.message = await self._stubs.trainer.UpdateEpoch(request)
        return self

    async def delete(self) -> None:
        """Deletes it; the newest epoch and the recommended one stay with their job."""
        await self._stubs.trainer.DeleteEpoch(pb.DeleteEpochRequest(name=self.name))


class TrainingJob(TrainingJobRecord, TriedOut[training_job_pb2.TrainingJob]):
    """A fine-tune of a base model on a dataset version."""

    def __init__(self, stubs: Stubs, message: training_job_pb2.TrainingJob) -> None:
        super().__init__(message)
        self._stubs = stubs

    async def refresh(self) -> TrainingJob:
        """Reads it anew."""
        self.message = await self._stubs.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=self.name))
        return self

    async def watch(self, *, from_start: bool = False) -> AsyncIterator[Update]:
        """What happens until it ends: a snapshot, then every event once, however often the connection is lost.

        from_start: with all that happened before. The job is as it ended when the watch is over.
        """
        seen = Update()
        async for message in updates(self._stubs, self.name, from_start=from_start):
            seen = seen.then(message)
            if message.WhichOneof("update") == "job":
                self.message = message.job
            yield seen
        await self.refresh()

    async def wait(self) -> TrainingJob:
        """Waits until it ends. Raises JobFailed with the job's own reason and remedy when it did not succeed."""
        async for _ in self.watch():
            pass
        if self.state != "succeeded":
            raise self.error or JobFailed(
                f"{self.id} was {self.state}", reason="JOB_CANCELLED", remedy="Retry it, or start another one.",
                metadata={"job": self.name},
            )  # fmt: skip
        return self

    @property
    def epochs(self) -> Listing[Epoch]:
        """Its finished epochs, the first one first."""
        request = pb.ListEpochsRequest(parent=self.name)
        return Listing(self._stubs.trainer.ListEpochs, request, "epochs", lambda each: Epoch(self._stubs, each))

    async def epoch(self, number: int) -> Epoch:
        """One epoch by its number, from 1. Raises NotFound."""
        request = pb.GetEpochRequest(name=f"{self.name}/epochs/{number}")
        return Epoch(self._stubs, await self._stubs.trainer.GetEpoch(request))

    @property
    async def recommended(self) -> Epoch:
        """The epoch that the evaluation recommends now. Raises FailedPrecondition (NO_RECOMMENDATION)."""
        await self.refresh()
        if not self.message.recommended_epoch:
            raise FailedPrecondition(
                f"No epoch of {self.id} is recommended", field="epoch", reason="NO_RECOMMENDATION",
                remedy="Wait until it ends, or choose one of its epochs.",
            )  # fmt: skip
        return await self.epoch(self.message.recommended_epoch)

    async def sheet(self, to: str | os.PathLike[str]) -> None:
        """Writes the contact sheet: the training pictures above the previews of all epochs so far.

        Another ending than .png converts it, which needs Pillow. Raises FailedPrecondition (NO_EPOCH).
        """
        last = (await self.epochs.all())[-1:]
        if not last:
            raise FailedPrecondition(
                f"{self.id} has no finished epoch yet", field="epoch", reason="NO_EPOCH",
                remedy="Wait for its first epoch: iterate over watch().",
            )  # fmt: skip
        pictures.write(await _read(self._stubs, last[0].name, SHEET), Path(to), _SHEET_SUFFIX)

    async def metrics(self, *keys: str, since_step: int = 0, stride: int = 1) -> list[training_job_pb2.Metric]:
        """Measured points by step: `loss` unless keys are given (`learning_rate`, `images_per_second`, `grad_norm`)."""
        found: list[training_job_pb2.Metric] = []
        while True:
            request = pb.ListMetricsRequest(
                parent=self.name, keys=keys or ("loss",), since_step=since_step, stride=stride
            )  # fmt: skip
            answer = await self._stubs.trainer.ListMetrics(request)
            found += answer.metrics
            if not answer.next_since_step:
                return found
            since_step = answer.next_since_step

    async def update(
        self, *, display_name: str | None = None, priority: int | None = None, labels: Mapping[str, str] | None = None
    ) -> TrainingJob:
        """Changes what is given. labels: instead of those that it has.

        Raises Aborted when it has changed since it was read, which a running job does all the time: refresh it first.
        """
        given: dict[str, Any] = {"display_name": display_name, "priority": priority, "labels": labelled(labels)}
        values = {name: value for name, value in given.items() if value is not None}
        changed = training_job_pb2.TrainingJob(name=self.name, etag=self.message.etag, **values)
        request = pb.UpdateTrainingJobRequest(training_job=changed, update_mask=FieldMask(paths=list(values)))
        return self._is(await self._stubs.trainer.UpdateTrainingJob(request))

    async def cancel(self) -> TrainingJob:
        """Ends it; finished epochs are kept."""
        return self._is(await self._stubs.trainer.CancelTrainingJob(pb.CancelTrainingJobRequest(name=self.name)))

    async def pause(self) -> TrainingJob:
        """Pauses it; it resumes from its last finished epoch."""
        return self._is(await self._stubs.trainer.PauseTrainingJob(pb.PauseTrainingJobRequest(name=self.name)))

    async def resume(self) -> TrainingJob:
        """Queues a paused job again."""
        return self._is(await self._stubs.trainer.ResumeTrainingJob(pb.ResumeTrainingJobRequest(name=self.name)))

    async def stop(self) -> TrainingJob:
        """Has it finish the current epoch, then end as succeeded."""
        return self._is(await self._stubs.trainer.StopTrainingJob(pb.StopTrainingJobRequest(name=self.name)))

    async def retry(self) -> TrainingJob:
        """Queues a failed or cancelled job again."""
        return self._is(await self._stubs.trainer.RetryTrainingJob(pb.RetryTrainingJobRequest(name=self.name)))

    async def extend(self, epochs: int) -> TrainingJob:
        """Queues a finished job again for so many more epochs."""
        request = pb.ExtendTrainingJobRequest(name=self.name, additional_epochs=epochs)
        return self._is(await self._stubs.trainer.ExtendTrainingJob(request))

    async def delete(self, *, force: bool = False) -> None:
        """Deletes a job that has ended. force: with its epochs."""
        await self._stubs.trainer.DeleteTrainingJob(pb.DeleteTrainingJobRequest(name=self.name, force=force))

    def _is(self, message: training_job_pb2.TrainingJob) -> TrainingJob:
        self.message = message
        return self


class TrainingJobs:
    """The training jobs of a project; `dataset.train()` starts one."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._endpoint = stubs.channel.endpoint

    async def get(self, job: str) -> TrainingJob:
        """One by id or full name. Raises NotFound."""
        request = pb.GetTrainingJobRequest(name=self._endpoint.resource("trainingJobs", job))
        return TrainingJob(self._stubs, await self._stubs.trainer.GetTrainingJob(request))

    def list(self, filter: str = "", *, order_by: str = "") -> Listing[TrainingJob]:
        """Those that match an AIP-160 filter such as `state = "RUNNING"`, the newest first."""
        request = pb.ListTrainingJobsRequest(parent=self._endpoint.parent, filter=filter, order_by=order_by)
        return Listing(
            self._stubs.trainer.ListTrainingJobs, request, "training_jobs", lambda each: TrainingJob(self._stubs, each)
        )  # fmt: skip


def _chunks(stubs: Stubs, epoch: str, file_id: str) -> AsyncIterable[Any]:
    return stubs.trainer.DownloadEpochFile(pb.DownloadEpochFileRequest(name=epoch, file_id=file_id))


async def _read(stubs: Stubs, epoch: str, file_id: str, sha256: str = "") -> bytes:
    return await transfer.content(stubs.channel, lambda: _chunks(stubs, epoch, file_id), sha256=sha256)
