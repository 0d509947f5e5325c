"""Runs tag jobs: claims them one after the other, keeps hold of them, and stops when they are cancelled or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis import request_context
from services.chassis.errors import DomainError, Unavailable
from services.chassis.logging import get_logger
from services.chassis.names import project_of
from services.chassis.patience import every
from services.chassis.request_context import RequestContext
from services.chassis.signals import Signals, wait
from services.tagger.models.jobs import ImageState, TagJob, completed, given_up
from services.tagger.ports import KeptScores, TagJobs
from services.tagger.use_cases.image_access import JobRun
from services.tagger.use_cases.tag_images import ImageTagger

log = get_logger(__name__)

_PACE_S = 0.2
_FORGET_S = 3600.0
UNFORESEEN = "The tagger failed in a way that it did not expect. Retry; if it persists, name the job to the operator."


@dataclass(frozen=True)
class RunnerLimits:
    """parallel_jobs: jobs at once; parallel_images: images at once within a job. lease: how long a silent process
    keeps its jobs. keep: how long ended jobs, and scores that nobody uses, are kept. poll_s: how late work of another
    process's making is seen.
    """

    parallel_jobs: int = 2
    parallel_images: int = 2
    lease: timedelta = timedelta(seconds=15)
    keep: timedelta = timedelta(days=30)
    poll_s: float = 1.0


class TagJobRunner:
    """A background task of the process. After a restart it takes up what was left unfinished."""

    def __init__(
        self,
        jobs: TagJobs,
        images: ImageTagger,
        kept: KeptScores,
        changes: Signals,
        now: Callable[[], datetime],
        *,
        owner: str,
        limits: RunnerLimits,
        around: Callable[[TagJob], AbstractContextManager[None]] = lambda job: nullcontext(),
    ) -> None:
        """around: is entered while a job is worked on."""
        self._jobs = jobs
        self._images = images
        self._kept = kept
        self._changes = changes
        self._now = now
        self._owner = owner
        self._limits = limits
        self._around = around
        self._stops: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Until it is cancelled; then its jobs are given back, so that another process goes on at once."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_hold())
                group.create_task(every(_FORGET_S, self._forget_old, what="forgetting", at_once=True))
                for _ in range(self._limits.parallel_jobs):
                    group.create_task(self._take_jobs())
        finally:
            await asyncio.shield(self._give_back())

    async def _take_jobs(self) -> None:
        while True:
            changed = self._changes.next()
            job = await self._claim()
            if job is None:
                await wait(changed, self._limits.poll_s)
            else:
                await self._run_claimed(job)

    async def _claim(self) -> TagJob | None:
        now = self._now()
        try:
            return await self._jobs.claim(self._owner, now=now, until=now + self._limits.lease)
        except Unavailable as error:
            log.warning("tag_job_claim_failed", reason=error.reason)
            return None

    async def _run_claimed(self, job: TagJob) -> None:
        """A database that goes away in the middle leaves the job to whoever claims it next, which may be us.

        What nobody foresaw ends this job and no other one.
        """
        await self._ended_here(job.name)
        stop = self._stops[job.name] = asyncio.Event()
        caller = RequestContext(
            request_id=job.request_id, projects=frozenset({project_of(job.name)}), principal=job.principal
        )
        log.info("tag_job_started", tag_job=job.name, images=job.count(ImageState.PENDING))
        self._changes.notify(job.name)
        try:
            with request_context.use(caller), self._around(job):
                await self._run(job, stop)
        except* Unavailable:
            log.warning("tag_job_interrupted", tag_job=job.name)
            await asyncio.sleep(self._limits.poll_s)
        except* Exception as crashed:
            log.error("tag_job_crashed", tag_job=job.name, exc_info=crashed)
            await self._give_up(job, UNFORESEEN)
        finally:
            del self._stops[job.name]
            self._changes.notify(job.name)

    async def _ended_here(self, name: str) -> None:
        """Waits for an earlier run of the job by this process, which has not noticed yet that it lost it: it was
        cancelled and retried, or not renewed in time."""
        while earlier := self._stops.get(name):
            earlier.set()
            await wait(self._changes.next(name), self._limits.poll_s)

    async def _give_up(self, job: TagJob, message: str) -> None:
        try:
            await self._jobs.end(job.name, self._owner, lambda current: given_up(current, message, self._now()))
        except DomainError as error:
            log.warning("tag_job_left", tag_job=job.name, reason=error.reason)

    async def _run(self, job: TagJob, stop: asyncio.Event) -> None:
        try:
            run = await self._images.prepare(job, self._owner, stop)
        except DomainError as error:
            log.warning("tag_job_given_up", tag_job=job.name, reason=error.reason)
            message = str(error)
            await self._jobs.end(job.name, self._owner, lambda current: given_up(current, message, self._now()))
            return
        if run is None:
            return
        await self._work(run)
        if stop.is_set():
            log.info("tag_job_stopped", tag_job=job.name)
            return
        if await self._jobs.end(job.name, self._owner, lambda current: completed(current, self._now())):
            log.info("tag_job_ended", tag_job=job.name)

    async def _work(self, run: JobRun) -> None:
        queue = iter(run.batches)

        async def worker() -> None:
            for batch in queue:
                if run.stop.is_set():
                    return
                await self._images.tag(run, batch)
                self._changes.notify(run.job.name)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.parallel_images):
                group.create_task(worker())

    async def _keep_hold(self) -> None:
        """Renews the lease and tells running jobs to stop that were cancelled or taken over."""
        while True:
            changed = self._changes.next()
            running = dict(self._stops)
            if running:
                try:
                    held = await self._jobs.renew(self._owner, until=self._now() + self._limits.lease)
                except Unavailable as error:
                    log.warning("tag_job_lease_not_renewed", reason=error.reason)
                else:
                    for name in running.keys() - held:
                        running[name].set()
            await wait(changed, min(self._limits.poll_s, self._limits.lease.total_seconds() / 3))
            # Every finished image rings here as well; a few renewals a second are enough.
            await asyncio.sleep(_PACE_S)

    async def _forget_old(self) -> None:
        before = self._now() - self._limits.keep
        count = await self._jobs.forget(ended_before=before)
        scores = await self._kept.forget_unused(before)
        log.info("tag_jobs_forgotten", count=count, scores=scores)

    async def _give_back(self) -> None:
        try:
            await self._jobs.release(self._owner)
        except Unavailable as error:
            log.warning("tag_jobs_not_released", reason=error.reason)
