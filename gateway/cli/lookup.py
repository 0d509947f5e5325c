"""What people type for what the API names: the last job, an epoch by a word, a picture by its file's name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from fiveshot.connection import ID_RULE
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as dataset_api
from fiveshot.errors import FailedPrecondition, FiveshotError, InvalidArgument, NotFound
from fiveshot.notifier.v1 import notifier_service_pb2 as notifier_api
from fiveshot.registry.v1 import registry_service_pb2 as registry_api
from fiveshot.sync.calls import pages
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api
from fiveshot.trainer.v1 import training_service_pb2 as training_api

from gateway.cli import output
from gateway.cli.names import nearest_id
from gateway.cli.session import Session

LAST = "last"
_RECOMMENDED = ("recommended", "best")
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_EPOCH = re.compile(r"[0-9]+|recommended|best|last")
# `job-1/2`, `job-1/epochs/2` and the full name.
_JOINED = re.compile(r"((?:projects/[^/]+/trainingJobs/)?[^/]+)/(?:epochs/)?([0-9]+|recommended|best|last)")
# Python reads no number of thousands of digits, and no job has so many epochs.
_MOST_DIGITS = 18
_MISSING = re.compile(
    r"(?:projects/[a-z0-9-]+/(datasets|trainingJobs|models|webhooks|tagJobs|previewRequests)|(baseModels))"
    r"/([A-Za-z0-9.-]+)"
)
_NOUNS = {
    "trainingJobs": "train", "models": "models", "webhooks": "webhooks", "tagJobs": "tag-jobs",
    "previewRequests": "previews",
}  # fmt: skip


def new_id(given: str, *, field: str, kind: str) -> str:
    """An id that the user chose, "" included. Raises InvalidArgument(ID_INVALID) that offers the nearest legal one."""
    if given and not _ID.fullmatch(given):
        near = nearest_id(given, kind)
        offer = f"Did you mean '{near}'? " if near else ""
        raise InvalidArgument(
            f"'{given[:100]}' is not a valid id", field=field, reason="ID_INVALID",
            remedy=f"{offer}An id holds {ID_RULE}.",
        )  # fmt: skip
    return given


def job(session: Session, given: str) -> str:
    """The name of a job; "" and `last` are the project's newest. Raises NotFound when there is none."""
    if given not in ("", LAST):
        return session.name("trainingJobs", given)
    request = training_api.ListTrainingJobsRequest(parent=session.parent, order_by="create_time desc")
    newest = next(pages(session.trainer.ListTrainingJobs, request, "training_jobs", 1), None)
    if newest is None:
        raise NotFound(
            f"{session.parent} has no training job", field="job", reason="NO_JOB",
            remedy="Start one with `fiveshot train start DATASET`.",
        )  # fmt: skip
    return str(newest.name)


def last_two_jobs(session: Session) -> list[str]:
    """Names of the project's two newest jobs, the older one first. Raises NotFound when there are not two."""
    request = training_api.ListTrainingJobsRequest(parent=session.parent, order_by="create_time desc")
    found = list(pages(session.trainer.ListTrainingJobs, request, "training_jobs", 2))
    if len(found) < 2:
        raise NotFound(
            f"{session.parent} has {'one training job' if found else 'no training job'}", field="job", reason="NO_JOB",
            remedy="Start another one with `fiveshot train start DATASET`, and compare the two.",
        )  # fmt: skip
    return [each.name for each in reversed(found)]


def epoch(session: Session, job_name: str, word: str) -> str:
    """The name of an epoch: a number, `recommended` (or `best`, or nothing), or `last`.

    Raises FailedPrecondition (NO_EPOCH, NO_RECOMMENDATION, EPOCH_NOT_FINISHED), NotFound (EPOCH_NOT_FOUND) for a number
    that the job has not, InvalidArgument for another word.
    """
    number = int(word) if word.isdecimal() and len(word) <= _MOST_DIGITS else None
    if number is None and word not in ("", LAST, *_RECOMMENDED):
        raise InvalidArgument(
            f"'{word}' is not an epoch", field="epoch", remedy="Give its number, or recommended, best or last."
        )
    request = training_api.ListEpochsRequest(parent=job_name)
    found = list(pages(session.trainer.ListEpochs, request, "epochs", 0))
    if number is not None:
        name = f"{job_name}/epochs/{number}"
        if all(each.name != name for each in found):
            raise _no_epoch(session, job_name, number, [int(output.short(each.name)) for each in found])
        return name
    if not found:
        raise FailedPrecondition(
            f"{output.short(job_name)} has no finished epoch yet", field="epoch", reason="NO_EPOCH",
            remedy=f"Follow it with `fiveshot train watch {output.short(job_name)}`.",
        )  # fmt: skip
    best = found[-1] if word == LAST else next((each for each in found if each.recommended), None)
    if best is None:
        raise FailedPrecondition(
            f"No epoch of {output.short(job_name)} is recommended", field="epoch", reason="NO_RECOMMENDATION",
            remedy="Give the number of an epoch, or last.",
        )  # fmt: skip
    return str(best.name)


