"""The verbs on tag jobs: start, read, list, watch, cancel, retry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis import request_context
from services.chassis.errors import InvalidArgument
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.names import ResourceName, new_id, project_of
from services.chassis.requests.keys import RequestKey, digest
from services.chassis.signals import Signals, wait
from services.tagger.models.jobs import ImageOutcome, ImageState, TagJob, check_delete
from services.tagger.models.tags import TagOptions
from services.tagger.ports import TAG_JOBS, Datasets, TagJobs
from services.tagger.use_cases.matching_images import matching_images
from services.tagger.use_cases.taggers import Taggers, note

PROJECT = ResourceName("projects/{project}")
# Other processes change jobs too; this is how late a watcher may learn of it.
_POLL_S = 1.0
# A watcher hears at most four times a second, however fast images are done.
_PACE_S = 0.25


@dataclass(frozen=True)
class StartRequest:
    """What TagImages asks for. dataset, project: checked names. filter: as in ListImages."""

    project: str
    dataset: str
    options: TagOptions
    filter: str = ""
    request_id: str = ""
    dry_run: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


class TagJobVerbs:
    """Everything that callers do with tag jobs. Running them is the runner's."""

    def __init__(
        self,
        jobs: TagJobs,
        datasets: Datasets,
        taggers: Taggers,
        changes: Signals,
        now: Callable[[], datetime],
        tokens: PageTokens,
    ) -> None:
        self._jobs = jobs
        self._datasets = datasets
        self._taggers = taggers
        self._changes = changes
        self._now = now
        self._tokens = tokens

    async def start(self, request: StartRequest) -> TagJob:
        """Stores a job over the images that match now, for the runner to take.

        Raises NotFound (dataset, tagger), FailedPrecondition when there is no image, InvalidArgument.
        """
        check_project(request.dataset, request.project)
        await self._taggers.refresh()
        info = self._taggers.check(request.options)
        options = request.options
        # Requests of before there were captioners and labels must be recognised.
        captions = (options.captioner, options.caption) if options.captioner else ()
        asked = (request.dataset, options, request.filter, request.dry_run)
        content = digest(asked, *captions, *sorted(request.labels.items()))
        key = RequestKey(request.project, "TagImages", request.request_id, content)
        earlier = await self._jobs.recall(key)
        if earlier is not None:
            return earlier
        images = [image.name for image in await matching_images(self._datasets, request.dataset, request.filter)]
        caller = request_context.current()
        job = TagJob(
            name=f"projects/{request.project}/tagJobs/{new_id('tag')}",
            dataset=request.dataset,
            options=request.options,
            created_at=self._now(),
            dry_run=request.dry_run,
            note=note(info),
            request_id=caller.request_id,
            principal=caller.principal,
            labels=request.labels,
            outcomes=tuple(ImageOutcome(image, ImageState.PENDING) for image in images),
        )
        stored = await self._jobs.create(job, key)
        self._changes.notify(stored.name)
        return stored

    async def get(self, name: str) -> TagJob:
        """Raises NotFound."""
        return await self._jobs.get(name)

    async def page(self, request: ListRequest) -> tuple[list[TagJob], str, int]:
        """A page, newest first unless asked otherwise, the token of the next page, and how many match in all.

        Raises InvalidArgument.
        """
        project = PROJECT.parse(request.parent, field="parent")["project"]
        asked = TAG_JOBS.open(request, self._tokens)
        found, total = await self._jobs.list(project, asked.query)
        return *asked.answer(found), total

    async def watch(self, name: str) -> AsyncIterator[TagJob]:
        """The job now, and again after every change, until it has ended. Raises NotFound."""
        seen = 0
        while True:
            changed = self._changes.next(name)
            job = await self._jobs.get(name)
            told = time.monotonic()
            if job.revision != seen:
                seen = job.revision
                yield job
            if job.state.ended:
                return
            await wait(changed, _POLL_S)
            await asyncio.sleep(max(0.0, told + _PACE_S - time.monotonic()))

    async def cancel(self, name: str) -> TagJob:
        """Stops a job. An image that is being written at this moment is finished. Raises FailedPrecondition."""
        job = await self._jobs.cancel(name, now=self._now())
        self._changes.notify(name)
        return job

    async def retry(self, name: str) -> TagJob:
        """Queues an ended job again for its failed images. Raises FailedPrecondition."""
        job = await self._jobs.retry(name)
        self._changes.notify(name)
        return job

    async def delete(self, name: str, *, etag: str) -> None:
        """Deletes an ended job; what it tagged stays. Raises NotFound, Aborted, FailedPrecondition."""
        await self._jobs.delete(name, lambda job: check_delete(job, etag))
        self._changes.notify(name)


def check_project(dataset: str, project: str) -> None:
    """Raises InvalidArgument(reason=DATASET_ELSEWHERE)."""
    if project_of(dataset) != project:
        raise InvalidArgument(
            f"{dataset} does not lie in projects/{project}",
            field="dataset",
            reason="DATASET_ELSEWHERE",
            remedy="Use the dataset's own project as parent.",
        )
