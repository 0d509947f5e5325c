"""Heartbeats on PostgreSQL: those that come within a moment are read by one statement and written by another.

A heartbeat is most of what the trainer does, and nearly all that it costs is its way to the database. What it does is
decided job by job by the same pure moves as ever; a job that somebody else has written meanwhile is left as it is, and
its heartbeat is made again alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, RowMapping, Select, Table, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from services.chassis.outbox import OutboxEvent
from services.chassis.sql import Database
from services.chassis.together import Together
from services.trainer.adapters import sql_metrics
from services.trainer.adapters.sql_events import job_event
from services.trainer.adapters.sql_rows import changed_columns, job_from_row
from services.trainer.adapters.sql_tables import events, jobs, metric_chunks
from services.trainer.adapters.sql_writes import VERSION
from services.trainer.models.change import Change
from services.trainer.models.deleting import job_not_found
from services.trainer.ports import Move

PAUSE_S = 0.05
"""From one reading to the next, at the least. Nobody waits for the answer to a heartbeat."""

_JOB = (
    "lease_expires_at",
    "progress",
    "step",
    "progress_told_at",
    "last_event",
    "last_metric_step",
    "update_time",
)
"""Columns of a job that a plain heartbeat changes. All are written each time: what has not changed stays the same."""
_EVENT = tuple(OutboxEvent.__dataclass_fields__)
_POINTS = tuple(column.name for column in metric_chunks.c)


@dataclass(frozen=True, slots=True)
class _Heartbeat:
    """What one of them writes, by the names of `_COLUMNS`."""

    name: str
    values: Mapping[str, Any]


class SqlHeartbeats:
    """Changes of jobs that come often and are small."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._read = Together(self._read_all, pause_s=PAUSE_S)
        # Those that were read together are written together.
        self._write = Together(self._write_all)

    async def change(self, name: str, move: Move) -> Change | None:
        """What the move did, once that is stored. None, with nothing stored, when it did more than a heartbeat does as
        a rule, or when another change of the job came between."""
        row = await self._read(name)
        if row is None:
            raise job_not_found(name)
        before = job_from_row(row)
        change = move(before)
        columns = changed_columns(before, change.job)
        more = any(row[column] != value for column, value in columns.items() if column not in _JOB)
        forgets = change.forget_metrics_after is not None and row["last_metric_step"] > change.forget_metrics_after
        if more or forgets or change.epoch is not None or len(change.events) > 1:
            return None
        points = sql_metrics.chunk_of(name, change.metrics, stored=row["last_metric_step"])
        event = job_event(change.job, change.events[0], row["last_event"] + 1) if change.events else None
        columns["last_event"] = row["last_event"] + (event is not None)
        columns["last_metric_step"] = points["last_step"] if points else row["last_metric_step"]
        values = {
            "came_name": name,
            "came_version": row["version"],
            **{f"job_{column}": columns.get(column, row[column]) for column in _JOB},
            **({f"event_{field}": value for field, value in vars(event).items()} if event else {}),
            **({f"points_{column}": value for column, value in points.items()} if points else {}),
        }
        return change if await self._write(_Heartbeat(name, values)) else None

    async def _read_all(self, names: Sequence[str]) -> Sequence[RowMapping | None]:
        async with self._db.single() as conn:
            rows = (await conn.execute(_reading(), {"names": list(set(names))})).mappings().all()
        found = {row["name"]: row for row in rows}
        return [found.get(name) for name in names]

    async def _write_all(self, heartbeats: Sequence[_Heartbeat]) -> Sequence[bool]:
        # Of two of one job, as after a lost answer, the second would be written over the first.
        first = {one.name: one for one in reversed(heartbeats)}
        ordered = list(first.values())
        values = {name: [one.values.get(name) for one in ordered] for name in _COLUMNS}
        async with self._db.single() as conn:
            written = set(await conn.scalars(_writing(), values))
        return [first[one.name] is one and one.name in written for one in heartbeats]


_COLUMNS: dict[str, Any] = {
    # Prefixed as all others: a parameter with the name of a column would be taken for its new value.
    "came_name": jobs.c.name.type,
    "came_version": Text(),
    **{f"job_{name}": jobs.c[name].type for name in _JOB},
    **{f"event_{name}": events.c[name].type for name in _EVENT},
    **{f"points_{name}": metric_chunks.c[name].type for name in _POINTS},
}
"""What a heartbeat writes, with its types."""


@cache
def _reading() -> Select[Any]:
    names = bindparam("names", type_=ARRAY(jobs.c.name.type))
    return select(jobs, VERSION).where(jobs.c.name == func.any(names))


@cache
def _writing() -> Select[Any]:
    """Returns the names of the jobs that it wrote. Rows that others hold are passed over, so that one job which is
    slow to change holds up no other, and no two of these wait for each other."""
    arrays = func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in _COLUMNS.items()))
    came = select(arrays.table_valued(*_COLUMNS, name="came").render_derived()).cte("came")
    same = VERSION.element == came.c.came_version
    held = (
        select(jobs.c.name)
        .join_from(jobs, came, jobs.c.name == came.c.came_name)
        .where(same)
        .with_for_update(of=jobs, skip_locked=True)
        .cte("held")
    )
    changed = (
        update(jobs)
        .where(jobs.c.name == came.c.came_name, came.c.came_name.in_(select(held.c.name)))
        .values({name: came.c[f"job_{name}"] for name in _JOB})
        .returning(jobs.c.name)
        .cte("changed")
    )
    return (
        select(changed.c.name)
        .add_cte(_inserted(events, _EVENT, "event_", came, changed, came.c.event_id))
        .add_cte(_inserted(metric_chunks, _POINTS, "points_", came, changed, came.c.points_job))
    )


def _inserted(
    table: Table, names: Sequence[str], prefix: str, came: CTE, changed: CTE, present: ColumnElement[Any]
) -> CTE:
    values = select(*(came.c[f"{prefix}{name}"] for name in names)).join_from(
        came, changed, came.c.came_name == changed.c.name
    )
    return insert(table).from_select(names, values.where(present.is_not(None))).cte(f"new_{table.name}")
