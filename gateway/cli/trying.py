"""`fiveshot epochs try`, `fiveshot models try`: any epoch or version drawn with prompts of one's own, on a sheet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from fiveshot.errors import FailedPrecondition, InvalidArgument
from fiveshot.records import JobFailed
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.sync.calls import pages
from fiveshot.sync.previews import PreviewRequest, PreviewRequests
from fiveshot.trainer.v1 import training_service_pb2 as pb
from PIL import Image
from rich.progress import BarColumn, Progress, TextColumn

from gateway.cli import epochs, lookup, models, output, pictures
from gateway.cli.completion import jobs
from gateway.cli.session import Session
from gateway.cli.sheets import check_sheet, save_sheet

N = TypeVar("N", int, float)
_SIZE = re.compile(r"([0-9]{1,5})[x×]([0-9]{1,5})")
_EPOCHS = re.compile(r"([0-9]+|recommended|best|last|all)(,([0-9]+|recommended|best|last))*")

Prompt = Annotated[
    list[str] | None, typer.Option("--prompt", "-p", help="What to draw; repeatable. By default the previews' prompts.")
]
Seed = Annotated[str, typer.Option("--seed", help="Seeds with commas; each prompt is drawn with each.")]
Strength = Annotated[str, typer.Option(help="How strongly the LoRA applies, with commas: 0.6,0.8,1. 0 is the base.")]
Negative = Annotated[str, typer.Option("--negative", help="What the pictures should not show.")]
Size = Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels; a shape that the base model is trained at.")]
Steps = Annotated[int, typer.Option(min=0, max=100, help="Solver steps; 0 for the base model's own.")]
Guidance = Annotated[float | None, typer.Option(min=0, max=30, help="Classifier-free guidance.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="File for the sheet, .png or .jpg.")]
Force = Annotated[bool, typer.Option(help="Overwrite the sheet's file.")]


@epochs.app.command("try")
def try_epochs(
    ctx: typer.Context,
    job: Annotated[
        str, typer.Argument(help="Id or full name of the training job; the last when empty.", autocompletion=jobs)
    ] = "",
    which: Annotated[
        str,
        typer.Option("--epochs", help="Numbers with commas, recommended, last or all; recommended if empty."),
    ] = "",
    now: Annotated[bool, typer.Option("--now", help="The job as it stands now, between two of its steps.")] = False,
    prompt: Prompt = None,
    seed: Seed = "0",
    strength: Strength = "1",
    negative: Negative = "",
    size: Size = "",
    steps: Steps = 0,
    guidance: Guidance = None,
    out: Out = Path("try-out.png"),
    force: Force = False,
) -> None:
    """Draw epochs of a job with prompts of your own, at several strengths, on one sheet. Ctrl-C cancels it."""
    session: Session = ctx.obj
    check_sheet(out, force=force)
    if not which and _EPOCHS.fullmatch(job):
        # As `models save` and `epochs list` are told: an epoch of the last job.
        job, which = "", job
    name = lookup.job(session, job)
    if now and which:
        raise InvalidArgument("--now and --epochs exclude each other", field="epochs", remedy="Leave one of them out.")
    found = session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name))
    prompts = prompt or _in_one_line(found.parameters.preview_prompts)
    sources = [name] if now else _epochs(session, name, which)
    made = _asked(session, sources, prompts, seed, strength, negative, size, steps, guidance)
    _finish(session, made, out, f"{found.display_name or output.short(name)} · {output.short(found.base_model)}")


@models.app.command("try")
def try_models(
    ctx: typer.Context,
    model: models.Model,
    version: Annotated[str, typer.Option("--version", help="Numbers or aliases of versions, with commas.")] = "latest",
    prompt: Prompt = None,
    seed: Seed = "0",
    strength: Strength = "1",
    negative: Negative = "",
    size: Size = "",
    steps: Steps = 0,
    guidance: Guidance = None,
    out: Out = Path("try-out.png"),
    force: Force = False,
) -> None:
    """Draw versions of a model with prompts of your own, at several strengths, on one sheet. Ctrl-C cancels it."""
    session: Session = ctx.obj
    check_sheet(out, force=force)
    name = session.name("models", model)
    sources, prompts = [], list(prompt or [])
    for each in dict.fromkeys(version.split(",")):
        request = registry_api.GetModelVersionRequest(name=f"{name}/versions/{each.strip()}")
        found = session.registry.GetModelVersion(request)
        sources.append(found.name)
        prompts = prompts or _in_one_line(found.preview_prompts)
    if not prompts:
        raise InvalidArgument(
            f"{output.short(name)} has no prompts of its own", field="prompt", remedy="Say what to draw with --prompt."
        )
    made = _asked(session, list(dict.fromkeys(sources)), prompts, seed, strength, negative, size, steps, guidance)
    _finish(session, made, out, output.short(name))


def sheet_of(request: PreviewRequest, title: str) -> Image.Image:
    """Sources × strengths down, prompts × seeds across."""
    asked, by_place = request.message, {each.message.index: each for each in request.cells}
    columns = [(prompt, seed) for prompt in asked.prompts for seed in asked.seeds]
    rows = []
    for number, (source, strength) in enumerate((a, b) for a in asked.sources for b in asked.strengths):
        drawn = [by_place.get(number * len(columns) + column) for column in range(len(columns))]
        if not any(drawn):
            continue
        step = next((each.message.step for each in drawn if each), 0)
        detail = f"strength {strength:g}" + (", pretended" if asked.pretended else "")
        cells = [each.read() if each else pictures.blank() for each in drawn]
        rows.append(pictures.SheetRow(f"step {step}" if step else _called(source), detail, cells))
    heads = [f"{prompt} (seed {seed})" if len(asked.seeds) > 1 else prompt for prompt, seed in columns]
    return pictures.contact_sheet(title, [], heads, rows)


def _epochs(session: Session, job: str, which: str) -> list[str]:
    if which and not _EPOCHS.fullmatch(which):
        raise InvalidArgument(
            f"'{which}' names no epochs", field="epochs", remedy="Write 2,4 or recommended, last or all."
        )
    if which != "all":
        return list(dict.fromkeys(lookup.epoch(session, job, word) for word in which.split(",")))
    return [each.name for each in pages(session.trainer.ListEpochs, pb.ListEpochsRequest(parent=job), "epochs", 0)]


def _asked(
    session: Session, sources: Sequence[str], prompts: Sequence[str], seed: str, strength: str, negative: str,
    size: str, steps: int, guidance: float | None,
) -> PreviewRequest:  # fmt: skip
    shape = _SIZE.fullmatch(size) if size else None
    if size and shape is None:
        raise InvalidArgument(f"'{size}' is not a size", field="size", remedy="Write WIDTHxHEIGHT, such as 512x768.")
    if not sources:
        raise FailedPrecondition("There is no epoch to draw", field="epochs", remedy="Wait for the first epoch.")
    return PreviewRequests(session.stubs).create(
        sources,
        prompts,
        strengths=_numbers(strength, float, "strength"),
        seeds=_numbers(seed, int, "seed"),
        negative_prompt=negative,
        size=(int(shape[1]), int(shape[2])) if shape else None,
        steps=steps,
        guidance=guidance,
        attended=True,
    )


def _finish(session: Session, request: PreviewRequest, out: Path, title: str) -> None:
    """Waits for the pictures, draws the sheet of what there is, and ends with 1 when some lack."""
    failure: JobFailed | None = None
    try:
        _wait(session, request)
    except KeyboardInterrupt:
        output.note("Cancelled.")
        raise typer.Exit(output.INTERRUPTED) from None
    except JobFailed as error:
        failure = error
    if request.cells:
        save_sheet(sheet_of(request, title), out)
    if failure is not None:
        output.print_error(failure, as_json=session.json)
        raise typer.Exit(output.FAILED)
    if session.json:
        output.print_json(request.message)
        return
    output.say(str(out))


def _in_one_line(prompts: Iterable[str]) -> list[str]:
    """Those of an earlier release may have line breaks, which are refused now."""
    return [" ".join(prompt.split()) for prompt in prompts]


def _wait(session: Session, request: PreviewRequest) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    live = output.err.is_terminal and not session.json
    with Progress(*columns, console=output.err, transient=True, disable=not live) as progress:
        bar = progress.add_task("waiting for a worker", total=request.cell_count)

        def show(seen: PreviewRequest) -> None:
            words = "drawing" if seen.state == "running" else "waiting for a worker"
            progress.update(bar, description=words, completed=len(seen.message.cells))

        request.wait(show)


def _numbers(given: str, kind: Callable[[str], N], field: str) -> list[N]:
    try:
        return [kind(part) for part in given.split(",")]
    except ValueError:
        raise InvalidArgument(
            f"'{given}' is not a list of numbers", field=field, remedy="Write numbers with commas between them."
        ) from None


def _called(source: str) -> str:
    parts = source.split("/")
    return f"epoch {parts[-1]}" if parts[-2] == "epochs" else f"{parts[3]} {parts[-1]}"
