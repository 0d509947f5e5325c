"""`fiveshot epochs …`: what each finished epoch of a job left: a LoRA, three previews, its loss and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fiveshot.sync.calls import pages
from fiveshot.sync.transfer import save
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from fiveshot.transfers import Saved

from gateway.cli import labels, lookup, output, report, verdicts
from gateway.cli.completion import jobs
from gateway.cli.session import Session

app = typer.Typer(help="Finished epochs: list, show, download, draw.", no_args_is_help=True)

Job = Annotated[
    str, typer.Argument(help="Id or full name of the training job; the last job when empty.", autocompletion=jobs)
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JOB] [EPOCH]",
        help="Job; the last when left out. Epoch: number, recommended or last; the recommended one when left out.",
        autocompletion=jobs,
    ),
]


@app.command("list")
def list_(ctx: typer.Context, job: Job = "") -> None:
    """List a job's finished epochs with what each has learnt and which to keep."""
    session: Session = ctx.obj
    name = lookup.job(session, job)
    found = epochs_of(session, name)
    if session.json:
        output.print_list("epochs", found)
        return
    if not found:
        lookup.epoch(session, name, lookup.LAST)
    about = session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name))
    output.say(f"{output.short(name)}, all in per cent")
    output.table(verdicts.COLUMNS, verdicts.rows(found))
    if meanings := list(verdicts.legend(found)):
        output.say("Every number is in per cent, and less is better.")
        output.facts(meanings)
    if about.recommendation_reason:
        output.say(about.recommendation_reason)
    output.next_step(session, f"fiveshot models save {output.short(name)} recommended MODEL --create")


@app.command()
def show(ctx: typer.Context, words: Words = None) -> None:
    """Show one epoch with its files."""
    session: Session = ctx.obj
    _, name = lookup.job_and_epoch(session, words or [])
    found = session.trainer.GetEpoch(pb.GetEpochRequest(name=name))
    if session.json:
        output.print_json(found)
        return
    output.facts(
        [
            ("name", found.name), ("step", found.step), ("loss", f"{found.loss:.4f}"),
            *verdicts.measures(found).items(),
            ("difference after reload", f"{found.reload_difference:.2g}"),
            ("training time", output.duration(found.train_seconds)),
            ("recommended", "yes" if found.recommended else ""),
            ("pretended", "yes: nothing was trained" if found.pretended else ""),
            ("labels", labels.shown(found.labels)), ("files", " ".join(found.file_notes)),
        ]
    )  # fmt: skip
    output.table(
        ("file", "name", ">size", "sha256"),
        ((f.file_id, f.file_name, output.size(f.size_bytes), f.sha256[:16]) for f in found.files),
    )
    output.table(("preview", ">seed", "prompt"), ((p.file_id, p.seed, p.prompt) for p in found.previews))


@app.command("download")
def download_(
    ctx: typer.Context,
    words: Words = None,
    file_id: Annotated[
        str, typer.Option("--file", help="kohya, diffusers, preview-1 and so on, or contact-sheet.")
    ] = "kohya",
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Output file; defaults to the file's own name.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Download one file of an epoch; its digest is checked."""
    session: Session = ctx.obj
    _, epoch = lookup.job_and_epoch(session, words or [])
    output.saved(session, lambda: download_file(session, epoch, file_id, to, force=force))


@app.command()
def draw(
    ctx: typer.Context,
    job: Job = "",
    to: Annotated[Path, typer.Option("--to", "-o", help="Folder for contact_sheet.png and loss.png.")] = Path(),
    force: Annotated[bool, typer.Option(help="Overwrite existing files.")] = False,
) -> None:
    """Draw the contact sheet (epochs × previews beside the training pictures) and the loss curve."""
    session: Session = ctx.obj
    paths = report.draw(session, lookup.job(session, job), to, force=force)
    output.print_json({"files": [str(path) for path in paths]}) if session.json else output.say(
        ", ".join(str(path) for path in paths)
    )


def epochs_of(session: Session, job: str) -> list[training_job_pb2.Epoch]:
    """All finished epochs of a job, first to last."""
    return list(pages(session.trainer.ListEpochs, pb.ListEpochsRequest(parent=job), "epochs", 0))


def download_file(session: Session, epoch: str, file_id: str, to: Path | None, *, force: bool = False) -> Saved:
    """Downloads a file of an epoch, under its own name unless `to` says otherwise. Raises NotFound, AlreadyExists."""
    request = pb.DownloadEpochFileRequest(name=epoch, file_id=file_id)
    return save(session.stubs.channel, lambda: session.trainer.DownloadEpochFile(request), to, overwrite=force)
