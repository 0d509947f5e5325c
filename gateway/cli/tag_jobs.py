"""`fiveshot tag-jobs …`: runs of a tagger or captioner, while they work and afterwards."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from fiveshot.errors import NotFound
from fiveshot.sync.calls import pages
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as pb

from gateway.cli import output, tagging
from gateway.cli.completion import tag_jobs
from gateway.cli.session import Session

app = typer.Typer(help="Runs of a tagger or captioner: follow, cancel, repeat what failed.", no_args_is_help=True)

Job = Annotated[
    str, typer.Argument(help="Id or full name of the tag job; the last when left out.", autocompletion=tag_jobs)
]
_LAST = "last"


@app.command("list")
def list_(
    ctx: typer.Context,
    filter: Annotated[str, typer.Option("--filter", help='Filter, such as: dataset = "cat" AND state = FAILED')] = "",
    limit: Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")] = 50,
) -> None:
    """List the project's tag jobs, newest first."""
    session: Session = ctx.obj
    request = pb.ListTagJobsRequest(parent=session.parent, filter=filter)
    found = list(pages(session.tagger.ListTagJobs, request, "tag_jobs", limit))
    if session.json:
        output.print_list("tagJobs", found)
        return
    rows = (
        (output.short(each.name), output.enum_name(each, "state"), f"{_done(each)}/{each.total_images}",
         each.failed_images or "", output.short(each.dataset), output.when(each.create_time))
        for each in found
    )  # fmt: skip
    output.table(("tag job", "state", ">pictures", ">failed", "dataset", "?created"), rows)


@app.command()
def show(ctx: typer.Context, job: Job = "") -> None:
    """Show one tag job, with the pictures that failed and why."""
    session: Session = ctx.obj
    _show(session, session.tagger.GetTagJob(pb.GetTagJobRequest(name=_name(session, job))))


@app.command()
def watch(ctx: typer.Context, job: Job = "") -> None:
    """Follow a tag job until it ends; exit code 1 unless it succeeds."""
    session: Session = ctx.obj
    with output.left_running("tag-jobs", lambda: job):
        found = session.tagger.GetTagJob(pb.GetTagJobRequest(name=_name(session, job)))
    ended = tagging.follow(session, found, lines=session.json)
    if not session.json:
        _show(session, ended)
    if ended.state != ended.STATE_SUCCEEDED:
        raise typer.Exit(output.FAILED)


@app.command()
def cancel(ctx: typer.Context, job: Job = "") -> None:
    """Cancel a tag job; what it has written stays."""
    session: Session = ctx.obj
    _moved(session, session.tagger.CancelTagJob(pb.CancelTagJobRequest(name=_name(session, job))))


@app.command()
def retry(ctx: typer.Context, job: Job = "") -> None:
    """Queue a tag job again for the pictures that failed."""
    session: Session = ctx.obj
    _moved(session, session.tagger.RetryTagJob(pb.RetryTagJobRequest(name=_name(session, job))))


@app.command()
def delete(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(help="Id or full name of the tag job.", autocompletion=tag_jobs)],
) -> None:
    """Delete a tag job that has ended; what it has written stays."""
    session: Session = ctx.obj
    name = session.name("tagJobs", job)
    session.tagger.DeleteTagJob(pb.DeleteTagJobRequest(name=name))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


def _name(session: Session, given: str) -> str:
    """The name of a tag job; "" and `last` are the project's newest. Raises NotFound when there is none."""
    if given not in ("", _LAST):
        return session.name("tagJobs", given)
    newest = next(pages(session.tagger.ListTagJobs, pb.ListTagJobsRequest(parent=session.parent), "tag_jobs", 1), None)
    if newest is None:
        raise NotFound(
            f"{session.parent} has no tag job", field="job", reason="NO_JOB",
            remedy="Start one with `fiveshot dataset tag DATASET`.",
        )  # fmt: skip
    return str(newest.name)


def _done(job: tagger_pb2.TagJob) -> int:
    return job.tagged_images + job.skipped_images + job.failed_images


def _show(session: Session, job: tagger_pb2.TagJob) -> None:
    if session.json:
        output.print_json(job)
        return
    pairs: list[tuple[str, Any]] = [
        ("name", job.name), ("dataset", job.dataset), ("state", output.enum_name(job, "state")),
        ("pictures", f"{_done(job)} of {job.total_images}"), ("tagged", job.tagged_images),
        ("left alone", job.skipped_images), ("failed", job.failed_images),
        ("captioner", output.short(job.options.captioner)), ("calls", job.captioner_calls or ""),
        ("error", job.error), ("note", job.note),
        ("created", output.when(job.create_time)),
        ("ended", output.when(job.end_time) if job.HasField("end_time") else ""),
    ]  # fmt: skip
    output.facts(pairs)
    files = tagging.files_of(session, job)
    for failure in job.failures:
        output.note(f"{files.get(failure.image) or output.short(failure.image)}: {failure.message}")
    if job.failed_images and job.state != job.STATE_RUNNING:
        output.next_step(session, f"fiveshot tag-jobs retry {output.short(job.name)}")


def _moved(session: Session, job: tagger_pb2.TagJob) -> None:
    text = f"{output.short(job.name)}: {output.enum_name(job, 'state')}"
    output.print_json(job) if session.json else output.say(text)
