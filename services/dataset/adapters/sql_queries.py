"""Lists of datasets as SQL: filter, order and the place where the previous page ended."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from services.chassis.filters import Predicate
from services.chassis.pagination import Scalar
from services.dataset.adapters.sql_rows import folded
from services.dataset.adapters.sql_tables import datasets
from services.dataset.ports import DatasetQuery

_SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
    "create_time": datasets.c.create_time,
    "update_time": datasets.c.update_time,
    "display_name": datasets.c.folded_name,
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def page(query: DatasetQuery) -> Select[Any]:
    """The rows of one page."""
    keys = [(_SORT_COLUMNS[order.field], order.descending) for order in query.orders]
    keys.append((datasets.c.dataset_id, False))
    statement = select(datasets).where(*_conditions(query))
    if query.cursor is not None:
        fields = [*(order.field for order in query.orders), "dataset_id"]
        values = [_value(field, scalar) for field, scalar in zip(fields, query.cursor, strict=True)]
        statement = statement.where(_after(keys, values))
    return statement.order_by(*(column.desc() if falling else column.asc() for column, falling in keys)).limit(
        query.limit
    )


def total(query: DatasetQuery) -> Select[Any]:
    """The number of rows of all pages."""
    return select(func.count()).select_from(datasets).where(*_conditions(query))


def _conditions(query: DatasetQuery) -> list[ColumnElement[bool]]:
    return [datasets.c.project == query.project, *(_condition(predicate) for predicate in query.predicates)]


def _condition(predicate: Predicate) -> ColumnElement[bool]:
    if predicate.field == "display_name":
        column: ColumnElement[Any] = datasets.c.folded_name
        value: Any = folded(str(predicate.value))
    else:
        column, value = _SORT_COLUMNS[predicate.field], predicate.value
    if predicate.op == ":" and value != "*":
        return column.contains(value, autoescape=True)
    condition: ColumnElement[bool] = column != "" if predicate.op == ":" else _COMPARE[predicate.op](column, value)
    return condition


def _after(keys: list[tuple[ColumnElement[Any], bool]], values: list[Any]) -> ColumnElement[bool]:
    """Rows behind the given sort values: behind in the first key, or equal there and behind in the second, …"""
    alternatives: list[ColumnElement[bool]] = []
    for index, ((column, falling), value) in enumerate(zip(keys, values, strict=True)):
        equal_before = [earlier == values[place] for place, (earlier, _) in enumerate(keys[:index])]
        alternatives.append(and_(*equal_before, column < value if falling else column > value))
    return or_(*alternatives)


def _value(field: str, scalar: Scalar) -> Any:
    return datetime.fromisoformat(str(scalar)) if field.endswith("_time") else scalar
