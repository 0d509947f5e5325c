"""`fiveshot train …`: estimates, jobs and their steering."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from fiveshot.errors import InvalidArgument
from fiveshot.parameters import DEFAULT_BASE_MODEL
from fiveshot.sync.calls import pages
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import estimates, grouped, labels, lookup, mixes, output
from gateway.cli import watch as watching
from gateway.cli.base_models import base_model_name, tell_unavailable
from gateway.cli.completion import base_models, jobs, models
from gateway.cli.faults import Faults
from gateway.cli.parameters import parameters
from gateway.cli.session import Session

START, FOLLOW, STEER = "Start", "Follow", "Steer"
app = typer.Typer(
    cls=grouped.by(START, FOLLOW, STEER), help="Training jobs: start, follow, steer.", no_args_is_help=True
)

Job = Annotated[
    str, typer.Argument(help="Id or full name of the training job; the last job when empty.", autocompletion=jobs)
]
BaseModel = Annotated[
    str, typer.Option("--base-model", "-b", help="Base model to fine-tune.", autocompletion=base_models)
]
Preset = Annotated[
    str | None,
    typer.Option(help="Starting point: person, thing, style or drawing; `base-models show` lists what each sets."),
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="LORA",
        help="Earlier LoRA to go on from: MODEL, MODEL@VERSION (number or alias) or JOB/epochs/N.",
        autocompletion=models,
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", "-e", help="Passes over the data.")]
Repeats = Annotated[int | None, typer.Option(help="How many times each image is used per epoch.")]
BatchSize = Annotated[int | None, typer.Option(help="Images per forward pass.")]
LearningRate = Annotated[float | None, typer.Option(help="Step size of the optimizer.")]
Rank = Annotated[int | None, typer.Option(help="Rank of the adapter.")]
Alpha = Annotated[float | None, typer.Option(help="The adapter is scaled by alpha / rank.")]
Resolution = Annotated[int | None, typer.Option(help="Pixels per side.")]
Seed = Annotated[int | None, typer.Option(help="Random seed.")]
Prompt = Annotated[list[str] | None, typer.Option("--prompt", help="Preview prompt; repeatable, up to eight.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any other parameter, NAME=VALUE; repeatable.")]


@app.command(rich_help_panel=START)
def start(
    ctx: typer.Context,
    sources: mixes.Sources,
    base_model: BaseModel = DEFAULT_BASE_MODEL,
    job_id: Annotated[str, typer.Option("--id", help="Id of the job; generated when empty.")] = "",
    display_name: Annotated[str, typer.Option(help="Display name.")] = "",
    priority: Annotated[int, typer.Option(help="-100 to 100; higher goes first within the project.")] = 0,
    from_: From = "",
    regularization: mixes.Regularization = None,
    preset: Preset = None,
    epochs: Epochs = None,
    repeats: Repeats = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    rank: Rank = None,
    alpha: Alpha = None,
    resolution: Resolution = None,
    seed: Seed = None,
    prompt: Prompt = None,
    set_: Set = None,
    label: labels.Label = None,
    watch: Annotated[bool, typer.Option(help="Follow the job until it ends.")] = False,
    validate_only: Annotated[bool, typer.Option(help="Check everything, create nothing.")] = False,
    ignore_audit: Annotated[
        bool, typer.Option("--ignore-audit", help="Train although the audit blocks the dataset.")
    ] = False,
) -> None:
    """Queue a training job."""
    session, faults = ctx.obj, Faults()
    with output.explained("No job was queued."):
        named = {
            "num_epochs": epochs, "num_repeats": repeats, "batch_size": batch_size, "learning_rate": learning_rate,
            "rank": rank, "alpha": alpha, "resolution": resolution, "seed": seed, "preset": preset,
        }  # fmt: skip
        job = training_job_pb2.TrainingJob(
            display_name=display_name,
            priority=priority,
            parameters=parameters(named, set_ or [], prompt or [], faults),
            labels=faults.take(lambda: labels.parsed(label), dict[str, str]()),
            **_asked(session, base_model, sources, regularization, from_, faults),
        )
        request = pb.CreateTrainingJobRequest(
            parent=session.parent,
            training_job_id=faults.take(lambda: lookup.new_id(job_id, field="training_job_id", kind="job"), ""),
            training_job=job,
            validate_only=validate_only or bool(faults.found),
            ignore_audit=ignore_audit,
        )
        faults.refuse(lambda: session.trainer.CreateTrainingJob(request))
    try:
        created = session.trainer.CreateTrainingJob(request)
    except KeyboardInterrupt:
        output.note("Whether the job was queued is not known. See: fiveshot train list")
        raise
    with nullcontext() if validate_only else output.left_running("train", lambda: created.name):
        tell_unavailable(session, created.base_model, created.held_back)
        if watch and not validate_only and not session.json:
            output.say(created.name)
    if watch and not validate_only:
        _follow(session, created.name)
    elif session.json:
        output.print_json(created)
    else:
        name = "Valid" if validate_only else created.name
        after = f", from {created.initial_lora}" if created.initial_lora else ""
        output.say(f"{name}: {created.total_steps} steps on {created.image_count} images{after}.")
        if not validate_only:
            output.next_step(session, f"fiveshot train watch {output.short(created.name)}")


@app.command(rich_help_panel=START)
def estimate(
    ctx: typer.Context,
    sources: mixes.Sources,
    base_model: BaseModel = DEFAULT_BASE_MODEL,
    from_: From = "",
    regularization: mixes.Regularization = None,
    preset: Preset = None,
    epochs: Epochs = None,
    repeats: Repeats = None,
    batch_size: BatchSize = None,
    set_: Set = None,
) -> None:
    """Estimate a job's steps, time and memory without creating it."""
    session, faults = ctx.obj, Faults()
    named = {"num_epochs": epochs, "num_repeats": repeats, "batch_size": batch_size, "preset": preset}
    job = training_job_pb2.TrainingJob(
        parameters=parameters(named, set_ or [], [], faults),
        **_asked(session, base_model, sources, regularization, from_, faults),
    )
    request = pb.EstimateTrainingJobRequest(parent=session.parent, training_job=job)
    faults.refuse(lambda: session.trainer.EstimateTrainingJob(request))
    answer = session.trainer.EstimateTrainingJob(request)
    if session.json:
        output.print_json(answer)
        return
    output.facts(estimates.facts(answer))


