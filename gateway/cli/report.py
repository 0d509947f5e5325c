"""Fetches what a job left through the API and has it drawn."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.errors import AlreadyExists, FailedPrecondition
from fiveshot.sync.calls import pages
from fiveshot.sync.training import Preview, TrainingJob
from fiveshot.sync.transfer import content
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import output, pictures, verdicts
from gateway.cli.session import Session

_MAX_TRAINING_PICTURES = 15
_MAX_POINTS = 2000


def draw(session: Session, job_name: str, folder: Path, *, force: bool = False) -> list[Path]:
    """Writes contact_sheet.png and loss.png of a job. Raises FailedPrecondition without a finished epoch."""
    sheet_path, loss_path = folder / "contact_sheet.png", folder / "loss.png"
    for path in (sheet_path, loss_path):
        if path.exists() and not force:
            raise AlreadyExists(f"{path} already exists", remedy="Choose another folder with --to, or use --force.")
    job = session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=job_name))
    epochs = list(pages(session.trainer.ListEpochs, pb.ListEpochsRequest(parent=job_name), "epochs", 0))
    if not epochs:
        raise FailedPrecondition(
            f"{job_name} has no finished epoch", remedy="Wait for its first epoch: `fiveshot train watch`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{job.display_name or output.short(job.name)} · {output.short(job.base_model)}"
    prompts = [preview.prompt for preview in epochs[0].previews]
    sheet = pictures.contact_sheet(title, _training_pictures(session, job), prompts, _rows(session, job, epochs))
    sheet.save(sheet_path)
    pictures.loss_chart(title, loss_points(session, job), [_mark(epoch) for epoch in epochs], loss_path)
    return [sheet_path, loss_path]


def loss_points(session: Session, job: training_job_pb2.TrainingJob) -> list[pictures.LossPoint]:
    """The loss by step, thinned out to what a chart can show."""
    stride = max(1, job.total_steps // _MAX_POINTS)
    found = TrainingJob(session.stubs, job).metrics("loss", stride=stride)
    return [pictures.LossPoint(point.step, point.value) for point in found]


def previews(session: Session, epoch: training_job_pb2.Epoch) -> list[bytes]:
    """The pictures that an epoch has drawn, in the order of its prompts."""
    return _previews(session, epoch.name, epoch.previews)


def _rows(
    session: Session, job: training_job_pb2.TrainingJob, epochs: list[training_job_pb2.Epoch]
) -> list[pictures.SheetRow]:
    rows = []
    if job.base_previews:
        base = _previews(session, f"{job.name}/epochs/0", job.base_previews)
        rows.append(pictures.SheetRow("base model", "before training", base))
    for epoch in epochs:
        detail = (verdicts.in_words(epoch) or f"loss {epoch.loss:.4f}") + (", recommended" if epoch.recommended else "")
        previews = _previews(session, epoch.name, epoch.previews)
        rows.append(pictures.SheetRow(f"epoch {output.short(epoch.name)}", detail, previews, epoch.recommended))
    return rows


def _previews(session: Session, epoch: str, previews: Iterable[training_job_pb2.Preview]) -> list[bytes]:
    return [Preview(session.stubs, epoch, preview).read() for preview in previews]


def _training_pictures(session: Session, job: training_job_pb2.TrainingJob) -> list[bytes]:
    request = dataset_service_pb2.ListDatasetVersionImagesRequest(parent=job.dataset_version)
    listed = pages(session.dataset.ListDatasetVersionImages, request, "images", _MAX_TRAINING_PICTURES)
    view = dataset_service_pb2.DownloadImageRequest.VIEW_THUMBNAIL
    requests = [dataset_service_pb2.DownloadImageRequest(name=image.name, view=view) for image in listed]
    return [content(session.stubs.channel, partial(session.dataset.DownloadImage, request)) for request in requests]


def _mark(epoch: training_job_pb2.Epoch) -> pictures.EpochMark:
    evaluation = epoch.evaluation
    held_out = evaluation.held_out_loss if evaluation.HasField("held_out_loss") else None
    return pictures.EpochMark(int(output.short(epoch.name)), epoch.step, epoch.loss, held_out, epoch.recommended)