def _no_epoch(session: Session, job_name: str, number: int, there: Sequence[int]) -> NotFound | FailedPrecondition:
    """there: the numbers of those that are finished, in order."""
    short = output.short(job_name)
    about = session.trainer.GetTrainingJob(training_api.GetTrainingJobRequest(name=job_name))
    if not about.HasField("end_time") and max(there, default=0) < number <= about.parameters.num_epochs:
        return FailedPrecondition(
            f"Epoch {number} of {short} is not finished", field="epoch", reason="EPOCH_NOT_FINISHED",
            remedy=f"Follow it with `fiveshot train watch {short}`.",
        )  # fmt: skip
    in_a_row = len(there) > 1 and list(there) == list(range(there[0], there[-1] + 1))
    numbers = f"{there[0]} to {there[-1]}" if in_a_row else ", ".join(map(str, there)) or "none that is finished"
    has = f"It has {numbers}: `fiveshot epochs list {short}`."
    return NotFound(f"{short} has no epoch {number}", field="epoch", reason="EPOCH_NOT_FOUND", remedy=has)


def job_and_epoch(session: Session, words: Sequence[str]) -> tuple[str, str]:
    """Names of job and epoch out of `[JOB] [EPOCH]`; one word that can be an epoch is one, and `JOB/EPOCH` or the name
    of an epoch are both. Raises InvalidArgument, and as `epoch` does."""
    if words and (joined := _JOINED.fullmatch(words[0])):
        words = (joined[1], joined[2], *words[1:])
    if len(words) > 2:
        raise InvalidArgument(f"'{words[2]}' is one word too many", field="epoch", remedy="Give [JOB] [EPOCH].")
    if len(words) == 1:
        words = ("", *words) if _EPOCH.fullmatch(words[0]) else (*words, "")
    given_job, given_epoch = words or ("", "")
    job_name = job(session, given_job)
    return job_name, epoch(session, job_name, given_epoch)


