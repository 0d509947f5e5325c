"""Tags the images of one job: read, decode, score, merge, write. One image's failure stops nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TypeVar

from services.chassis.errors import Aborted, DeadlineExceeded, DomainError, Internal, Unavailable
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.chassis.signals import Interrupted, unless
from services.tagger.models import (
    ImageOutcome,
    ImageRecord,
    ImageState,
    Picture,
    Score,
    Scores,
    Tag,
    TagJob,
    project_of,
)
from services.tagger.ports import Datasets, PictureDecoder, Tagger, TagJobs
from services.tagger.use_cases.merging import merge, to_skip
from services.tagger.use_cases.scoring import predictions
from services.tagger.use_cases.taggers import Taggers

log = get_logger(__name__)
T = TypeVar("T")

_WRITE_ATTEMPTS = 8


class Stopped(Exception):
    """The job was cancelled or taken over while an image was under way; the image has no outcome."""


@dataclass(frozen=True)
class JobRun:
    """One run of a job by one process. leading: trigger word and subject of the dataset, those that it has.

    batches: image names as the tagger likes to get them. stop: set from outside.
    """

    job: TagJob
    owner: str
    tagger: Tagger
    leading: tuple[str, ...]
    batches: tuple[tuple[str, ...], ...]
    stop: asyncio.Event


class ImageTagger:
    """Tags images of claimed jobs. patience_s: how long each call waits for a dataset service that is away."""

    def __init__(
        self,
        jobs: TagJobs,
        datasets: Datasets,
        taggers: Taggers,
        decoder: PictureDecoder,
        executor: Executor,
        *,
        patience_s: float = 60.0,
    ) -> None:
        self._jobs = jobs
        self._datasets = datasets
        self._taggers = taggers
        self._decoder = decoder
        self._executor = executor
        self._patience_s = patience_s

    async def prepare(self, job: TagJob, owner: str, stop: asyncio.Event) -> JobRun | None:
        """Reads what all images share. None when it was stopped; raises what makes the whole job impossible."""
        tagger = self._taggers.get(job.options.tagger)
        try:
            dataset = await self._patient(stop, lambda: self._datasets.get_dataset(job.dataset))
        except Stopped:
            return None
        pending = [outcome.image for outcome in job.outcomes if outcome.state == ImageState.PENDING]
        size = tagger.describe().batch_size
        batches = tuple(tuple(pending[start : start + size]) for start in range(0, len(pending), size))
        leading = tuple(word for word in (dataset.trigger_word, dataset.subject) if word)
        return JobRun(job, owner, tagger, leading, batches, stop)

    async def tag(self, run: JobRun, batch: Sequence[str]) -> None:
        """Tags a batch and records an outcome for each image, unless the run is stopped before."""
        read = await asyncio.gather(*(self._guarded(run, image, self._read(run, image)) for image in batch))
        todo = [work for work in read if isinstance(work, _Work)]
        if not todo or run.stop.is_set():
            return
        for work, scores in zip(todo, await self._infer(run, [work.picture for work in todo]), strict=True):
            await self._guarded(run, work.record.name, self._finish(run, work.record, scores))

    async def _guarded(self, run: JobRun, image: str, step: Awaitable[_Work | None]) -> _Work | None:
        """The step, its failure turned into the image's outcome. A lost database is no failure of the image."""
        try:
            return await step
        except Stopped:
            return None
        except _NotRecorded as error:
            raise error.reason from error
        except DomainError as error:
            failure = error
        except Exception as error:
            log.error("image_tagging_crashed", image=image, exc_info=error)
            failure = Internal(
                "The tagger failed in a way that it did not expect",
                remedy="Retry the job's failed images; if it persists, report the request id to the operator.",
            )
        log.info("image_not_tagged", image=image, reason=failure.reason)
        await self._jobs.record(run.job.name, run.owner, ImageOutcome(image, ImageState.FAILED, str(failure)))
        return None

    async def _read(self, run: JobRun, image: str) -> _Work | None:
        record = await self._patient(run.stop, lambda: self._datasets.get_image(image))
        if to_skip(record.tags, run.job.options.mode):
            await self._record(run, ImageOutcome(image, ImageState.SKIPPED))
            return None
        data = await self._patient(run.stop, lambda: self._datasets.read_original(image))
        picture = await self._decoder.decode(data, field="image", owner=project_of(run.job.dataset))
        return _Work(record, picture)

    async def _infer(self, run: JobRun, pictures: list[Picture]) -> list[Scores]:
        """A backend that raises instead of reporting per image fails the batch's images, not the process."""
        try:
            return await self._in_thread(lambda: run.tagger.infer(pictures))
        except Exception as error:
            log.error("tagger_crashed", tagger=run.tagger.describe().id, exc_info=error)
            crash = Internal("The tagger's model failed on this picture", remedy="Try another tagger.")
            return [Scores(error=crash) for _ in pictures]

    async def _finish(self, run: JobRun, record: ImageRecord, scores: Scores) -> None:
        if scores.error is not None:
            raise scores.error
        kept = predictions(scores.scores, run.tagger.describe(), run.job.options)
        outcome = await self._write(run, record, kept)
        await self._record(run, replace(outcome, outside_domain=scores.outside_domain))

    async def _write(self, run: JobRun, record: ImageRecord, kept: Sequence[Score]) -> ImageOutcome:
        """Merges and writes. When the image changed in between, the newer tags are read and merged again."""
        intended: tuple[Tag, ...] | None = None
        image = record.name
        done = ImageOutcome(image, ImageState.SKIPPED)
        for attempt in range(_WRITE_ATTEMPTS):
            if attempt:
                record = await self._patient(run.stop, lambda: self._datasets.get_image(image))
            if record.tags == intended:
                # The write arrived and only its answer was lost.
                return done
            merged = merge(record.tags, kept, run.job.options, run.leading)
            if not merged.changed:
                return ImageOutcome(image, ImageState.SKIPPED)
            intended = merged.tags
            done = ImageOutcome(image, ImageState.TAGGED, "", merged.added, merged.removed)
            if run.job.dry_run:
                return done
            if run.stop.is_set():
                raise Stopped
            if await self._written(record, merged.tags):
                return done
        raise Aborted(
            "The image kept changing while it was tagged", reason="IMAGE_BUSY", remedy="Retry the failed images."
        )

    async def _written(self, record: ImageRecord, tags: Sequence[Tag]) -> bool:
        """False when the image has changed, or when nobody knows whether the write arrived: read again then."""
        try:
            await self._datasets.write_tags(record.name, tags, record.etag)
        except (Aborted, Unavailable, DeadlineExceeded):
            return False
        return True

    async def _record(self, run: JobRun, outcome: ImageOutcome) -> None:
        try:
            await self._jobs.record(run.job.name, run.owner, outcome)
        except Unavailable as error:
            raise _NotRecorded(error) from error

    async def _patient(self, stop: asyncio.Event, call: Callable[[], Awaitable[T]]) -> T:
        """The call, repeated while the dataset service is away. Raises Stopped."""
        try:
            return await unless(stop, patiently(call, what="dataset service", patience_s=self._patience_s))
        except Interrupted as error:
            raise Stopped from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


@dataclass(frozen=True)
class _Work:
    """An image that is read and waits for its scores."""

    record: ImageRecord
    picture: Picture


class _NotRecorded(Exception):
    """The job's own database is away: not the image's failure but a reason to leave the job to a later claim."""

    def __init__(self, reason: Unavailable) -> None:
        super().__init__(str(reason))
        self.reason = reason
