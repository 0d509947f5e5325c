"""`fiveshot train …` for numbers: the points of one job, and jobs side by side."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.errors import InvalidArgument
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import compare as comparing
from gateway.cli import lookup, output, pictures, report
from gateway.cli import watch as watching
from gateway.cli.completion import jobs
from gateway.cli.session import Session
from gateway.cli.sheets import check_sheet, save_sheet
from gateway.cli.train import FOLLOW, Job, app


@app.command(rich_help_panel=FOLLOW)
def metrics(
    ctx: typer.Context,
    job: Job = "",
    key: Annotated[
        list[str] | None,
        typer.Option(help="loss (the default), learning_rate, images_per_second or grad_norm; repeatable."),
    ] = None,
    since_step: Annotated[int, typer.Option(min=0, help="Only points after this step.")] = 0,
    stride: Annotated[int, typer.Option(min=1, help="Every Nth step.")] = 1,
    follow: Annotated[bool, typer.Option(help="Keep printing until the job ends.")] = False,
) -> None:
    """List the measured points of a job."""
    session: Session = ctx.obj
    points: list[training_job_pb2.Metric] = []
    with output.left_running("train", lambda: job) if follow else nullcontext():
        name, keys = lookup.job(session, job), list(dict.fromkeys(key or ["loss"]))
        while True:
            request = pb.ListMetricsRequest(parent=name, keys=keys, since_step=since_step, stride=stride)
            answer = session.trainer.ListMetrics(request)
            points += answer.metrics
            if follow:
                _print_points(session, answer.metrics, keys)
            if answer.next_since_step:
                since_step = answer.next_since_step
                continue
            if (
                not follow
                or session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name)).state in watching.ENDED
            ):
                break
            since_step = points[-1].step if points else since_step
            time.sleep(1)
    if follow:
        return
    if session.json:
        output.print_list("metrics", points)
    else:
        output.table((">step", ">epoch", *(f">{each}" for each in keys)), _by_step(points, keys))


@app.command(rich_help_panel=FOLLOW)
def compare(
    ctx: typer.Context,
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Jobs; the last two when left out.", autocompletion=jobs),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the losses of all into this file, .png or .jpg.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw the previews of their recommended epochs into this file, .png or .jpg.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite existing files.")] = False,
) -> None:
    """Compare jobs, the last two by default: the parameters in which they differ, and what came of each."""
    session: Session = ctx.obj
    for path in (plot, sheet):
        if path is not None:
            check_sheet(path, force=force)
    found = [session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name)) for name in _named(session, given)]
    best = [
        session.trainer.GetEpoch(pb.GetEpochRequest(name=f"{job.name}/epochs/{job.recommended_epoch}"))
        if job.recommended_epoch
        else None
        for job in found
    ]
    if plot is not None:
        pictures.loss_curves({output.short(job.name): report.loss_points(session, job) for job in found}, plot)
    if sheet is not None:
        save_sheet(comparing.sheet(session, found, best), sheet)
    differing = list(comparing.differences(found))
    came = list(comparing.outcomes(found, best))
    if session.json:
        jobs_as_json = [output.to_json(job) for job in found]
        output.print_json({"jobs": jobs_as_json, "differences": [row[0] for row in differing]})
        return
    columns = ("", *(output.short(job.name) for job in found))
    if differing:
        output.table(columns, differing)
        output.say("")
    else:
        output.say("The jobs have the same parameters.")
    output.table(columns, came)


def _named(session: Session, given: Sequence[str] | None) -> list[str]:
    """Full names of the jobs to compare; one alone is compared with the last one."""
    if not given:
        return lookup.last_two_jobs(session)
    names = [lookup.job(session, each) for each in given]
    names += [lookup.job(session, "")] if len(names) == 1 else []
    if len(set(names)) < len(names):
        raise InvalidArgument("A job is named twice", field="job", remedy="Name each job once.")
    return names


def _by_step(points: Iterable[training_job_pb2.Metric], keys: Sequence[str]) -> list[tuple[object, ...]]:
    """A row a step, with the values in the order of the keys."""
    rows: dict[tuple[int, int], dict[str, str]] = {}
    for point in points:
        rows.setdefault((point.step, point.epoch), {})[point.key] = f"{point.value:.6g}"
    return [(step, epoch, *(values.get(key, "") for key in keys)) for (step, epoch), values in rows.items()]


def _print_points(session: Session, points: Iterable[training_job_pb2.Metric], keys: Sequence[str]) -> None:
    if session.json:
        for point in points:
            output.print_json_line(point)
    else:
        for step, _, *values in _by_step(points, keys):
            output.say("\t".join((str(step), *map(str, values))))
