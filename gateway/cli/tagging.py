"""Runs a tag job and shows how far it is; `fiveshot dataset tag` and the demo use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fiveshot.dataset.v1.dataset_service_pb2 import ListImagesRequest
from fiveshot.sync.calls import pages
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as pb
from fiveshot.trainer.v1.training_service_pb2 import GetBaseModelRequest
from fiveshot.words import MODES, PURPOSES, chosen
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli import output
from gateway.cli.base_models import base_model_name
from gateway.cli.session import Session


def tag_options(given: Mapping[str, Any]) -> tagger_pb2.TagOptions:
    """TagOptions out of plain values; `mode` by its name, `tagger` by id or full name. Raises InvalidArgument."""
    values = {name: value for name, value in given.items() if value is not None}
    mode = chosen(MODES, values.pop("mode", "append"), "mode")
    named: dict[str, Any] = {name: _tagger_name(values.pop(name, "")) for name in ("tagger", "captioner")}
    return tagger_pb2.TagOptions(mode=mode, **named, **values)


def caption_options(
    session: Session, *, purpose: str, subject: str, avoid: Sequence[str], base_model: str
) -> tagger_pb2.CaptionOptions:
    """What a captioner is asked for. base_model: that the captions are for, whose limit they keep; may be empty."""
    limit = 0
    if base_model:
        request = GetBaseModelRequest(name=base_model_name(session, base_model))
        limit = session.trainer.GetBaseModel(request).caption_tokens
    return tagger_pb2.CaptionOptions(
        purpose=chosen(PURPOSES, purpose, "purpose"), class_noun=subject, avoid=avoid, token_limit=limit
    )


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
    try:
        created = session.tagger.TagImages(request)
    except KeyboardInterrupt:
        output.note("Whether the job was queued is not known. See: fiveshot tag-jobs list")
        raise
    job = follow(session, created, lines=session.json)
    if not session.json:
        tell(job, files_of(session, job))
    return job


def follow(session: Session, created: tagger_pb2.TagJob, *, lines: bool = False) -> tagger_pb2.TagJob:
    """Waits for the end of a tag job, with a bar where somebody looks, and returns it as it is then.

    lines: each of its states as a line of JSON. A Ctrl-C leaves it at work.
    """
    job = created
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = session.json or not output.err.is_terminal
    shown = Progress(*columns, console=output.err, transient=True, disable=quiet)
    with output.left_running("tag-jobs", lambda: created.name), shown as progress:
        bar = progress.add_task("tagging", total=job.total_images or None)
        watch = pb.WatchTagJobRequest(name=job.name)
        for job in session.stubs.channel.resumed(lambda: session.tagger.WatchTagJob(watch)):
            done = job.tagged_images + job.skipped_images + job.failed_images
            progress.update(bar, completed=done, total=job.total_images or None)
            if lines:
                output.print_json_line(job)
    return job


def suggested_subject(session: Session, dataset: str, *, filter: str = "") -> tagger_pb2.SubjectSuggestion:
    """What the pictures of a dataset (full name) show together."""
    return session.tagger.SuggestSubject(pb.SuggestSubjectRequest(dataset=dataset, filter=filter), timeout=120)


def _tagger_name(tagger: str) -> str:
    return tagger if not tagger or tagger.startswith("taggers/") else f"taggers/{tagger}"


def files_of(session: Session, job: tagger_pb2.TagJob) -> dict[str, str]:
    """What the files of those pictures are called of which a job has something to say; by the pictures' names."""
    wanted = {each.image for each in job.changes} | {each.image for each in job.failures}
    if not wanted:
        return {}
    listed = pages(session.dataset.ListImages, ListImagesRequest(parent=job.dataset), "images", 0)
    return {each.name: each.file_name for each in listed if each.name in wanted}


def tell(job: tagger_pb2.TagJob, files: Mapping[str, str]) -> None:
    """What came of a job, for people. files: the pictures' file names; one that is not there is called by its id."""
    state = output.enum_name(job, "state")
    done = "captioned" if job.options.captioner else "tagged"
    verb = f"would be {done}" if job.dry_run else done
    for change in job.changes:
        signs = [f"+{label}" for label in change.added] + [f"-{label}" for label in change.removed]
        signs += [change.caption] if change.caption else []
        output.say(f"{files.get(change.image) or output.short(change.image)}: {', '.join(signs) or 'unchanged'}")
    output.say(f"{job.tagged_images} {verb}, {job.skipped_images} left alone, {job.failed_images} failed ({state}).")
    if job.captioner_calls:
        output.say(f"{job.captioner_calls} calls to {job.options.captioner}.")
    if job.rescored_images:
        output.say(f"{job.rescored_images} out of kept scores, without a model.")
    if job.note:
        output.say(f"Note: {job.note}")
    for failure in job.failures:
        output.say_error(f"{files.get(failure.image) or output.short(failure.image)}: {failure.message}")
    if job.error:
        output.say_error(job.error)
