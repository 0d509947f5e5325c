"""`fiveshot base-models …`: what can be fine-tuned here, and what could be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from fiveshot import errors
from fiveshot.parameters import DEFAULT_BASE_MODEL
from fiveshot.sync.calls import pages
from fiveshot.trainer.v1 import base_model_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import labels, output
from gateway.cli.completion import base_models
from gateway.cli.session import Session
from gateway.supervisor.folder import DataFolder

app = typer.Typer(help="Base models: list, show, add, check; upload your own.", no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=0, help="Maximum number of the project's own to list; 0 lists all.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(help="Catalogue file; default: FIVESHOT_CATALOGUE, or base_models.toml of the data folder."),
]
_KINDS = {"not_found": errors.NotFound, "exists": errors.AlreadyExists, "invalid": errors.FailedPrecondition}
BaseModel = Annotated[str, typer.Argument(help="Id of the base model.", autocompletion=base_models)]


@app.command("list")
def list_(
    ctx: typer.Context,
    known: Annotated[bool, typer.Option("--known", help="List the models that can be added instead.")] = False,
    own: Annotated[bool, typer.Option("--own", help="List the project's own alone.")] = False,
    filter: Annotated[str, typer.Option(help="Filter of the project's own, such as: state = READY")] = "",
    limit: Limit = 50,
) -> None:
    """List the base models of this deployment and the project's own, or those that can be added."""
    session: Session = ctx.obj
    if known:
        _list_known(session)
        return
    answer = session.trainer.ListBaseModels(pb.ListBaseModelsRequest())
    asked = pb.ListOwnBaseModelsRequest(parent=session.parent, filter=filter)
    found = [*([] if own or filter else answer.base_models)]
    found += pages(session.trainer.ListOwnBaseModels, asked, "base_models", limit)
    if session.json:
        output.print_list("baseModels", found)
        return
    rows = (
        (output.short(m.name), m.family, m.native_resolution or "",
         output.size(m.memory_bytes) if m.memory_bytes else "", m.license, standing(m), m.description)
        for m in found
    )  # fmt: skip
    output.table(("base model", "?family", ">pixels", ">memory", "licence", "available", "what it is"), rows)


@app.command()
def show(ctx: typer.Context, base_model: BaseModel) -> None:
    """Show one base model with the parameters that a job may set."""
    session: Session = ctx.obj
    model = session.trainer.GetBaseModel(pb.GetBaseModelRequest(name=base_model_name(session, base_model)))
    if session.json:
        output.print_json(model)
        return
    error = f"{model.error.message} {model.error.remedy}" if model.HasField("error") else ""
    output.facts(
        [
            ("name", model.name), ("family", model.family), ("description", model.description),
            ("licence", model.license), ("pixels", model.native_resolution or ""),
            ("memory", output.size(model.memory_bytes) if model.memory_bytes else ""),
            ("available", standing(model)), ("made from", output.short(model.based_on)),
            ("file", model.file_name), ("size", output.size(model.size_bytes) if model.size_bytes else ""),
            ("uploaded", output.size(model.uploaded_bytes) if model.uploaded_bytes < model.size_bytes else ""),
            ("SHA-256", model.sha256), ("number format", model.precision), ("labels", labels.shown(model.labels)),
            ("check waits", model.held_back), ("why it failed", error),
        ]
    )  # fmt: skip
    if not model.parameter_specs:
        return
    rows = ((spec.parameter, spec.default_value, _bounds(spec), spec.description) for spec in model.parameter_specs)
    output.table(("parameter", "default", "allowed", "what it does"), rows)
    effects = [
        (choice, effect)
        for spec in model.parameter_specs
        for choice, effect in zip(spec.choices, spec.choice_effects, strict=False)
        if effect
    ]
    if effects:
        output.table(("preset", "what it sets"), effects)


@app.command()
def add(
    ctx: typer.Context,
    base_model: Annotated[str, typer.Argument(help="Id of a known model; `list --known` has them.")],
    source: Annotated[
        str, typer.Option(help="Folder in diffusers layout, .safetensors checkpoint, or hub:owner/name.")
    ],
    catalogue: Catalogue = None,
) -> None:
    """Add a known base model to the catalogue of this machine, once its files are checked."""
    session: Session = ctx.obj
    path = _catalogue(session, catalogue) or DataFolder(session.data).catalogue
    made = _preflight("add", str(path), base_model, source)
    if session.json:
        output.print_json({**made, "catalogue": str(path)})
        return
    output.say(f"Added {base_model} to {path}.")
    output.next_step(session, f"fiveshot down, then fiveshot up: a stack reads {path.name} when it starts")


