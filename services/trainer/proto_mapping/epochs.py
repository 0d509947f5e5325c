"""Epochs, their files, previews and evaluation, and measured points."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from fiveshot.trainer.v1 import training_job_pb2

from services.chassis.errors import InvalidArgument
from services.trainer.models.epoch import Epoch, EpochFile, Evaluation, Metric, Preview
from services.trainer.proto_mapping.times import from_timestamp, to_timestamp

_EPOCH_NAME = re.compile(r"projects/[a-z][a-z0-9-]{0,62}/trainingJobs/[a-z][a-z0-9-]{0,62}/epochs/[1-9][0-9]{0,5}")


def labelled_epoch(name: str) -> tuple[str, int]:
    """The same of an epoch that an update names. Raises InvalidArgument(field="epoch.name")."""
    if not _EPOCH_NAME.fullmatch(name):
        raise InvalidArgument(
            f"'{name[:200]}' is not the name of an epoch",
            field="epoch.name",
            reason="NAME_INVALID",
            remedy="Use projects/{project}/trainingJobs/{training_job}/epochs/{epoch}.",
        )
    return epoch_name(name)


def epoch_name(name: str) -> tuple[str, int]:
    """The job's name and the number in `projects/{project}/trainingJobs/{training_job}/epochs/{number}`."""
    job, _, number = name.rpartition("/epochs/")
    return job, int(number)


def file_to_proto(file: EpochFile, *, with_key: bool) -> training_job_pb2.EpochFile:
    """A file. with_key: tell where it lies; for workers only."""
    return training_job_pb2.EpochFile(
        file_id=file.file_id,
        file_name=file.file_name,
        content_type=file.content_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        object_key=file.object_key if with_key else "",
    )


def file_from_proto(message: training_job_pb2.EpochFile) -> EpochFile:
    """A file as a worker reports it."""
    return EpochFile(
        message.file_id,
        message.file_name,
        message.content_type,
        message.size_bytes,
        message.sha256,
        message.object_key,
    )


def preview_to_proto(preview: Preview) -> training_job_pb2.Preview:
    """A preview."""
    return training_job_pb2.Preview(
        file_id=preview.file_id,
        prompt=preview.prompt,
        seed=preview.seed,
        width=preview.width,
        height=preview.height,
        sha256=preview.sha256,
    )


def epoch_to_proto(epoch: Epoch, *, recommended: bool, file_notes: Iterable[str] = ()) -> training_job_pb2.Epoch:
    """An epoch as callers see it: `files` are the LoRA's forms; pictures are told apart. Events carry no notes."""
    message = training_job_pb2.Epoch(
        name=epoch.name,
        step=epoch.step,
        loss=epoch.loss,
        files=[file_to_proto(file, with_key=False) for file in epoch.artifacts],
        pictures=[file_to_proto(file, with_key=False) for file in epoch.pictures],
        previews=[preview_to_proto(preview) for preview in epoch.previews],
        recommended=recommended,
        reload_difference=epoch.reload_difference,
        train_seconds=epoch.train_seconds,
        create_time=to_timestamp(epoch.create_time),
        etag=epoch.etag,
        file_notes=file_notes,
        pretended=epoch.pretended,
        labels=dict(epoch.labels),
    )
    if epoch.evaluation is not None:
        message.evaluation.CopyFrom(
            training_job_pb2.Evaluation(
                fit_loss=epoch.evaluation.fit_loss,
                held_out_loss=epoch.evaluation.held_out_loss,
                drift=epoch.evaluation.drift,
                memorisation=epoch.evaluation.memorisation,
                moved_loss=epoch.evaluation.moved_loss,
                photo_error=epoch.evaluation.photo_error,
                unseen_error=epoch.evaluation.unseen_error,
            )
        )
    return message


def epoch_from_proto(
    message: training_job_pb2.Epoch,
    *,
    job: str,
    number: int,
    checkpoint: Iterable[training_job_pb2.EpochFile],
    now: datetime,
) -> Epoch:
    """An epoch as a worker reports it."""
    evaluation = message.evaluation
    return Epoch(
        job=job,
        number=number,
        # Known once the lease token is checked.
        attempt=0,
        step=message.step,
        loss=message.loss,
        files=tuple(file_from_proto(file) for file in message.files),
        previews=tuple(
            Preview(item.file_id, item.prompt, item.seed, item.width, item.height, item.sha256)
            for item in message.previews
        ),
        evaluation=Evaluation(
            fit_loss=evaluation.fit_loss,
            held_out_loss=evaluation.held_out_loss if evaluation.HasField("held_out_loss") else None,
            drift=evaluation.drift,
            memorisation=evaluation.memorisation,
            moved_loss=evaluation.moved_loss if evaluation.HasField("moved_loss") else None,
            photo_error=evaluation.photo_error if evaluation.HasField("photo_error") else None,
            unseen_error=evaluation.unseen_error if evaluation.HasField("unseen_error") else None,
        )
        if message.HasField("evaluation")
        else None,
        reload_difference=message.reload_difference,
        train_seconds=message.train_seconds,
        checkpoint=tuple(file_from_proto(file) for file in checkpoint),
        create_time=now,
    )


def metric_to_proto(metric: Metric) -> training_job_pb2.Metric:
    """A measured point."""
    return training_job_pb2.Metric(
        step=metric.step,
        epoch=metric.epoch,
        key=metric.key,
        value=metric.value,
        create_time=to_timestamp(metric.create_time),
    )


def metric_from_proto(message: training_job_pb2.Metric, now: datetime) -> Metric:
    """A measured point as a worker reports it; one without a time was measured just now."""
    moment = from_timestamp(message.create_time) if message.HasField("create_time") else now
    return Metric(message.step, message.epoch, message.key, message.value, moment)
