"""`fiveshot base-models …`: what can be fine-tuned here."""

from __future__ import annotations

from typing import Annotated

import typer
from fiveshot.trainer.v1 import base_model_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import output
from gateway.cli.completion import base_models
from gateway.cli.session import Session

app = typer.Typer(help="Base models: list, show.", no_args_is_help=True)

BaseModel = Annotated[str, typer.Argument(help="Id of the base model.", autocompletion=base_models)]


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the base models of this deployment."""
    session: Session = ctx.obj
    answer = session.trainer.ListBaseModels(pb.ListBaseModelsRequest())
    if session.json:
        output.print_json(answer)
        return
    rows = (
        (output.short(m.name), m.family, m.native_resolution, output.size(m.memory_bytes) if m.memory_bytes else "",
         m.license, "yes" if m.available else "no", m.description)
        for m in answer.base_models
    )  # fmt: skip
    output.table(("base model", "family", ">pixels", ">memory", "licence", "available", "what it is"), rows)


@app.command()
def show(ctx: typer.Context, base_model: BaseModel) -> None:
    """Show one base model with the parameters that a job may set."""
    session: Session = ctx.obj
    model = session.trainer.GetBaseModel(pb.GetBaseModelRequest(name=base_model_name(base_model)))
    if session.json:
        output.print_json(model)
        return
    output.facts(
        [
            ("name", model.name), ("family", model.family), ("description", model.description),
            ("licence", model.license), ("pixels", model.native_resolution),
            ("memory", output.size(model.memory_bytes) if model.memory_bytes else ""),
            ("available", "yes" if model.available else "no"),
        ]
    )  # fmt: skip
    rows = ((spec.parameter, spec.default_value, _bounds(spec), spec.description) for spec in model.parameter_specs)
    output.table(("parameter", "default", "allowed", "what it does"), rows)


def base_model_name(given: str) -> str:
    """`baseModels/{id}` of an id or a full name."""
    return given if given.startswith("baseModels/") else f"baseModels/{given}"


def _bounds(spec: base_model_pb2.ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(spec.choices)
    least = f"{spec.minimum:g}" if spec.HasField("minimum") else ""
    most = f"{spec.maximum:g}" if spec.HasField("maximum") else ""
    return f"{least}…{most}" if least or most else ""
