"""`fiveshot train …` for numbers: the points of one job, and two jobs side by side."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import compare as comparing
from gateway.cli import lookup, output
from gateway.cli import watch as watching
from gateway.cli.completion import jobs
from gateway.cli.session import Session
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
    name, keys = lookup.job(session, job), list(dict.fromkeys(key or ["loss"]))
    points: list[training_job_pb2.Metric] = []
    while True:
        request = pb.ListMetricsRequest(parent=name, keys=keys, since_step=since_step, stride=stride)
        answer = session.trainer.ListMetrics(request)
        points += answer.metrics
        if follow:
            _print_points(session, answer.metrics, keys)
        if answer.next_since_step:
            since_step = answer.next_since_step
            continue
        if not follow or session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name)).state in watching.ENDED:
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
    one: Annotated[
        str, typer.Argument(help="Id or full name of a job; the one before the last when empty.", autocompletion=jobs)
    ] = "",
    other: Annotated[str, typer.Argument(help="The other job; the last one when empty.", autocompletion=jobs)] = "",
) -> None:
    """Compare two jobs, the last two by default: the parameters in which they differ, and what came of each."""
    session: Session = ctx.obj
    names = [lookup.job(session, one), lookup.job(session, other)] if one else lookup.last_two_jobs(session)
    first, second = (session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name)) for name in names)
    best = [
        session.trainer.GetEpoch(pb.GetEpochRequest(name=f"{job.name}/epochs/{job.recommended_epoch}"))
        if job.recommended_epoch
        else None
        for job in (first, second)
    ]
    differing = list(comparing.differences(first, second))
    came = list(comparing.outcomes(first, second, (best[0], best[1])))
    if session.json:
        jobs_as_json = [output.to_json(job) for job in (first, second)]
        output.print_json({"jobs": jobs_as_json, "differences": [row[0] for row in differing]})
        return
    columns = ("", output.short(first.name), output.short(second.name))
    if differing:
        output.table(columns, differing)
        output.say("")
    else:
        output.say("The jobs have the same parameters.")
    output.table(columns, came)


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