@app.command(rich_help_panel=FOLLOW)
def watch(ctx: typer.Context, job: Job = "") -> None:
    """Follow a job until it ends; exit code 1 when it fails or is cancelled. Ctrl-C leaves the job running."""
    session: Session = ctx.obj
    with output.left_running("train", lambda: job):
        name = lookup.job(session, job)
    _follow(session, name)


@app.command("list", rich_help_panel=FOLLOW)
def list_(
    ctx: typer.Context,
    filter: Annotated[str, typer.Option(help='Filter, such as: state = "RUNNING"')] = "",
    order_by: Annotated[str, typer.Option(help="Sort order, such as: create_time desc")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")] = 50,
) -> None:
    """List the project's jobs, newest first."""
    session: Session = ctx.obj
    request = pb.ListTrainingJobsRequest(parent=session.parent, filter=filter, order_by=order_by)
    found = list(pages(session.trainer.ListTrainingJobs, request, "training_jobs", limit))
    if session.json:
        output.print_list("trainingJobs", found)
        return
    rows = (
        (output.short(each.name), output.enum_name(each, "state") + output.pretended(each),
         f"{each.step}/{each.total_steps}", each.epochs_completed, f"{each.loss:.4f}" if each.loss else "",
         each.queue_position or "", output.short(each.base_model), each.display_name, output.when(each.create_time))
        for each in found
    )  # fmt: skip
    columns = ("job", "state", ">steps", "?>epochs", ">loss", ">queue", "?base model", "?display name", "?created")
    output.table(columns, rows)


@app.command(rich_help_panel=FOLLOW)
def show(ctx: typer.Context, job: Job = "") -> None:
    """Show one job."""
    session: Session = ctx.obj
    _show(session, session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=lookup.job(session, job))))


