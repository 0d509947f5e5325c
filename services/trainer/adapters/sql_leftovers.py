"""What jobs left behind whose time is over, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, false, or_, select

from services.chassis.sql import Database
from services.trainer.adapters.sql_tables import epochs, jobs
from services.trainer.models.job import JobState
from services.trainer.models.lifetimes import Kind, Leftover, Lifetimes

_job = jobs.c
_UNSUCCESSFUL = (JobState.FAILED.value, JobState.CANCELLED.value)


class SqlLeftovers:
    """Implements `ports.Leftovers`. Reads so many rows at a time, so that what is removed meanwhile is no matter."""

    def __init__(self, db: Database, *, batch: int = 200) -> None:
        self._db = db
        self._batch = batch

    async def due(self, lifetimes: Lifetimes, now: datetime, *, project: str = "") -> AsyncIterator[Leftover]:
        own = [_job.project == project] if project else []
        due = _jobs_due(lifetimes, now)
        after = ""
        while batch := await self._jobs(after, due, *own):
            for row in batch:
                yield row
            after = batch[-1].job
        if lifetimes.epochs is None:
            return
        last = ("", 0)
        old = and_(_ended(), _job.end_time <= now - lifetimes.epochs, ~due)
        while found := await self._epochs(last, old, *own):
            for row in found:
                yield row
            last = (found[-1].job, found[-1].number)

    async def _jobs(self, after: str, *which: ColumnElement[bool]) -> Sequence[Leftover]:
        chosen = select(_job.name, _job.project, _job.state, _job.end_time).where(_job.name > after, *which)
        async with self._db.connect() as conn:
            rows = (await conn.execute(chosen.order_by(_job.name).limit(self._batch))).mappings().all()
            names = [row["name"] for row in rows]
            files = await conn.execute(
                select(epochs.c.job, epochs.c.files, epochs.c.checkpoint).where(epochs.c.job.in_(names))
            )
            sizes: dict[str, int] = {}
            for row in files:
                sizes[row.job] = sizes.get(row.job, 0) + _size(row.files, row.checkpoint)
        return [_leftover(row, _kind(row["state"]), 0, sizes.get(row["name"], 0)) for row in rows]

    async def _epochs(self, last: tuple[str, int], *which: ColumnElement[bool]) -> Sequence[Leftover]:
        epoch = epochs.c
        later = or_(epoch.job > last[0], and_(epoch.job == last[0], epoch.number > last[1]))
        pinned = or_(epoch.number == 0, epoch.number == _job.epochs_completed, epoch.number == _job.recommended_epoch)
        chosen = (
            select(_job.name, _job.project, _job.end_time, epoch.number, epoch.files, epoch.checkpoint)
            .join_from(epochs, jobs, epoch.job == _job.name)
            .where(later, ~pinned, *which)
            .order_by(epoch.job, epoch.number)
            .limit(self._batch)
        )
        async with self._db.connect() as conn:
            rows = (await conn.execute(chosen)).mappings().all()
        return [_leftover(row, Kind.EPOCHS, row["number"], _size(row["files"], row["checkpoint"])) for row in rows]


def _ended() -> ColumnElement[bool]:
    return _job.end_time.is_not(None)


def _jobs_due(lifetimes: Lifetimes, now: datetime) -> ColumnElement[bool]:
    found: ColumnElement[bool] = false()
    if lifetimes.unsuccessful_jobs is not None:
        ended = _job.end_time <= now - lifetimes.unsuccessful_jobs
        found = or_(found, and_(_job.state.in_(_UNSUCCESSFUL), ended))
    if lifetimes.successful_jobs is not None:
        ended = _job.end_time <= now - lifetimes.successful_jobs
        found = or_(found, and_(_job.state == JobState.SUCCEEDED.value, ended))
    return and_(_ended(), found)


def _kind(state: str) -> Kind:
    return Kind.UNSUCCESSFUL_JOBS if state in _UNSUCCESSFUL else Kind.SUCCESSFUL_JOBS


def _leftover(row: RowMapping, kind: Kind, number: int, size_bytes: int) -> Leftover:
    return Leftover(kind, row["project"], row["name"], number, size_bytes, row["end_time"])


def _size(*files: Iterable[Mapping[str, Any]]) -> int:
    return sum(int(file["size_bytes"]) for some in files for file in some)
