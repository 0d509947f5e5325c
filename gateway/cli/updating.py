"""Changes of what is there: a job's name, priority and labels, a model's words, and labels of the rest."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as dataset_api
from fiveshot.errors import InvalidArgument
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as training_api
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import dataset as datasets
from gateway.cli import epochs, images, labels, lookup, models, output, train
from gateway.cli.session import Session

DisplayName = Annotated[str | None, typer.Option(help="Display name.")]


@train.app.command("update", rich_help_panel=train.STEER)
def update_job(
    ctx: typer.Context,
    job: train.Job = "",
    display_name: DisplayName = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100; higher goes first within the project.")] = None,
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change a job's display name, priority or labels."""
    session: Session = ctx.obj
    name = lookup.job(session, job)
    values = _given(display_name=display_name, priority=priority)
    etag = ""
    if label or remove_label:
        current = session.trainer.GetTrainingJob(training_api.GetTrainingJobRequest(name=name))
        values["labels"], etag = labels.changed(current.labels, label, remove_label), current.etag
    request = training_api.UpdateTrainingJobRequest(
        training_job=training_job_pb2.TrainingJob(name=name, etag=etag, **values), update_mask=_mask(values)
    )
    changed = session.trainer.UpdateTrainingJob(request)
    output.print_json(changed) if session.json else _tell(changed.name, changed)


@models.app.command("update")
def update_model(
    ctx: typer.Context,
    model: models.Model,
    display_name: DisplayName = None,
    description: Annotated[str | None, typer.Option(help="Free text.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag to find it by, instead of those it has.")] = None,
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change a model's display name, description, tags or labels."""
    session: Session = ctx.obj
    name = session.name("models", model)
    values = _given(display_name=display_name, description=description, tags=tag)
    etag = ""
    if label or remove_label:
        current = session.registry.GetModel(registry_api.GetModelRequest(name=name))
        values["labels"], etag = labels.changed(current.labels, label, remove_label), current.etag
    request = registry_api.UpdateModelRequest(
        model=model_pb2.Model(name=name, etag=etag, **values), update_mask=_mask(values)
    )
    changed = session.registry.UpdateModel(request)
    output.print_json(changed) if session.json else models.show_model(changed)


@models.app.command("label")
def label_version(
    ctx: typer.Context,
    model: models.Model,
    version: models.Version = "latest",
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change the labels of a model's version; nothing else of it can change."""
    session: Session = ctx.obj
    name = f"{session.name('models', model)}/versions/{version}"
    current = session.registry.GetModelVersion(registry_api.GetModelVersionRequest(name=name))
    values = _given(labels=labels.changed(current.labels, label, remove_label) if label or remove_label else None)
    given = model_pb2.ModelVersion(name=current.name, etag=current.etag, **values)
    request = registry_api.UpdateModelVersionRequest(model_version=given, update_mask=_mask(values))
    changed = session.registry.UpdateModelVersion(request)
    output.print_json(changed) if session.json else _tell(changed.name, changed)


@datasets.app.command("label", rich_help_panel=datasets.PICTURES)
def label_image(
    ctx: typer.Context,
    dataset: datasets.Dataset,
    image: images.Image,
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change the labels of a picture; they are not trained."""
    session: Session = ctx.obj
    current = lookup.image(session, dataset, image)
    values = _given(labels=labels.changed(current.labels, label, remove_label) if label or remove_label else None)
    given = dataset_pb2.Image(name=current.name, etag=current.etag, **values)
    changed = session.dataset.UpdateImage(dataset_api.UpdateImageRequest(image=given, update_mask=_mask(values)))
    output.print_json(changed) if session.json else _tell(changed.file_name, changed)


@datasets.app.command("label-version", rich_help_panel=datasets.VERSIONS)
def label_dataset_version(
    ctx: typer.Context,
    dataset: datasets.Dataset,
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")],
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change the labels of a frozen version; nothing else of it can change."""
    session: Session = ctx.obj
    name = f"{session.name('datasets', dataset)}/versions/{version}"
    current = session.dataset.GetDatasetVersion(dataset_api.GetDatasetVersionRequest(name=name))
    values = _given(labels=labels.changed(current.labels, label, remove_label) if label or remove_label else None)
    given = dataset_pb2.DatasetVersion(name=current.name, etag=current.etag, **values)
    request = dataset_api.UpdateDatasetVersionRequest(dataset_version=given, update_mask=_mask(values))
    changed = session.dataset.UpdateDatasetVersion(request)
    output.print_json(changed) if session.json else _tell(changed.name, changed)


@epochs.app.command("label")
def label_epoch(
    ctx: typer.Context,
    words: epochs.Words = None,
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change the labels of an epoch; nothing else of it can change."""
    session: Session = ctx.obj
    _, name = lookup.job_and_epoch(session, words or [])
    current = session.trainer.GetEpoch(training_api.GetEpochRequest(name=name))
    values = _given(labels=labels.changed(current.labels, label, remove_label) if label or remove_label else None)
    given = training_job_pb2.Epoch(name=current.name, etag=current.etag, **values)
    changed = session.trainer.UpdateEpoch(training_api.UpdateEpochRequest(epoch=given, update_mask=_mask(values)))
    output.print_json(changed) if session.json else _tell(changed.name, changed)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _mask(values: dict[str, Any]) -> FieldMask:
    if not values:
        raise InvalidArgument("No change was given", remedy="Give at least one option, such as --label team=pets.")
    return FieldMask(paths=list(values))


def _tell(name: str, changed: Any) -> None:
    output.say(f"Changed {name}: {labels.shown(changed.labels) or 'no labels'}.")
