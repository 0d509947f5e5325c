"""`fiveshot dataset export`: a frozen version as a zip archive."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import InvalidArgument
from fiveshot.sync import datasets

from gateway.cli import output
from gateway.cli.dataset import VERSIONS, Dataset, app
from gateway.cli.session import Session


class Layout(StrEnum):
    """How the pictures lie in an exported archive."""

    KOHYA = "kohya"
    IMAGEFOLDER = "imagefolder"


@app.command(rich_help_panel=VERSIONS)
def export(
    ctx: typer.Context,
    dataset: Dataset,
    version: Annotated[int | None, typer.Argument(min=1, help="Number of the version; the newest by default.")] = None,
    layout: Annotated[Layout, typer.Option(help="How the pictures lie in the archive.")] = Layout.KOHYA,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Output file; defaults to a name of its own.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Download a frozen version as a zip archive: originals, final texts, repeats, crops."""
    session: Session = ctx.obj
    name, _, number = session.name("datasets", dataset).partition("/versions/")
    if number and version is not None:
        raise InvalidArgument("The version was given twice", field="version", remedy="Give it once.")
    version = int(number) if number.isdecimal() else version
    found = datasets.Dataset(session.stubs, session.dataset.GetDataset(pb.GetDatasetRequest(name=name)))
    output.saved(session, lambda: found.export(to, version=version, layout=layout, overwrite=force))