@app.command()
def check(
    ctx: typer.Context,
    base_model: BaseModel,
    catalogue: Catalogue = None,
    train: Annotated[
        bool, typer.Option("--train", help="Also draw, train 20 steps, export and read back, on this machine's device.")
    ] = False,
) -> None:
    """Check that a base model of this machine's catalogue is whole; exit code 6 when it is not."""
    session: Session = ctx.obj
    path = _catalogue(session, catalogue)
    made = _preflight("check", str(path or ""), base_model)
    tried: dict[str, Any] = {}
    if train and not made["findings"]:
        tried = _asked("services.trainer.worker.self_test", str(path or ""), base_model)
        made |= {"self_test": tried}
    if session.json:
        output.print_json(made)
    for finding in [] if session.json else made["findings"]:
        output.say_error(f"{finding['problem']}. {finding['remedy']}")
    if made["findings"]:
        raise typer.Exit(output.STATE)
    if not session.json:
        later = "; its files are downloaded when they are first needed" if made["hub"] else ""
        output.say(f"{base_model} is whole, at {made['source']}{later}.")
    if tried and not session.json:
        output.say(
            f"It drew {tried['previews']} previews, trained {tried['steps']} steps in {tried['train_seconds']} s,"
            f" and its files ({', '.join(tried['forms'])}) were read back."
        )


def tell_unavailable(session: Session, base_model: str, held_back: str = "") -> None:
    """Says so before a job waits for a worker that can take it. held_back: of the job."""
    if session.json:
        return
    found = session.trainer.GetBaseModel(pb.GetBaseModelRequest(name=base_model))
    if found.available:
        if held_back:
            output.note(f"The job waits. {held_back}")
    else:
        short, entry = output.short(base_model), output.short(found.based_on or base_model)
        output.note(
            f"No worker can load {short} now, so the job waits."
            f" On the workers' machine: fiveshot base-models check {entry}"
        )


def base_model_name(session: Session, given: str) -> str:
    """The full name of what the user typed: an id is one of the catalogue, or else one of the project's own.

    No two have the same id: the service refuses an own one that the catalogue has.
    """
    name = session.name("baseModels", given)
    if given == DEFAULT_BASE_MODEL or name != f"baseModels/{given}" or "." in given:
        return name
    own = f"{session.parent}/baseModels/{given}"
    known = session.trainer.ListBaseModels(pb.ListBaseModelsRequest()).base_models
    if any(each.name == name for each in known):
        return name
    try:
        return session.trainer.GetBaseModel(pb.GetBaseModelRequest(name=own)).name
    except errors.NotFound:
        # The service says which there are.
        return name


def standing(model: base_model_pb2.BaseModel) -> str:
    """Whether jobs can use it now, in a word."""
    state = base_model_pb2.BaseModel.State.Name(model.state).removeprefix("STATE_").lower()
    if state not in ("unspecified", "ready"):
        return state
    return "yes" if model.available else "no"


def _bounds(spec: base_model_pb2.ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(choice for choice in spec.choices if choice)
    least = f"{spec.minimum:g}" if spec.HasField("minimum") else ""
    most = f"{spec.maximum:g}" if spec.HasField("maximum") else ""
    return f"{least}…{most}" if least or most else ""


def _list_known(session: Session) -> None:
    found = _preflight("known")
    if session.json:
        output.print_json(found)
        return
    rows = (
        (each["id"], each["title"], each["family"], each["resolution"],
         output.size(each["size_bytes"]) if each["size_bytes"] else "", output.size(each["memory_bytes"]),
         each["license"])
        for each in found["known"]
    )  # fmt: skip
    output.table(("base model", "?title", "?family", ">pixels", ">weights", ">memory", "licence"), rows)
    output.next_step(session, "fiveshot base-models add ID --source FOLDER")


def _catalogue(session: Session, given: Path | None) -> Path | None:
    """The catalogue of this machine; None for that of the package."""
    if given or os.environ.get("FIVESHOT_CATALOGUE"):
        return given or Path(os.environ["FIVESHOT_CATALOGUE"])
    own = DataFolder(session.data).catalogue
    return own if own.is_file() else None


def _preflight(*arguments: str) -> dict[str, Any]:
    return _asked("services.trainer.recipe.preflight", *arguments)


def _asked(module: str, *arguments: str) -> dict[str, Any]:
    """In a process of its own: the command line knows the services by their API alone. Raises what it refuses."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise errors.Internal("The check of base models ended early", reason="PREFLIGHT_FAILED")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if error := answer.get("error"):
        raise _KINDS[error["kind"]](error["message"], reason="BASE_MODEL_UNUSABLE", remedy=error["remedy"])
    return answer
