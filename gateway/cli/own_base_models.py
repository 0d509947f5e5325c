"""`fiveshot base-models upload|update|delete`: base models of the project's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fiveshot.errors import NotFound
from fiveshot.sync.base_models import OwnBaseModel, OwnBaseModels
from fiveshot.trainer.v1 import base_model_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import labels, lookup, output
from gateway.cli.base_models import app
from gateway.cli.completion import base_models
from gateway.cli.session import Session
from gateway.cli.transfer import sending

Own = Annotated[str, typer.Argument(help="Id of one of the project's own.", autocompletion=base_models)]


@app.command()
def upload(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A checkpoint of a whole model: one .safetensors file.")],
    name: Annotated[str, typer.Option(help="Its id; with the same id an upload that broke off goes on.")],
    licence: Annotated[str, typer.Option(help="SPDX id, or where the right to train on it comes from.")],
    display_name: Annotated[str, typer.Option(help="Display name.")] = "",
    description: Annotated[str, typer.Option(help="What it is good for.")] = "",
    based_on: Annotated[
        str, typer.Option(help="Base model that it is a fine-tune of; found when empty.", autocompletion=base_models)
    ] = "",
    label: labels.Label = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end of its check.")] = True,
) -> None:
    """Upload a checkpoint as a base model of this project; a worker checks it."""
    session: Session = ctx.obj
    if not file.is_file():
        raise NotFound(f"There is no file {file}", field="file_name", remedy="Check the path.")
    identifier = lookup.new_id(name, field="base_model_id", kind="base model")
    left = "What has arrived is kept. Give the same command again to go on where it broke off."
    with output.explained(left), sending(session) as show:
        made = OwnBaseModels(session.stubs).upload(
            file, identifier, license=licence, display_name=display_name, description=description,
            based_on=based_on, labels=labels.parsed(label), on_progress=show,
        )  # fmt: skip
    if wait and not session.json:
        output.say(f"Uploaded {file.name} as {made.name}. A worker checks it now.")
        if made.message.held_back:
            output.note(f"The check waits. {made.message.held_back}")
    with output.explained(f"The check goes on. See: fiveshot base-models show {made.id}"):
        done = made.wait() if wait else made
    if session.json:
        output.print_json(done.message)
        return
    output.say(f"{done.name} is {done.state}{_found(done)}.")
    output.next_step(session, f"fiveshot train start DATASET --base-model {done.id}")


@app.command()
def update(
    ctx: typer.Context,
    base_model: Own,
    display_name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is good for.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX id, or where the right to train on it comes from.")] = None,
    label: labels.Changed = None,
    remove_label: labels.Removed = None,
) -> None:
    """Change the name, the description, the licence or the labels of one of the project's own."""
    session: Session = ctx.obj
    found = session.trainer.GetBaseModel(pb.GetBaseModelRequest(name=_name(session, base_model)))
    given = {"display_name": display_name, "description": description, "license": licence}
    paths = [field for field, value in given.items() if value is not None]
    changed = base_model_pb2.BaseModel(
        name=found.name, etag=found.etag, display_name=display_name or "", description=description or "",
        license=licence or "",
    )  # fmt: skip
    if label or remove_label:
        changed.labels.update(labels.changed(found.labels, label, remove_label))
        paths.append("labels")
    if paths:
        request = pb.UpdateBaseModelRequest(base_model=changed, update_mask=FieldMask(paths=paths))
        found = session.trainer.UpdateBaseModel(request)
    output.print_json(found) if session.json else output.say(
        f"Changed {found.name}." if paths else "Nothing to change."
    )


@app.command()
def delete(
    ctx: typer.Context,
    base_model: Own,
    force: Annotated[bool, typer.Option(help="Delete it although ended jobs or saved models need it.")] = False,
) -> None:
    """Delete one of the project's own with its file."""
    session: Session = ctx.obj
    name = _name(session, base_model)
    session.trainer.DeleteBaseModel(pb.DeleteBaseModelRequest(name=name, force=force))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


def _name(session: Session, given: str) -> str:
    if given.startswith("projects/"):
        return session.name("baseModels", given)
    return f"{session.parent}/{session.name('baseModels', given)}"


def _found(model: OwnBaseModel) -> str:
    if model.state != "ready":
        return ""
    return f": {model.family} in {model.message.precision}, made from {output.short(model.message.based_on)}"