@app.command(rich_help_panel=STEER)
def cancel(ctx: typer.Context, job: Job = "") -> None:
    """Cancel a job; finished epochs are kept."""
    session: Session = ctx.obj
    request = pb.CancelTrainingJobRequest(name=lookup.job(session, job))
    _moved(session, session.trainer.CancelTrainingJob(request))


@app.command(rich_help_panel=STEER)
def pause(ctx: typer.Context, job: Job = "") -> None:
    """Pause a job; it can resume from its last finished epoch."""
    session: Session = ctx.obj
    request = pb.PauseTrainingJobRequest(name=lookup.job(session, job))
    _moved(session, session.trainer.PauseTrainingJob(request))


@app.command(rich_help_panel=STEER)
def resume(ctx: typer.Context, job: Job = "") -> None:
    """Resume a paused job."""
    session: Session = ctx.obj
    request = pb.ResumeTrainingJobRequest(name=lookup.job(session, job))
    _moved(session, session.trainer.ResumeTrainingJob(request))


@app.command(rich_help_panel=STEER)
def stop(ctx: typer.Context, job: Job = "") -> None:
    """Finish the current epoch, then end the job as succeeded."""
    session: Session = ctx.obj
    request = pb.StopTrainingJobRequest(name=lookup.job(session, job))
    _moved(session, session.trainer.StopTrainingJob(request))


@app.command(rich_help_panel=STEER)
def retry(ctx: typer.Context, job: Job = "") -> None:
    """Queue a failed or cancelled job again."""
    session: Session = ctx.obj
    request = pb.RetryTrainingJobRequest(name=lookup.job(session, job))
    _moved(session, session.trainer.RetryTrainingJob(request))


@app.command(rich_help_panel=STEER)
def extend(
    ctx: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="[JOB] EPOCHS", help="Job; the last when left out. Epochs to add.")
    ],
) -> None:
    """Queue a finished job again for more epochs."""
    session: Session = ctx.obj
    *job, epochs = words
    if len(job) > 1 or not epochs.isdecimal():
        raise InvalidArgument(
            f"'{' '.join(words)}' is not [JOB] EPOCHS", field="additional_epochs", remedy="Write: extend JOB 5."
        )
    name = lookup.job(session, "".join(job))
    request = pb.ExtendTrainingJobRequest(name=name, additional_epochs=min(int(epochs), 2**31 - 1))
    _moved(session, session.trainer.ExtendTrainingJob(request))


def _asked(
    session: Session,
    base_model: str,
    sources: Sequence[str],
    regularization: Sequence[str] | None,
    lora: str,
    faults: Faults,
) -> dict[str, Any]:
    """What is trained, and of what: fields of a job."""
    return {
        "base_model": base_model_name(session, base_model),
        "initial_lora": session.stubs.channel.endpoint.lora(lora) if lora else "",
        **mixes.sources_of(session, sources, regularization, faults),
    }


def _follow(session: Session, name: str) -> None:
    short = output.short(name)
    with output.left_running("train", lambda: name):
        job = watching.follow(session, name)
    if not session.json:
        output.facts(watching.describe(job))
    if job.state == job.STATE_SUCCEEDED:
        output.next_step(session, f"fiveshot epochs list {short}")
    raise typer.Exit(watching.exit_code(job))


def _show(session: Session, job: training_job_pb2.TrainingJob) -> None:
    output.print_json(job) if session.json else output.facts(watching.describe(job))


def _moved(session: Session, job: training_job_pb2.TrainingJob) -> None:
    text = f"{output.short(job.name)}: {output.enum_name(job, 'state')}{output.pretended(job)}"
    output.print_json(job) if session.json else output.say(text)
