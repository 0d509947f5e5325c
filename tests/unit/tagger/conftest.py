"""The tagger's use cases over fakes, with a runner that works in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.listing.pages import PageTokens
from services.chassis.signals import Signals
from services.tagger.models.jobs import JobState, TagJob
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.image_access import ImageAccess
from services.tagger.use_cases.run_tag_jobs import RunnerLimits, TagJobRunner
from services.tagger.use_cases.tag_images import ImageTagger
from services.tagger.use_cases.tag_jobs import StartRequest, TagJobVerbs
from services.tagger.use_cases.taggers import Taggers
from tests.fakes.tag_jobs import FakeTagJobs
from tests.fakes.tagger_world import (
    DATASET,
    FakeDatasets,
    FakeDecoder,
    FakeKeptScores,
    ScriptedCaptioner,
    ScriptedTagger,
    score,
)
from tests.fixtures.patience import within


@dataclass
class World:
    """Everything around one test, with a clock that only the test moves."""

    executor: ThreadPoolExecutor
    tagger: ScriptedTagger = field(default_factory=lambda: ScriptedTagger(score("cat"), score("tree", 0.5)))
    captioner: ScriptedCaptioner = field(default_factory=ScriptedCaptioner)
    kept: FakeKeptScores = field(default_factory=FakeKeptScores)
    datasets: FakeDatasets = field(default_factory=FakeDatasets)
    jobs: FakeTagJobs = field(default_factory=FakeTagJobs)
    changes: Signals = field(default_factory=Signals)
    now: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    patience_s: float = 0.0

    @property
    def taggers(self) -> Taggers:
        return Taggers([self.tagger, self.captioner])

    @property
    def verbs(self) -> TagJobVerbs:
        return TagJobVerbs(self.jobs, self.datasets, self.taggers, self.changes, lambda: self.now, PageTokens())

    def runner(self, owner: str = "me", **limits: object) -> TagJobRunner:
        access = ImageAccess(self.datasets, FakeDecoder(), patience_s=self.patience_s)
        images = ImageTagger(self.jobs, access, self.taggers, self.kept, self.executor, lambda: self.now)
        chosen = RunnerLimits(**{"poll_s": 0.02, "lease": timedelta(seconds=15), **limits})  # type: ignore[arg-type]
        return TagJobRunner(self.jobs, images, self.kept, self.changes, lambda: self.now, owner=owner, limits=chosen)

    async def start(self, options: TagOptions | None = None, **request: object) -> TagJob:
        asked = StartRequest("acme", DATASET, options or TagOptions(), **request)  # type: ignore[arg-type]
        return await self.verbs.start(asked)

    @asynccontextmanager
    async def running(self, owner: str = "me", **limits: object) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner(owner, **limits).run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def finished(self, job: TagJob) -> TagJob:
        """The job once it has ended."""
        async with within():
            async for state in self.verbs.watch(job.name):
                job = state
        assert job.state.ended
        return job

    async def run(self, options: TagOptions | None = None, **request: object) -> TagJob:
        """Starts a job and lets a runner finish it."""
        job = await self.start(options, **request)
        async with self.running():
            return await self.finished(job)

    async def until(self, job: TagJob, state: JobState) -> TagJob:
        """The job once it is in a state."""
        async with within():
            async for now in self.verbs.watch(job.name):
                if now.state == state:
                    return now
        raise AssertionError(f"the job ended without being {state}")


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(2) as executor:
        yield World(executor)
