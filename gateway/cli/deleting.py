"""Deletes below datasets, jobs and models: a frozen version, a job, an epoch, a model's version. Each is named."""

from __future__ import annotations

from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_service_pb2 as dataset_api
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.trainer.v1 import training_service_pb2 as training_api

from gateway.cli import dataset as datasets
from gateway.cli import epochs, lookup, models, output, train
from gateway.cli.completion import jobs
from gateway.cli.session import Session

NamedJob = Annotated[str, typer.Argument(help="Id or full name of the training job.", autocompletion=jobs)]
Number = Annotated[int, typer.Argument(min=1, help="Its number.")]


@train.app.command("delete", rich_help_panel=train.STEER)
def delete_job(
    ctx: typer.Context, job: NamedJob, force: Annotated[bool, typer.Option(help="Delete its epochs as well.")] = False
) -> None:
    """Delete a job that has ended; saved models keep their files."""
    session: Session = ctx.obj
    name = lookup.job(session, job)
    session.trainer.DeleteTrainingJob(training_api.DeleteTrainingJobRequest(name=name, force=force))
    _tell(session, name)


@epochs.app.command("delete")
def delete_epoch(ctx: typer.Context, job: NamedJob, epoch: Number) -> None:
    """Delete one epoch with its files; the newest and the recommended one stay."""
    session: Session = ctx.obj
    name = lookup.epoch(session, lookup.job(session, job), str(epoch))
    session.trainer.DeleteEpoch(training_api.DeleteEpochRequest(name=name))
    _tell(session, name)


@models.app.command("delete-version")
def delete_model_version(
    ctx: typer.Context,
    model: models.Model,
    version: Number,
    force: Annotated[bool, typer.Option(help="Remove the aliases that point at it as well.")] = False,
) -> None:
    """Delete one version of a model with its files."""
    session: Session = ctx.obj
    name = f"{session.name('models', model)}/versions/{version}"
    session.registry.DeleteModelVersion(registry_api.DeleteModelVersionRequest(name=name, force=force))
    _tell(session, name)


@datasets.app.command("delete-version", rich_help_panel=datasets.VERSIONS)
def delete_dataset_version(
    ctx: typer.Context,
    dataset: datasets.Dataset,
    version: Number,
    force: Annotated[bool, typer.Option(help="Delete it although a training job may need it.")] = False,
) -> None:
    """Delete one frozen version of a dataset."""
    session: Session = ctx.obj
    name = f"{session.name('datasets', dataset)}/versions/{version}"
    session.dataset.DeleteDatasetVersion(dataset_api.DeleteDatasetVersionRequest(name=name, force=force))
    _tell(session, name)


def _tell(session: Session, name: str) -> None:
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")