def image(session: Session, dataset: str, given: str) -> dataset_pb2.Image:
    """A picture of a dataset by id, full name or the name of its file, in any case and with or without its ending.

    Raises NotFound with the nearest names, InvalidArgument(IMAGE_AMBIGUOUS) when several files have the name.
    """
    parent = session.name("datasets", dataset)
    if given.startswith("projects/") or _ID.fullmatch(given):
        name = given if given.startswith("projects/") else f"{parent}/images/{given}"
        try:
            return session.dataset.GetImage(dataset_api.GetImageRequest(name=name))
        except NotFound:
            if given.startswith("projects/"):
                raise
    request = dataset_api.ListImagesRequest(parent=parent)
    images: list[dataset_pb2.Image] = list(pages(session.dataset.ListImages, request, "images", 0))
    typed = given.rsplit("/", 1)[-1]
    rules: tuple[Callable[[str], bool], ...] = (
        lambda name: name == typed,
        lambda name: name.casefold() == typed.casefold(),
        lambda name: name.rpartition(".")[0].casefold() == typed.rpartition(".")[0].casefold() != "",
        lambda name: name.rpartition(".")[0].casefold() == typed.casefold(),
    )
    for rule in rules:
        matching = [each for each in images if rule(each.file_name)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise InvalidArgument(
                f"{len(matching)} pictures are called {typed}", field="image", reason="IMAGE_AMBIGUOUS",
                remedy=f"Use one of the ids {', '.join(output.short(each.name) for each in matching)}.",
            )  # fmt: skip
    remedy = did_you_mean(typed, [each.file_name for each in images])
    raise NotFound(
        f"{output.short(parent)} has no picture {given}", field="image", reason="IMAGE_NOT_FOUND",
        remedy=remedy or f"`fiveshot dataset images {output.short(parent)}` lists them.",
    )  # fmt: skip


def images_to_change(session: Session, dataset: str, given: Sequence[str], *, change: bool) -> list[dataset_pb2.Image]:
    """The named pictures, each once; all of the dataset where none is named.

    change: whether something is to be done with them; then a dataset without one is a FailedPrecondition.
    """
    if given:
        return list({each.name: each for each in (image(session, dataset, one) for one in given)}.values())
    found = list(pages(session.dataset.ListImages, dataset_api.ListImagesRequest(parent=dataset), "images", 0))
    if change and not found:
        raise FailedPrecondition(
            f"{dataset} holds no image", field="dataset", reason="DATASET_EMPTY", remedy="Upload pictures first."
        )
    return found


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`Did you mean cat?`, or "" when nothing known is like it."""
    originals = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(given.casefold(), originals, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(originals[each] for each in near)}?" if near else ""


def no_such(what: str, given: str, known: Iterable[str], listing: str) -> NotFound:
    """That a thing of this machine is not there, with the nearest that is. listing: the command that lists them."""
    near = did_you_mean(given, known)
    return NotFound(f"There is no {what} '{given[:100]}'", remedy=f"{near} List them with `{listing}`.".strip())


def with_suggestion(session: Session, error: FiveshotError) -> FiveshotError:
    """A NotFound with the nearest names of what there is; any other error as it is."""
    missing = _MISSING.search(error.message) if isinstance(error, NotFound) else None
    if missing is None or "Did you mean" in error.remedy:
        return error
    collection, given = missing[1] or missing[2], missing[3]
    try:
        known = _known(session, collection)
    except FiveshotError:
        # The error to tell of is the first one.
        return error
    if given in known:
        # It is something below it that is not there.
        return error
    near = did_you_mean(given, known)
    remedy = f"{near} {error.remedy}" if near else f"{error.remedy} {_elsewhere(collection, given)}"
    return NotFound(
        error.message, reason=error.reason, remedy=remedy.strip(), metadata=error.metadata, violations=error.violations
    )


def _elsewhere(collection: str, identifier: str) -> str:
    """What to do about a name that is like none that there is."""
    if collection == "datasets":
        return f"Make it with `fiveshot dataset create {identifier}`, or see `fiveshot dataset list`."
    return f"See `fiveshot {_NOUNS.get(collection, 'base-models')} list`."


def _known(session: Session, collection: str) -> list[str]:
    return [output.short(name) for name in names_in(session, collection)]


def names_in(session: Session, collection: str, *, limit: int = 1000) -> list[str]:
    """Full names of what a collection holds, the newest first: `datasets`, `trainingJobs`, `models` and so on."""
    parent = session.parent
    if collection == "datasets":
        datasets = dataset_api.ListDatasetsRequest(parent=parent)
        return [each.name for each in pages(session.dataset.ListDatasets, datasets, "datasets", limit)]
    if collection == "trainingJobs":
        jobs = training_api.ListTrainingJobsRequest(parent=parent)
        return [each.name for each in pages(session.trainer.ListTrainingJobs, jobs, "training_jobs", limit)]
    if collection == "models":
        models = registry_api.ListModelsRequest(parent=parent)
        return [each.name for each in pages(session.registry.ListModels, models, "models", limit)]
    if collection == "webhooks":
        webhooks = notifier_api.ListWebhooksRequest(parent=parent)
        return [each.name for each in pages(session.notifier.ListWebhooks, webhooks, "webhooks", limit)]
    if collection == "tagJobs":
        tag_jobs = tagger_api.ListTagJobsRequest(parent=parent)
        return [each.name for each in pages(session.tagger.ListTagJobs, tag_jobs, "tag_jobs", limit)]
    if collection == "previewRequests":
        requests = training_api.ListPreviewRequestsRequest(parent=parent)
        return [each.name for each in pages(session.trainer.ListPreviewRequests, requests, "preview_requests", limit)]
    answer = session.trainer.ListBaseModels(training_api.ListBaseModelsRequest())
    own = training_api.ListOwnBaseModelsRequest(parent=parent)
    found = pages(session.trainer.ListOwnBaseModels, own, "base_models", limit)
    return [each.name for each in (*answer.base_models, *found)]
