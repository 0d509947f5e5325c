"""`fiveshot project …`: everything of a project at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer
from fiveshot.dataset.v1 import dataset_service_pb2 as dataset_api
from fiveshot.errors import DeadlineExceeded, FailedPrecondition, NotFound
from fiveshot.notifier.v1 import notifier_service_pb2 as notifier_api
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.sync.calls import pages
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api
from fiveshot.trainer.v1 import training_service_pb2 as training_api

from gateway.cli import output
from gateway.cli import watch as watching
from gateway.cli.session import Session

app = typer.Typer(help="Everything of a project at once.", no_args_is_help=True)
_PATIENCE_S, _PAUSE_S = 120.0, 0.5
_TAG_JOB_ENDED = (
    tagger_pb2.TagJob.STATE_SUCCEEDED, tagger_pb2.TagJob.STATE_FAILED, tagger_pb2.TagJob.STATE_CANCELLED,
)  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """Resources of a kind. key: their name in JSON."""

    key: str
    words: str
    names: list[str]
    delete: Callable[[str], Any]


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the projects that your key may touch; with a key for all, those that hold a dataset."""
    session: Session = ctx.obj
    found = session.client.projects().all()
    if session.json:
        output.print_list("projects", found)
        return
    output.table(("project", ">datasets"), ((output.short(each.name), each.dataset_count) for each in found))
    if found:
        output.next_step(session, f"fiveshot --project {output.short(found[0].name)} dataset list")


@app.command()
def purge(
    ctx: typer.Context, yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only count.")] = False
) -> None:
    """Delete every job, tag job, preview request, model and dataset of a project, with all that belongs to them.

    What works is cancelled first. A purge that was cut off is finished by repeating it.
    """
    session: Session = ctx.obj
    kinds = _kinds(session)
    counts = {kind.key: len(kind.names) for kind in kinds}
    if yes:
        with output.explained("What is deleted so far stays so. Give the same command again to delete the rest."):
            _end_work(session)
            for kind in kinds:
                for name in kind.names:
                    _unless_gone(lambda kind=kind, name=name: kind.delete(name))  # type: ignore[misc]
    if session.json:
        output.print_json({"project": session.parent, "deleted": yes, "counts": counts})
        return
    told = ", ".join(f"{len(kind.names)} {kind.words}" for kind in kinds)
    output.say(f"{'Deleted' if yes else 'This would delete'} {told} of {session.parent}.")
    if not yes and any(counts.values()):
        output.next_step(session, f"fiveshot project purge --yes --project {output.short(session.parent)}")


