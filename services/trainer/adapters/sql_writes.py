"""Small changes of a job on PostgreSQL in one statement: the row, its event and its points.

A heartbeat is most of what the trainer does. Read, then write on condition that nobody else wrote meanwhile, it takes
two round trips; lock, insert, insert, update and commit took seven.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import CTE, Label, Select, Table, Text, bindparam, func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.outbox import OutboxEvent
from services.trainer.adapters.sql_tables import events, jobs, metric_chunks

VERSION: Label[str] = literal_column("CAST(training_jobs.xmin AS TEXT)", Text).label("version")
"""Changes whenever anyone changes the row, an older release of this program included."""


async def write(
    conn: AsyncConnection,
    *,
    name: str,
    version: str,
    columns: Mapping[str, Any],
    event: OutboxEvent | None,
    points: Mapping[str, Any] | None,
) -> bool:
    """Writes all or nothing; False when the row is no longer that version.

    columns: of the job's row. points: row of measured points.
    """
    statement = _statement(tuple(sorted(columns)), told=event is not None, measured=points is not None)
    values = {"job_name": name, "job_version": version, **_prefixed("job_set_", columns)}
    if event is not None:
        values |= _prefixed("event_", vars(event))
    if points is not None:
        values |= _prefixed("points_", points)
    return bool(await conn.scalar(statement, values))


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items()}


@lru_cache(maxsize=512)
def _statement(columns: tuple[str, ...], *, told: bool, measured: bool) -> Select[Any]:
    """Built once for each set of columns, of which there are few."""
    same = VERSION.element == bindparam("job_version")
    changed = (
        update(jobs)
        .where(jobs.c.name == bindparam("job_name"), same)
        .values({name: bindparam(f"job_set_{name}") for name in columns})
        .returning(jobs.c.name)
        .cte("changed")
    )
    statement: Select[Any] = select(func.count()).select_from(changed)
    if told:
        names = tuple(OutboxEvent.__dataclass_fields__)
        statement = statement.add_cte(_inserted(events, names, "event_", changed))
    if measured:
        names = tuple(column.name for column in metric_chunks.c)
        statement = statement.add_cte(_inserted(metric_chunks, names, "points_", changed))
    return statement


def _inserted(table: Table, names: tuple[str, ...], prefix: str, changed: CTE) -> CTE:
    values = select(*(bindparam(f"{prefix}{name}", type_=table.c[name].type).label(name) for name in names))
    return insert(table).from_select(names, values.select_from(changed)).cte(f"new_{table.name}")
