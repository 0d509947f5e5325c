"""The part of the AIP-160 filter language that lists of this suite understand, and order_by of AIP-132.

    state = "RUNNING" AND create_time > "2026-01-01T00:00:00Z" AND tags:"red hat"

Comparisons joined with AND (or just a space). OR, NOT, brackets and functions are refused with a clear error rather
than misread. The result is a list of predicates that an adapter turns into SQL with bound parameters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from services.chassis.errors import InvalidArgument

Operator = Literal["=", "!=", "<", "<=", ">", ">=", ":"]
# "string", "number", "bool", "time", "repeated" or "enum:A,B,C".
FieldKind = str

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<operator><=|>=|!=|=|<|>|:)"""
    r"""|(?P<bracket>[()])|(?P<word>[^\s"'()<>=!:]+(?::[^\s"'()<>=!]+)?))"""
)
_OPERATORS: dict[str, tuple[Operator, ...]] = {
    "string": ("=", "!=", ":", "<", "<=", ">", ">="),
    "number": ("=", "!=", "<", "<=", ">", ">="),
    "time": ("=", "!=", "<", "<=", ">", ">="),
    "bool": ("=", "!="),
    "enum": ("=", "!="),
    "repeated": (":",),
}
_MAX_LENGTH = 2000
_MAX_PREDICATES = 20


@dataclass(frozen=True)
class Predicate:
    """One comparison. `:` means contains for a string and has for a repeated field; with `*` it means not empty."""

    field: str
    op: Operator
    value: str | float | bool | datetime


@dataclass(frozen=True)
class Order:
    """One sort key."""

    field: str
    descending: bool


def parse_filter(text: str, fields: Mapping[str, FieldKind]) -> list[Predicate]:
    """The predicates of a filter, all of which must hold. Raises InvalidArgument(field="filter")."""
    if len(text) > _MAX_LENGTH:
        raise _wrong_filter(f"The filter is longer than {_MAX_LENGTH} characters", "Shorten it.")
    tokens = _tokens(text)
    predicates: list[Predicate] = []
    position = 0
    while position < len(tokens):
        if predicates and tokens[position] == ("word", "AND"):
            position += 1
        predicates.append(_predicate(tokens[position : position + 3], fields))
        position += 3
    if len(predicates) > _MAX_PREDICATES:
        raise _wrong_filter(f"The filter has more than {_MAX_PREDICATES} comparisons", "Use fewer.")
    return predicates


def parse_order_by(text: str, fields: Collection[str], *, default: str) -> list[Order]:
    """`create_time desc, display_name` as sort keys; `default` when empty. Raises InvalidArgument(field="order_by")."""
    orders: list[Order] = []
    for part in (text.strip() or default).split(","):
        words = part.split()
        known = bool(words) and words[0] in fields
        if not known or len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise _wrong_order(
                f"'{part.strip()[:100]}' is not a sort key",
                f"Use FIELD or FIELD desc, with {', '.join(sorted(fields))}.",
            )
        if any(order.field == words[0] for order in orders):
            raise _wrong_order(f"{words[0]} appears twice", "Name every field once.")
        orders.append(Order(words[0], words[-1] == "desc" and len(words) == 2))
    return orders


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _wrong_filter(f"The filter cannot be read at '{text[position : position + 20].strip()}'", _FORM)
        kind = match.lastgroup or ""
        # `time:…` inside an unquoted value such as 2026-01-01T10:00:00Z stays one word only after an operator.
        if kind == "word" and ":" in match["word"] and not (tokens and tokens[-1][0] == "operator"):
            head = match["word"].split(":", 1)[0]
            tokens.append(("word", head))
            position = match.start("word") + len(head)
            continue
        tokens.append((kind, _unquoted(match["quoted"]) if kind == "quoted" else match[kind]))
        position = match.end()
    return tokens


def _predicate(tokens: list[tuple[str, str]], fields: Mapping[str, FieldKind]) -> Predicate:
    if tokens and (tokens[0][0] == "bracket" or tokens[0] in (("word", "OR"), ("word", "NOT"))):
        raise _wrong_filter(f"'{tokens[0][1]}' is not supported in a filter", _FORM)
    if (
        len(tokens) < 3
        or tokens[0][0] != "word"
        or tokens[1][0] != "operator"
        or tokens[2][0] not in ("word", "quoted")
    ):
        found = " ".join(token for _, token in tokens)
        raise _wrong_filter(f"'{found[:100]}' is not a comparison", _FORM)
    name, operator, (value_kind, value) = tokens[0][1], _operator(tokens[1][1]), tokens[2]
    kind = fields.get(name)
    if kind is None:
        raise _wrong_filter(f"'{name[:100]}' cannot be filtered on", f"Use {', '.join(sorted(fields))}.")
    allowed = _OPERATORS[kind.split(":")[0]]
    if operator not in allowed:
        raise _wrong_filter(f"'{operator}' does not fit {name}", f"Use {', '.join(allowed)}.")
    return Predicate(name, operator, _value(name, kind, value, quoted=value_kind == "quoted"))


def _operator(text: str) -> Operator:
    for operator in get_args(Operator):
        if operator == text:
            return operator  # type: ignore[no-any-return]
    raise _wrong_filter(f"'{text}' is not an operator", _FORM)


def _value(name: str, kind: FieldKind, text: str, *, quoted: bool) -> str | float | bool | datetime:
    if kind == "number" and not quoted and re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text):
        return float(text)
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind == "time":
        return _time(name, text)
    if kind.startswith("enum:"):
        values = kind.removeprefix("enum:").split(",")
        if text in values:
            return text
        raise _wrong_filter(f"'{text[:100]}' is not a value of {name}", f"Use {', '.join(values)}.")
    if kind in ("string", "repeated"):
        return text
    raise _wrong_filter(f"'{text[:100]}' is not a {kind} for {name}", _FORM)


def _time(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _wrong_filter(
            f"'{text[:100]}' is not a time for {name}", "Use RFC 3339: 2026-01-31T12:00:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


_FORM = 'Write comparisons joined with AND, for example: state = "RUNNING" AND rank >= 8.'


def _wrong_filter(message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field="filter", reason="FILTER_INVALID", remedy=remedy)


def _wrong_order(message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field="order_by", reason="ORDER_BY_INVALID", remedy=remedy)
