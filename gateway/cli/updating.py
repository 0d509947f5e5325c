"""Changes of what is there: a job's name, priority and labels, a model's words, the labels of a model's version."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from fiveshot.errors import InvalidArgument
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as training_api
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import labels, lookup, models, output, train
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


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _mask(values: dict[str, Any]) -> FieldMask:
    if not values:
        raise InvalidArgument("No change was given", remedy="Give at least one option, such as --label team=pets.")
    return FieldMask(paths=list(values))


def _tell(name: str, changed: Any) -> None:
    output.say(f"Changed {name}: {labels.shown(changed.labels) or 'no labels'}.")
