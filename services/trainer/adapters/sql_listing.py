"""Pages of a project's jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.trainer.adapters.sql_rows import job_from_row
from services.trainer.adapters.sql_tables import jobs
from services.trainer.ports import JobFilter, JobPage, JobQuery

_job = jobs.c


async def list_jobs(conn: AsyncConnection, query: JobQuery) -> JobPage:
    """The page after the cursor. Rows that come or go meanwhile neither repeat nor hide others."""
    matching = and_(_job.project == query.project, *(_condition(item) for item in query.filters))
    total = await conn.scalar(select(func.count()).select_from(jobs).where(matching)) or 0
    column: Any = _job[query.order_field]
    statement = select(jobs).where(matching)
    if query.cursor is not None:
        statement = statement.where(_after(column, query))
    order = (column.desc(), _job.name.desc()) if query.descending else (column, _job.name)
    rows = (await conn.execute(statement.order_by(*order).limit(query.limit + 1))).mappings().all()
    found = tuple(job_from_row(row) for row in rows[: query.limit])
    return JobPage(found, len(rows) > query.limit, total)


def _after(column: Any, query: JobQuery) -> ColumnElement[bool]:
    assert query.cursor is not None
    value, name = query.cursor
    if query.descending:
        return or_(column < value, and_(column == value, _job.name < name))
    return or_(column > value, and_(column == value, _job.name > name))


def _condition(item: JobFilter) -> ColumnElement[bool]:
    column: Any = _job[item.field]
    if item.op == ":":
        if item.value == "*":
            not_empty: ColumnElement[bool] = column != ""
            return not_empty
        return func.lower(column).contains(str(item.value).lower(), autoescape=True)
    value: str | datetime = item.value
    operations: dict[str, ColumnElement[bool]] = {
        "=": column == value,
        "!=": column != value,
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
    }
    return operations[item.op]
