"""Finished epochs leave the worker: files into the object store first, then the report that names them.

Deliveries run one after the other beside the training, so that an upload does not hold up the next epoch.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fiveshot.trainer.v1 import training_job_pb2, worker_service_pb2
from PIL import Image

from services.chassis import tracing
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.trainer.engine.job import EpochResult, PreviewImage
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker.wire import Assignment, Directive

_CONTENT_TYPES = {".png": "image/png", ".json": "application/json"}


class Delivery:
    """Delivers the epochs of one attempt in their order. The first failure ends it and is raised by `finish`."""

    def __init__(
        self,
        assignment: Assignment,
        trainer: TrainerClient,
        objects: ObjectStore,
        *,
        patience_s: float,
        on_directive: Callable[[Directive], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._assignment = assignment
        self._trainer = trainer
        self._objects = objects
        self._patience_s = patience_s
        self._on_directive = on_directive
        self._on_failure = on_failure
        self._queue: asyncio.Queue[EpochResult | tuple[PreviewImage, ...] | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    def put(self, finished: EpochResult | tuple[PreviewImage, ...]) -> None:
        """Adds an epoch, or the base model's previews. Call it on the event loop."""
        self._queue.put_nowait(finished)

    async def finish(self) -> None:
        """Waits until everything is delivered. Raises what stopped a delivery."""
        self._queue.put_nowait(None)
        await self._task

    async def abandon(self) -> None:
        """Drops what is not delivered yet."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while (finished := await self._queue.get()) is not None:
                number = finished.epoch if isinstance(finished, EpochResult) else 0
                with tracing.span("deliver epoch", attributes={"fiveshot.epoch": number}):
                    if isinstance(finished, EpochResult):
                        await self._epoch(finished)
                    else:
                        await self._base_previews(finished)
        except Exception:
            self._on_failure()
            raise

    async def _epoch(self, result: EpochResult) -> None:
        folder = f"epochs/{result.epoch:04d}"
        files = [
            await self._store(artifact.path, artifact.form, folder, "application/octet-stream")
            for artifact in result.artifacts
        ]
        previews, preview_files = await self._store_previews(result.previews, folder)
        sheet = await self._store(result.contact_sheet, "contact-sheet", folder, "image/png")
        checkpoint = [
            await self._store(path, f"checkpoint-{number}", f"checkpoints/{result.epoch:04d}", _content_type(path))
            for number, path in enumerate(sorted(result.checkpoint_dir.iterdir()), 1)
        ]
        evaluation = training_job_pb2.Evaluation(
            fit_loss=result.evaluation.fit_loss,
            held_out_loss=result.evaluation.held_out_loss,
            drift=result.evaluation.drift,
            memorisation=result.evaluation.memorisation,
            moved_loss=result.evaluation.moved_loss,
            photo_error=result.evaluation.photo_error,
            unseen_error=result.evaluation.unseen_error,
        )
        epoch = training_job_pb2.Epoch(
            step=result.step,
            loss=result.mean_loss,
            files=[*files, *preview_files, sheet],
            previews=previews,
            evaluation=evaluation,
            reload_difference=result.max_reload_difference,
            train_seconds=result.train_seconds,
        )
        await self._report(
            worker_service_pb2.ReportEpochRequest(
                epoch_number=result.epoch,
                epoch=epoch,
                checkpoint_files=checkpoint,
                recommended_epoch=result.recommendation.epoch,
                recommendation_reason=result.recommendation.reason,
            )
        )

    async def _base_previews(self, pictures: Sequence[PreviewImage]) -> None:
        previews, files = await self._store_previews(pictures, "epochs/0000")
        epoch = training_job_pb2.Epoch(files=files, previews=previews)
        await self._report(worker_service_pb2.ReportEpochRequest(epoch_number=0, epoch=epoch))

    async def _report(self, request: worker_service_pb2.ReportEpochRequest) -> None:
        request.training_job = self._assignment.job.name
        request.lease_token = self._assignment.token
        self._on_directive(await self._trainer.report_epoch(request))

    async def _store_previews(
        self, pictures: Sequence[PreviewImage], folder: str
    ) -> tuple[list[training_job_pb2.Preview], list[training_job_pb2.EpochFile]]:
        previews, files = [], []
        for number, picture in enumerate(pictures, 1):
            file = await self._store(picture.path, f"preview-{number}", folder, "image/png")
            with Image.open(picture.path) as opened:
                width, height = opened.size
            previews.append(
                training_job_pb2.Preview(
                    file_id=file.file_id,
                    prompt=picture.prompt,
                    seed=picture.seed,
                    width=width,
                    height=height,
                    sha256=file.sha256,
                )
            )
            files.append(file)
        return previews, files

    async def _store(self, path: Path, file_id: str, folder: str, content_type: str) -> training_job_pb2.EpochFile:
        key = f"{self._assignment.prefix}{folder}/{path.name}"
        return await store_file(self._objects, path, file_id, key, content_type, patience_s=self._patience_s)


async def store_file(
    objects: ObjectStore, path: Path, file_id: str, key: str, content_type: str, *, patience_s: float
) -> training_job_pb2.EpochFile:
    """Puts a file under a key, and says what it is. Raises Unavailable when the store stays away."""
    digest, size_bytes = await asyncio.to_thread(_measure, path)

    async def put() -> None:
        await objects.put(key, path, content_type=content_type)

    await patiently(put, what="object store", patience_s=patience_s)
    return training_job_pb2.EpochFile(
        file_id=file_id,
        file_name=path.name,
        content_type=content_type,
        size_bytes=size_bytes,
        sha256=digest,
        object_key=key,
    )


def kept(result: EpochResult, folder: Path) -> EpochResult:
    """The epoch with second names, in `folder`, for what the engine replaces at the end of the next one, which may be
    before this one is delivered: the checkpoint and the contact sheet."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True, exist_ok=True)
    for path in result.checkpoint_dir.iterdir():
        os.link(path, checkpoint / path.name)
    sheet = folder / result.contact_sheet.name
    os.link(result.contact_sheet, sheet)
    return replace(result, checkpoint_dir=checkpoint, contact_sheet=sheet)


def _measure(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _content_type(path: Path) -> str:
    return _CONTENT_TYPES.get(path.suffix, "application/octet-stream")
