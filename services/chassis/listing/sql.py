"""Lists out of a table: the one place where a filter, an order and a page become SQL."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Double,
    Select,
    Table,
    Text,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from services.chassis.listing.fields import ANY, Field, Pattern
from services.chassis.listing.filters import AllOf, AnyOf, Comparison, Filter, Not
from services.chassis.listing.pages import Listing, Query

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ESCAPE = "/"


@dataclass(frozen=True)
class Rows:
    """A repeated field that is kept in rows of its own. column: the text. where: which rows are a resource's."""

    column: ColumnElement[Any]
    where: tuple[ColumnElement[bool], ...]


class SqlListing:
    """A listing over one table. columns: where a field is not in the column of its own name.

    A text that folds needs a column that holds it folded.
    """

    def __init__(
        self, listing: Listing[Any], table: Table, columns: Mapping[str, ColumnElement[Any] | Rows] | None = None
    ) -> None:
        self._listing = listing
        self._table = table
        self._columns = dict(columns or {})

    def page(self, query: Query, *where: ColumnElement[bool]) -> Select[Any]:
        """The rows of one page. where: which rows the list is over."""
        columns = [(self._column(order.field), order.descending) for order in query.orders]
        statement = select(self._table).where(*where, self._condition(query.filter))
        if query.cursor is not None:
            statement = statement.where(_behind(columns, query.cursor))
        orders = (column.desc() if descending else column.asc() for column, descending in columns)
        return statement.order_by(*orders).limit(query.limit)

    def total(self, query: Query, *where: ColumnElement[bool]) -> Select[Any]:
        """The number of rows of all pages."""
        return select(func.count()).select_from(self._table).where(*where, self._condition(query.filter))

    async def count(self, conn: AsyncConnection, query: Query, *where: ColumnElement[bool]) -> int:
        """The same, counted."""
        return int(await conn.scalar(self.total(query, *where)) or 0)

    def _column(self, name: str) -> ColumnElement[Any]:
        column = self._columns.get(name, self._table.c.get(name))
        if column is None or isinstance(column, Rows):
            raise ValueError(f"{self._table.name} has no column for {name}")
        return column

    def _condition(self, wanted: Filter) -> ColumnElement[bool]:
        match wanted:
            case AllOf(operands):
                return and_(true(), *map(self._condition, operands))
            case AnyOf(operands):
                return or_(false(), *map(self._condition, operands))
            case Not(operand):
                return not_(self._condition(operand))
            case Comparison(name):
                return self._comparison(wanted, self._listing.fields[name])

    def _comparison(self, wanted: Comparison, field: Field) -> ColumnElement[bool]:
        rows = self._columns.get(wanted.field)
        if isinstance(rows, Rows):
            found = () if wanted.value == ANY else (_equals(rows.column, wanted.value),)
            return exists(select(rows.column).where(*rows.where, *found))
        column = self._column(wanted.field)
        if field.kind == "map":
            return _entry_compared(column, wanted)
        condition = _compared(column, wanted, field)
        # What is unknown is false, also under NOT.
        return and_(column.is_not(None), condition) if getattr(column, "nullable", False) else condition


def _compared(column: ColumnElement[Any], wanted: Comparison, field: Field) -> ColumnElement[bool]:
    value = wanted.value
    condition: ColumnElement[bool]
    if wanted.op == ":":
        condition = column != "" if value == ANY else _contains(column, value, ignore_case=field.fold is None)
    elif isinstance(value, Pattern):
        condition = _equals(column, value) if wanted.op == "=" else not_(_equals(column, value))
    else:
        # A number of a filter may be larger than the column holds, so it is bound as what it is.
        bound: Any = literal(value, Double()) if field.kind == "number" else value
        condition = _COMPARE[wanted.op](column, bound)
    return condition


def _entry_compared(column: ColumnElement[Any], wanted: Comparison) -> ColumnElement[bool]:
    if not wanted.key and wanted.value == ANY:
        return cast(column, Text) != "{}"
    entry = _Entry(column, wanted.key or str(wanted.value))
    if not wanted.key or wanted.value == ANY:
        return entry.is_not(None)
    equal = _equals(entry, wanted.value)
    # What is not there is false, also under NOT.
    return and_(entry.is_not(None), not_(equal) if wanted.op == "!=" else equal)


def _equals(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    if not isinstance(value, Pattern):
        equal: ColumnElement[bool] = column == value
        return equal
    return _Matches(column, "%".join(map(_like, value.parts)), "*".join(map(_glob, value.parts)))


def _contains(column: ColumnElement[Any], value: Any, *, ignore_case: bool) -> ColumnElement[bool]:
    parts = value.parts if isinstance(value, Pattern) else (value,)
    searched = func.lower(column) if ignore_case else column
    if ignore_case:
        parts = tuple(part.lower() for part in parts)
    return searched.like("%" + "%".join(map(_like, parts)) + "%", escape=_ESCAPE)


def _behind(columns: list[tuple[ColumnElement[Any], bool]], values: tuple[str | int | datetime, ...]) -> Any:
    """Rows behind these sort values: behind in the first key, or equal there and behind in the second, and so on."""
    bounds = [literal(value, column.type) for (column, _), value in zip(columns, values, strict=True)]
    if len({descending for _, descending in columns}) == 1:
        # One comparison of rows, which an index over the columns answers.
        return _COMPARE["<" if columns[0][1] else ">"](tuple_(*(column for column, _ in columns)), tuple_(*bounds))
    ways = []
    for index, ((column, descending), bound) in enumerate(zip(columns, bounds, strict=True)):
        equal_before = [earlier == bounds[place] for place, (earlier, _) in enumerate(columns[:index])]
        ways.append(and_(*equal_before, column < bound if descending else column > bound))
    return or_(*ways)


def _like(text: str) -> str:
    return "".join(_ESCAPE + letter if letter in "%_" + _ESCAPE else letter for letter in text)


def _glob(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


class _Matches(FunctionElement[bool]):
    """Whether a column has the form of a pattern, with regard to case: LIKE of SQLite has none, its GLOB has."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], like: str, glob: str) -> None:
        super().__init__(column, literal(like), literal(glob))


@compiles(_Matches)
def _matches(element: _Matches, compiler: SQLCompiler, **options: Any) -> str:
    column, like, _ = element.clauses
    return f"({compiler.process(column, **options)} LIKE {compiler.process(like, **options)} ESCAPE '{_ESCAPE}')"


@compiles(_Matches, "sqlite")
def _matches_sqlite(element: _Matches, compiler: SQLCompiler, **options: Any) -> str:
    column, _, glob = element.clauses
    return f"({compiler.process(column, **options)} GLOB {compiler.process(glob, **options)})"


class _Entry(FunctionElement[str]):
    """The value of a key in a column of JSON text, NULL where the key is not. The key must need no quotes."""

    type = Text()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], key: str) -> None:
        super().__init__(column, literal(key), literal(f'$."{key}"'))


@compiles(_Entry)
def _entry(element: _Entry, compiler: SQLCompiler, **options: Any) -> str:
    column, key, _ = element.clauses
    return f"(CAST({compiler.process(column, **options)} AS JSON) ->> {compiler.process(key, **options)})"


@compiles(_Entry, "sqlite")
def _entry_sqlite(element: _Entry, compiler: SQLCompiler, **options: Any) -> str:
    column, _, path = element.clauses
    return f"json_extract({compiler.process(column, **options)}, {compiler.process(path, **options)})"
