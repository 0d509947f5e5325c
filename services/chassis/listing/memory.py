"""Lists of objects in memory: small lists that are read whole, and the stores of unit tests."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from services.chassis.listing.fields import ANY, Field, Pattern
from services.chassis.listing.filters import AllOf, AnyOf, Comparison, Filter, Not
from services.chassis.listing.pages import Listing, Query

T = TypeVar("T")

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def page(items: Iterable[T], query: Query, listing: Listing[T]) -> tuple[list[T], int]:
    """The rows of one page, and how many pass the filter in all."""
    found = matching(items, query.filter, listing)
    for order in reversed(query.orders):
        found.sort(key=lambda item: listing.sort_values(item, (order,)), reverse=order.descending)
    rest = found if query.cursor is None else [item for item in found if _is_behind(item, query, listing)]
    return rest[: query.limit], len(found)


def matching(items: Iterable[T], wanted: Filter, listing: Listing[T]) -> list[T]:
    """The items that pass the filter, in their order."""
    return [item for item in items if _holds(wanted, item, listing)]


def _is_behind(item: T, query: Query, listing: Listing[T]) -> bool:
    values = listing.sort_values(item, query.orders)
    for order, value, bound in zip(query.orders, values, query.cursor or (), strict=True):
        if value != bound:
            return _COMPARE["<" if order.descending else ">"](value, bound)
    return False


def _holds(wanted: Filter, item: T, listing: Listing[T]) -> bool:
    match wanted:
        case AllOf(operands):
            return all(_holds(operand, item, listing) for operand in operands)
        case AnyOf(operands):
            return any(_holds(operand, item, listing) for operand in operands)
        case Not(operand):
            return not _holds(operand, item, listing)
        case Comparison(name):
            return _compares(wanted, listing.read(item, name), listing.fields[name])


def _compares(wanted: Comparison, actual: Any, field: Field) -> bool:
    value = wanted.value
    if actual is None:
        return False
    if field.kind == "map":
        return _compares_entry(wanted, actual)
    fold = field.fold or (lambda text: text)
    if field.kind == "repeated":
        return bool(actual) if value == ANY else any(_equals(fold(text), value) for text in actual)
    if field.kind != "string":
        return _COMPARE[wanted.op](actual, value)
    text = fold(actual)
    if wanted.op == ":":
        return bool(text) if value == ANY else _contains(text, value, ignore_case=field.fold is None)
    if isinstance(value, Pattern):
        return value.matches(text) == (wanted.op == "=")
    return _COMPARE[wanted.op](text, value)


def _compares_entry(wanted: Comparison, actual: Mapping[str, str]) -> bool:
    if not wanted.key:
        return bool(actual) if wanted.value == ANY else wanted.value in actual
    if wanted.key not in actual:
        return False
    return wanted.value == ANY or _equals(actual[wanted.key], wanted.value) == (wanted.op != "!=")


def _equals(text: str, value: Any) -> bool:
    return value.matches(text) if isinstance(value, Pattern) else text == value


def _contains(text: str, value: Any, *, ignore_case: bool) -> bool:
    parts = value.parts if isinstance(value, Pattern) else (value,)
    if ignore_case:
        text, parts = text.lower(), tuple(part.lower() for part in parts)
    return Pattern(("", *parts, "")).matches(text)
