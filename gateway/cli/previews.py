"""`fiveshot previews …`: what was asked for with `epochs try` and `models try`, for a day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fiveshot.errors import FailedPrecondition
from fiveshot.sync.calls import pages
from fiveshot.sync.previews import PreviewRequests
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import output
from gateway.cli.completion import preview_requests
from gateway.cli.session import Session
from gateway.cli.sheets import check_sheet, save_sheet
from gateway.cli.trying import sheet_of

app = typer.Typer(help="Preview requests of the last day: list, draw again, cancel, delete.", no_args_is_help=True)

Request = Annotated[
    str, typer.Argument(help="Id or full name of the preview request.", autocompletion=preview_requests)
]


@app.command("list")
def list_(
    ctx: typer.Context,
    filter: Annotated[str, typer.Option(help='Filter, such as: state = "RUNNING"')] = "",
    limit: Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")] = 50,
) -> None:
    """List the project's preview requests, newest first."""
    session: Session = ctx.obj
    request = pb.ListPreviewRequestsRequest(parent=session.parent, filter=filter)
    found = list(pages(session.trainer.ListPreviewRequests, request, "preview_requests", limit))
    if session.json:
        output.print_list("previewRequests", found)
        return
    rows = (
        (output.short(each.name), output.enum_name(each, "state") + output.pretended(each),
         f"{len(each.cells)}/{each.cell_count}", output.short(each.base_model), ", ".join(each.prompts),
         output.when(each.create_time))
        for each in found
    )  # fmt: skip
    output.table(("request", "state", ">pictures", "?base model", "?prompts", "?created"), rows)


@app.command()
def sheet(
    ctx: typer.Context,
    request: Request,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the sheet, .png or .jpg.")] = Path("try-out.png"),
    force: Annotated[bool, typer.Option(help="Overwrite the sheet's file.")] = False,
) -> None:
    """Draw the sheet of a request again, with the pictures that it has."""
    session: Session = ctx.obj
    check_sheet(out, force=force)
    found = PreviewRequests(session.stubs).get(session.name("previewRequests", request))
    if not found.cells:
        raise FailedPrecondition(
            f"{found.id} has no picture yet", field="request", remedy="Wait until a worker has drawn the first one."
        )
    save_sheet(sheet_of(found, found.id), out)
    output.print_json(found.message) if session.json else output.say(str(out))


@app.command()
def cancel(ctx: typer.Context, request: Request) -> None:
    """Cancel a request; pictures that are drawn are kept."""
    session: Session = ctx.obj
    name = session.name("previewRequests", request)
    found = session.trainer.CancelPreviewRequest(pb.CancelPreviewRequestRequest(name=name))
    output.print_json(found) if session.json else output.say(f"{output.short(name)}: cancelled")


@app.command()
def delete(ctx: typer.Context, request: Request) -> None:
    """Delete a request that has ended, with its pictures."""
    session: Session = ctx.obj
    name = session.name("previewRequests", request)
    session.trainer.DeletePreviewRequest(pb.DeletePreviewRequestRequest(name=name))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {output.short(name)}.")
