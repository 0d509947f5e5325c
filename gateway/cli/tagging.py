"""Runs a tag job and shows how far it is; `fiveshot dataset tag` and the demo use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiveshot.errors import InvalidArgument
from fiveshot.sync.datasets import MODES
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as pb
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli import output
from gateway.cli.session import Session


def tag_options(given: Mapping[str, Any]) -> tagger_pb2.TagOptions:
    """TagOptions out of plain values; `mode` by its name, `tagger` by id or full name. Raises InvalidArgument."""
    values = {name: value for name, value in given.items() if value is not None}
    mode = values.pop("mode", "append")
    if mode not in MODES:
        raise InvalidArgument(f"'{mode}' is not a mode", field="mode", remedy=f"Use one of {', '.join(MODES)}.")
    tagger = values.pop("tagger", "")
    name = tagger if not tagger or tagger.startswith("taggers/") else f"taggers/{tagger}"
    return tagger_pb2.TagOptions(mode=MODES[mode], tagger=name, **values)


def run_tag_job(
    session: Session,
    dataset: str,
    options: Mapping[str, Any],
    *,
    filter: str = "",
    dry_run: bool = False,
    own: Mapping[str, str] | None = None,
) -> tagger_pb2.TagJob:
    """Starts a tag job, follows it to its end and tells what came of it. own: labels of the job."""
    parent = "/".join(dataset.split("/")[:2])
    request = pb.TagImagesRequest(
        parent=parent, dataset=dataset, options=tag_options(options), filter=filter, dry_run=dry_run, labels=own
    )
    created = job = session.tagger.TagImages(request)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = session.json or not output.err.is_terminal
    try:
        with Progress(*columns, console=output.err, transient=True, disable=quiet) as progress:
            bar = progress.add_task("tagging", total=job.total_images or None)
            watch = pb.WatchTagJobRequest(name=created.name)
            for job in session.stubs.channel.resumed(lambda: session.tagger.WatchTagJob(watch)):
                done = job.tagged_images + job.skipped_images + job.failed_images
                progress.update(bar, completed=done, total=job.total_images or None)
                if session.json:
                    output.print_json_line(job)
    except KeyboardInterrupt:
        output.note(f"The server goes on tagging. See what it finds: fiveshot dataset tags {output.short(dataset)}")
        raise
    if not session.json:
        tell(job)
    return job


def suggested_subject(session: Session, dataset: str, *, filter: str = "") -> tagger_pb2.SubjectSuggestion:
    """What the pictures of a dataset (full name) show together."""
    return session.tagger.SuggestSubject(pb.SuggestSubjectRequest(dataset=dataset, filter=filter), timeout=120)


def tell(job: tagger_pb2.TagJob) -> None:
    state = output.enum_name(job, "state")
    verb = "would be tagged" if job.dry_run else "tagged"
    for change in job.changes:
        signs = [f"+{label}" for label in change.added] + [f"-{label}" for label in change.removed]
        output.say(f"{output.short(change.image)}: {', '.join(signs) or 'unchanged'}")
    output.say(f"{job.tagged_images} {verb}, {job.skipped_images} left alone, {job.failed_images} failed ({state}).")
    if job.note:
        output.say(f"Note: {job.note}")
    for failure in job.failures:
        output.say_error(f"{output.short(failure.image)}: {failure.message}")
    if job.error:
        output.say_error(job.error)
