"""Handles the images of one job: read, decode, score, merge, write; or caption. One failure stops nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from services.chassis.errors import DomainError, Internal, Unavailable
from services.chassis.logging import get_logger
from services.tagger.models.jobs import ImageOutcome, ImageState, TagJob
from services.tagger.models.pictures import Picture, Score, Scores
from services.tagger.models.tags import ImageRecord, Seen, Tag
from services.tagger.ports import KeptScores, Tagger, TagJobs, TextFinder
from services.tagger.use_cases.caption_images import caption_image
from services.tagger.use_cases.image_access import ImageAccess, JobRun, Stopped
from services.tagger.use_cases.kept_scores import rounded, suffice, worth_keeping
from services.tagger.use_cases.merging import merge, to_skip
from services.tagger.use_cases.scoring import predictions
from services.tagger.use_cases.taggers import Taggers

log = get_logger(__name__)
T = TypeVar("T")


class ImageTagger:
    """Handles images of claimed jobs. kept: scores of earlier jobs, which spare the model. text: None for no look."""

    def __init__(
        self,
        jobs: TagJobs,
        access: ImageAccess,
        taggers: Taggers,
        kept: KeptScores,
        executor: Executor,
        now: Callable[[], datetime],
        text: TextFinder | None = None,
    ) -> None:
        self._jobs = jobs
        self._access = access
        self._taggers = taggers
        self._kept = kept
        self._executor = executor
        self._now = now
        self._text = text

    async def prepare(self, job: TagJob, owner: str, stop: asyncio.Event) -> JobRun | None:
        """Reads what all images share. None when it was stopped; raises what makes the whole job impossible."""
        await self._taggers.refresh()
        options = job.options
        captioner = self._taggers.captioner(options.captioner) if options.captioner else None
        tagger = None if captioner else self._taggers.get(options.tagger)
        try:
            dataset = await self._access.patient(stop, lambda: self._access.datasets.get_dataset(job.dataset))
        except Stopped:
            return None
        pending = [outcome.image for outcome in job.outcomes if outcome.state == ImageState.PENDING]
        size = (captioner or self._taggers.get(options.tagger)).describe().batch_size
        batches = tuple(tuple(pending[start : start + size]) for start in range(0, len(pending), size))
        calls = Counter({outcome.image: outcome.calls for outcome in job.outcomes})
        return JobRun(job, owner, tagger, captioner, dataset, batches, stop, calls)

    async def tag(self, run: JobRun, batch: Sequence[str]) -> None:
        """Handles a batch and records an outcome for each image, unless the run is stopped before."""
        if run.tagger is None:
            await asyncio.gather(*(self._guarded(run, image, self._caption(run, image)) for image in batch))
            return
        kept = await self._kept_scores(run, run.tagger, batch)
        read = await asyncio.gather(
            *(self._guarded(run, image, self._read(run, image, kept.get(image))) for image in batch)
        )
        todo = [work for work in read if isinstance(work, _Work)]
        if not todo or run.stop.is_set():
            return
        for work, scores in zip(todo, await self._infer(run.tagger, [work.inside for work in todo]), strict=True):
            await self._guarded(run, work.record.name, self._scored(run, run.tagger, work, scores))

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
        outcome = ImageOutcome(image, ImageState.FAILED, str(failure), calls=run.calls[image])
        await self._jobs.record(run.job.name, run.owner, outcome, now=self._now())
        return None

    async def _caption(self, run: JobRun, image: str) -> None:
        await self._record(run, await caption_image(self._access, run, image))

    async def _kept_scores(self, run: JobRun, tagger: Tagger, batch: Sequence[str]) -> dict[str, Scores]:
        info = tagger.describe()
        if not suffice(info, run.job.options):
            return {}
        return await self._kept.of(batch, info.fingerprint, self._now())

    async def _read(self, run: JobRun, image: str, kept: Scores | None) -> _Work | None:
        """None when the image is done: it is left alone, or its scores were kept."""
        record = await self._access.record(run, image)
        if to_skip(record.tags, run.job.options.mode):
            await self._record(run, ImageOutcome(image, ImageState.SKIPPED))
            return None
        if kept is not None and not self._unseen(run, record):
            assert run.tagger is not None
            await self._finish(run, run.tagger, record, kept, Seen(), rescored=True)
            return None
        return _Work(record, await self._access.picture(run, image))

    async def _infer(self, tagger: Tagger, pictures: list[Picture]) -> list[Scores]:
        """A backend that raises instead of reporting per image fails the batch's images, not the process."""
        try:
            return await self._in_thread(lambda: tagger.infer(pictures))
        except DomainError as error:
            return [Scores(error=error) for _ in pictures]
        except Exception as error:
            log.error("tagger_crashed", tagger=tagger.describe().id, exc_info=error)
            crash = Internal("The tagger's model failed on this picture", remedy="Try another tagger.")
            return [Scores(error=crash) for _ in pictures]

    async def _scored(self, run: JobRun, tagger: Tagger, work: _Work, scores: Scores) -> None:
        if scores.error is not None:
            raise scores.error
        record, scores = work.record, rounded(scores)
        try:
            await self._kept.keep(record.name, tagger.describe().fingerprint, worth_keeping(scores), self._now())
        except Unavailable as error:
            log.warning("scores_not_kept", reason=error.reason)
        await self._finish(run, tagger, record, scores, await self._in_thread(lambda: self._seen(work)))

    def _unseen(self, run: JobRun, record: ImageRecord) -> bool:
        """Whether scores were kept of it, as by a dry run, and nothing else that is seen in it was."""
        finder = self._taggers.finding_features()
        return finder is not None and not run.job.dry_run and record.features_model != finder.describe().model_sha256

    def _seen(self, work: _Work) -> Seen:
        finder, inside = self._taggers.finding_features(), work.record.content_area or (0.0, 0.0, 1.0, 1.0)
        return Seen(
            tuple(self._text.find_text(work.picture)) if self._text else None,
            finder.find_features(work.picture, inside) if finder else None,
        )

    async def _finish(
        self,
        run: JobRun,
        tagger: Tagger,
        record: ImageRecord,
        scores: Scores,
        seen: Seen,
        *,
        rescored: bool = False,
    ) -> None:
        kept = predictions(scores.scores, tagger.describe(), run.job.options)
        outcome = await self._write(run, record, kept, seen)
        await self._record(run, replace(outcome, outside_domain=scores.outside_domain, rescored=rescored))

    async def _write(self, run: JobRun, record: ImageRecord, kept: Sequence[Score], seen: Seen) -> ImageOutcome:
        """Merges and writes. When the image changed in between, the newer tags are read and merged again."""
        intended: tuple[Tag, ...] | None = None
        done = ImageOutcome(record.name, ImageState.SKIPPED)

        def change(now: ImageRecord) -> Callable[[], Awaitable[object]] | None:
            nonlocal intended, done
            if now.tags == intended:
                # The write arrived and only its answer was lost.
                return None
            merged = merge(now.tags, kept, run.job.options, run.dataset.words)
            new = seen.features is not None or seen.text_areas not in (None, now.text_areas)
            done = ImageOutcome(now.name, ImageState.SKIPPED)
            if merged.changed:
                done = ImageOutcome(now.name, ImageState.TAGGED, "", merged.added, merged.removed)
            if run.job.dry_run or not (merged.changed or new):
                return None
            intended = merged.tags
            return lambda: self._access.datasets.write_tags(now.name, merged.tags, now.etag, seen)

        await self._access.write(run, record, change)
        return done

    async def _record(self, run: JobRun, outcome: ImageOutcome) -> None:
        try:
            await self._jobs.record(run.job.name, run.owner, outcome, now=self._now())
        except Unavailable as error:
            raise _NotRecorded(error) from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


@dataclass(frozen=True)
class _Work:
    """An image that is read and waits for its scores."""

    record: ImageRecord
    picture: Picture

    @property
    def inside(self) -> Picture:
        """What is tagged. Not the crop: scores are kept, and another crop would need others."""
        return self.picture.part(self.record.content_area)


class _NotRecorded(Exception):
    """The job's own database is away: not the image's failure but a reason to leave the job to a later claim."""

    def __init__(self, reason: Unavailable) -> None:
        super().__init__(str(reason))
        self.reason = reason
