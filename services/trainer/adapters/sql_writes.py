"""Small changes of a job on PostgreSQL in one statement: the row, its event, points and attempt.

A heartbeat is most of what the trainer does. Read, then write on condition that nobody else wrote meanwhile, it takes
two round trips; lock, insert, insert, update and commit took seven.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import CTE, Label, Select, Table, Text, bindparam, func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.trainer.adapters.sql_tables import jobs

VERSION: Label[str] = literal_column("CAST(training_jobs.xmin AS TEXT)", Text).label("version")
"""Changes whenever anyone changes the row, an older release of this program included."""


async def write(
    conn: AsyncConnection,
    *,
    name: str,
    version: str,
    columns: Mapping[str, Any],
    beside: Mapping[Table, Mapping[str, Any]],
) -> bool:
    """Writes all or nothing; False when the row is no longer that version.

    columns: of the job's row. beside: a new row for each of some tables.
    """
    statement = _statement(tuple(sorted(columns)), tuple((table, tuple(row)) for table, row in beside.items()))
    values = {"job_name": name, "job_version": version, **_prefixed("job_set_", columns)}
    for table, row in beside.items():
        values |= _prefixed(f"{table.name}_", row)
    return bool(await conn.scalar(statement, values))


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items()}


@lru_cache(maxsize=512)
def _statement(columns: tuple[str, ...], beside: tuple[tuple[Table, tuple[str, ...]], ...]) -> Select[Any]:
    """Built once for each set of columns and tables, of which there are few."""
    same = VERSION.element == bindparam("job_version")
    changed = (
        update(jobs)
        .where(jobs.c.name == bindparam("job_name"), same)
        .values({name: bindparam(f"job_set_{name}") for name in columns})
        .returning(jobs.c.name)
        .cte("changed")
    )
    return select(func.count()).select_from(changed).add_cte(*(_inserted(*each, changed) for each in beside))


def _inserted(table: Table, names: tuple[str, ...], changed: CTE) -> CTE:
    values = select(*(bindparam(f"{table.name}_{name}", type_=table.c[name].type).label(name) for name in names))
    return insert(table).from_select(names, values.select_from(changed)).cte(f"new_{table.name}")