@app.command("clean-up")
def clean_up(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only report.")] = False,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than", min=0, max=3650, metavar="DAYS",
            help="Of what nobody needs, delete also what is so many days past the end of its job.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Delete what training jobs left behind, once its lifetime is over: epochs that nobody saved, old jobs.

    The service does the same by itself every hour. Models and dataset versions keep all that they hold.
    """
    session: Session = ctx.obj
    found = session.client.clean_up(older_than=older_than, dry_run=not yes)
    if session.json:
        kinds = [output.to_json(each.message) for each in found]
        output.print_json({"project": session.parent, "deleted": yes, "kinds": kinds})
        return
    rows = (
        (each.kind, each.count, output.size(each.size_bytes),
         output.when(each.message.oldest_time) if each.count else "",
         f"{each.lifetime / timedelta(days=1):g} days" if each.lifetime is not None else "for ever")
        for each in found
    )  # fmt: skip
    output.say(f"{'Deleted' if yes else 'This would delete'} of {session.parent}:")
    output.table(("kind", ">count", ">size", "oldest end", "kept for"), rows)
    if not yes and any(each.count for each in found):
        shorter = f" --older-than {older_than:g}" if older_than is not None else ""
        output.next_step(session, f"fiveshot project clean-up --yes{shorter} --project {output.short(session.parent)}")


def _kinds(session: Session) -> list[_Kind]:
    """In the order in which they can go: what works on others before them."""
    dataset, tagger, trainer, registry = session.dataset, session.tagger, session.trainer, session.registry
    notifier = session.notifier
    webhooks = pages(notifier.ListWebhooks, notifier_api.ListWebhooksRequest(parent=session.parent), "webhooks", 0)
    jobs, tag_jobs = _jobs(session), _tag_jobs(session)
    models = pages(registry.ListModels, registry_api.ListModelsRequest(parent=session.parent), "models", 0)
    datasets = pages(dataset.ListDatasets, dataset_api.ListDatasetsRequest(parent=session.parent), "datasets", 0)
    return [
        _Kind(
            "previewRequests",
            "preview requests",
            _names(_previews(session)),
            lambda name: trainer.DeletePreviewRequest(training_api.DeletePreviewRequestRequest(name=name)),
        ),
        _Kind(
            "tagJobs",
            "tag jobs",
            _names(tag_jobs),
            lambda name: tagger.DeleteTagJob(tagger_api.DeleteTagJobRequest(name=name)),
        ),
        _Kind(
            "trainingJobs",
            "training jobs",
            _names(jobs),
            lambda name: trainer.DeleteTrainingJob(training_api.DeleteTrainingJobRequest(name=name, force=True)),
        ),
        _Kind(
            "models",
            "models",
            _names(models),
            lambda name: registry.DeleteModel(registry_api.DeleteModelRequest(name=name, force=True)),
        ),
        _Kind(
            "datasets",
            "datasets",
            _names(datasets),
            lambda name: dataset.DeleteDataset(dataset_api.DeleteDatasetRequest(name=name, force=True)),
        ),
        # Last, because their receivers may want to hear of the rest.
        _Kind(
            "webhooks",
            "webhooks",
            _names(webhooks),
            lambda name: notifier.DeleteWebhook(notifier_api.DeleteWebhookRequest(name=name)),
        ),
    ]


def _names(items: Iterable[Any]) -> list[str]:
    return [item.name for item in items]


def _jobs(session: Session) -> list[Any]:
    request = training_api.ListTrainingJobsRequest(parent=session.parent)
    return list(pages(session.trainer.ListTrainingJobs, request, "training_jobs", 0))


def _tag_jobs(session: Session) -> list[Any]:
    return list(pages(session.tagger.ListTagJobs, tagger_api.ListTagJobsRequest(parent=session.parent), "tag_jobs", 0))


def _previews(session: Session) -> list[Any]:
    request = training_api.ListPreviewRequestsRequest(parent=session.parent)
    return list(pages(session.trainer.ListPreviewRequests, request, "preview_requests", 0))


def _end_work(session: Session) -> None:
    """Cancels what works, and waits until nothing does. Raises DeadlineExceeded."""
    until = time.monotonic() + _PATIENCE_S
    asked: set[str] = set()
    for request in _previews(session):
        # They end at once.
        with suppress(NotFound, FailedPrecondition):
            session.trainer.CancelPreviewRequest(training_api.CancelPreviewRequestRequest(name=request.name))
    while True:
        jobs = [job.name for job in _jobs(session) if job.state not in watching.ENDED]
        tag_jobs = [job.name for job in _tag_jobs(session) if job.state not in _TAG_JOB_ENDED]
        if not jobs and not tag_jobs:
            return
        for name in set(jobs) - asked:
            cancel = training_api.CancelTrainingJobRequest(name=name)
            _unless_gone(lambda cancel=cancel: session.trainer.CancelTrainingJob(cancel))  # type: ignore[misc]
        for name in set(tag_jobs) - asked:
            stop = tagger_api.CancelTagJobRequest(name=name)
            _unless_gone(lambda stop=stop: session.tagger.CancelTagJob(stop))  # type: ignore[misc]
        asked |= {*jobs, *tag_jobs}
        if time.monotonic() > until:
            raise DeadlineExceeded(
                f"{len(jobs) + len(tag_jobs)} jobs still work, {(jobs + tag_jobs)[0]} among them",
                reason="JOBS_STILL_WORK",
                remedy="Nothing has been deleted; repeat the purge when they have ended.",
            )
        time.sleep(_PAUSE_S)


def _unless_gone(call: Callable[[], Any]) -> None:
    with suppress(NotFound):
        call()
