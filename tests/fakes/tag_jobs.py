"""Tag jobs in memory, with the promises of the port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.chassis.errors import NotFound
from services.chassis.listing import memory
from services.chassis.listing.pages import Query
from services.chassis.names import project_of
from services.chassis.requests.keys import RequestKey
from services.tagger.models.jobs import ImageOutcome, JobState, TagJob, cancelled, retried
from services.tagger.ports import TAG_JOBS


@dataclass
class _Row:
    job: TagJob
    owner: str = ""
    owned_until: datetime | None = None


# In the class below `list` is the method of the port.
_Rows = list[_Row]


class FakeTagJobs:
    """A TagJobs without a database; every method is atomic because none of them waits. claims: how often one asked."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._requests: dict[tuple[str, str], tuple[str, str]] = {}
        self.claims = 0

    async def create(self, job: TagJob, key: RequestKey) -> TagJob:
        earlier = await self.recall(key)
        if earlier is not None:
            return earlier
        self._rows[job.name] = _Row(job)
        if key.request_id:
            self._requests[key.project, key.request_id] = (key.digest, job.name)
        return job

    async def recall(self, key: RequestKey) -> TagJob | None:
        known = self._requests.get((key.project, key.request_id))
        if known is None:
            return None
        key.check_same(known[0])
        return self._rows[known[1]].job

    async def get(self, name: str) -> TagJob:
        return self._row(name).job

    async def list(self, project: str, query: Query) -> tuple[list[TagJob], int]:
        mine = (row.job for row in self._rows.values() if project_of(row.job.name) == project)
        return memory.page(mine, query, TAG_JOBS)

    async def claim(self, owner: str, *, now: datetime, until: datetime) -> TagJob | None:
        self.claims += 1
        free = [
            row
            for row in self._rows.values()
            if row.job.state == JobState.QUEUED
            or (row.job.state == JobState.RUNNING and (row.owned_until is None or row.owned_until <= now))
        ]
        if not free:
            return None
        row = min(free, key=lambda row: (row.job.created_at, row.job.name))
        row.owner, row.owned_until = owner, until
        return self._change(row, replace(row.job, state=JobState.RUNNING))

    async def renew(self, owner: str, *, until: datetime) -> set[str]:
        mine = self._running_of(owner)
        for row in mine:
            row.owned_until = until
        return {row.job.name for row in mine}

    async def release(self, owner: str) -> None:
        for row in self._running_of(owner):
            row.owner, row.owned_until = "", None

    async def record(self, name: str, owner: str, outcome: ImageOutcome, *, now: datetime) -> bool:
        row = self._row(name)
        if row.owner != owner or row.job.state not in (JobState.RUNNING, JobState.CANCELLED):
            return False
        outcomes = tuple(outcome if old.image == outcome.image else old for old in row.job.outcomes)
        self._change(row, replace(row.job, outcomes=outcomes))
        return True

    async def end(self, name: str, owner: str, move: Callable[[TagJob], TagJob]) -> bool:
        row = self._row(name)
        if row.owner != owner or row.job.state != JobState.RUNNING:
            return False
        self._change(row, move(row.job))
        return True

    async def cancel(self, name: str, *, now: datetime) -> TagJob:
        row = self._row(name)
        return self._change(row, cancelled(row.job, now))

    async def retry(self, name: str) -> TagJob:
        row = self._row(name)
        job = self._change(row, retried(row.job))
        row.owner, row.owned_until = "", None
        return job

    async def delete(self, name: str, check: Callable[[TagJob], None]) -> None:
        check(self._row(name).job)
        del self._rows[name]
        self._requests = {key: value for key, value in self._requests.items() if value[1] != name}

    async def forget(self, *, ended_before: datetime) -> int:
        old = {name for name, row in self._rows.items() if row.job.ended_at and row.job.ended_at < ended_before}
        for name in old:
            del self._rows[name]
        self._requests = {key: value for key, value in self._requests.items() if value[1] not in old}
        return len(old)

    def _row(self, name: str) -> _Row:
        if name not in self._rows:
            raise NotFound(f"There is no tag job {name}", field="name", reason="TAG_JOB_NOT_FOUND")
        return self._rows[name]

    def _running_of(self, owner: str) -> _Rows:
        return [row for row in self._rows.values() if row.owner == owner and row.job.state == JobState.RUNNING]

    def _change(self, row: _Row, job: TagJob) -> TagJob:
        row.job = replace(job, revision=row.job.revision + 1)
        return row.job
