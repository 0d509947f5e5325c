"""The filter language of lists (https://google.aip.dev/160): text to a tree whose values are checked.

    state = STATE_RUNNING AND (tags:"red hat" OR NOT display_name = "draft*") AND create_time > "2026-01-31"

As the AIP has it, OR binds tighter than AND, a space between comparisons is an AND, `-` is NOT, `:` asks whether
something is in the field, and an argument may be several values: `state = (FAILED OR CANCELLED)`. In texts `*` stands
for any letters and `\\*` for a star. Of a map `labels:team` asks for a key and `labels.team = "pets"` for its value.
Fields may be spelt as in the protos or as in JSON: `create_time`, `createTime`. Bare words, functions and other fields
of fields are refused with a clear error rather than misread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from services.chassis.errors import InvalidArgument
from services.chassis.listing.fields import Field, Given, Operator, Value, proto_name

MAX_LENGTH = 2000
MAX_COMPARISONS = 20
MAX_DEPTH = 10
FORM = (
    "Write comparisons with AND, OR, NOT and parentheses, for example: "
    'state = "RUNNING" AND create_time > "2026-01-31".'
)

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<operator><=|>=|!=|=|<|>|:)"""
    r"""|(?P<bracket>[()])|(?P<word>[^\s"'()<>=!:]+))""",
    re.DOTALL,
)
# After an operator a word may hold colons, as a time does.
_ARGUMENT = re.compile(r"""\s*(?P<word>[^\s"'()<>=!:][^\s"'()<>=!]*)""")
_STAR_OR_ESCAPED = re.compile(r"\\(.)|(\*)", re.DOTALL)


@dataclass(frozen=True)
class Comparison:
    """One comparison. `:` means contains for a text and has for a repeated field; with ANY, not empty.

    key: of a map's entry, whose value is compared; "" for the map itself, of which `:` asks for a key.
    """

    field: str
    op: Operator
    value: Value
    key: str = ""


@dataclass(frozen=True)
class Not:
    """True where the operand is not."""

    operand: Filter


@dataclass(frozen=True)
class AllOf:
    """True where all operands are, so always without any."""

    operands: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """True where one of the operands is."""

    operands: tuple[Filter, ...]


Filter = Comparison | Not | AllOf | AnyOf
EVERYTHING = AllOf(())


def parse_filter(text: str, fields: Mapping[str, Field], *, parent: str = "") -> Filter:
    """The tree of a filter, EVERYTHING for an empty one. Raises InvalidArgument(field="filter").

    parent: of the list, for references whose bare ids lie in it.
    """
    if len(text) > MAX_LENGTH:
        raise _wrong(f"The filter is longer than {MAX_LENGTH} characters", "Shorten it.")
    tokens = _tokens(text)
    return _Parser(tokens, fields, parent).whole() if tokens else EVERYTHING


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str

    def given(self) -> Given:
        """The token as a value: its text apart at the wildcards, without its quotes and escapes."""
        if self.kind == "word":
            return Given(tuple(self.text.split("*")), quoted=False)
        parts, end, inside = [""], 0, self.text[1:-1]
        for match in _STAR_OR_ESCAPED.finditer(inside):
            parts[-1] += inside[end : match.start()]
            end = match.end()
            if match[2]:
                parts.append("")
            else:
                parts[-1] += match[1]
        parts[-1] += inside[end:]
        return Given(tuple(parts), quoted=True)


_END = _Token("end", "")
_AND, _OR, _NOT = (_Token("word", word) for word in ("AND", "OR", "NOT"))
_OPEN, _CLOSE = (_Token("bracket", bracket) for bracket in "()")
_MINUS = _Token("minus", "-")


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        after_operator = bool(tokens) and tokens[-1].kind == "operator"
        match = (_ARGUMENT.match(text, position) if after_operator else None) or _TOKEN.match(text, position)
        if match is None:
            raise _wrong(f"The filter cannot be read at '{text[position : position + 20].strip()}'", FORM)
        kind = match.lastgroup or ""
        found, position = _Token(kind, match[kind]), match.end()
        if kind == "word" and not after_operator and found.text.startswith("-"):
            tokens.append(_MINUS)
            found = _Token(kind, found.text[1:])
            if not found.text:
                continue
        tokens.append(found)
    return tokens


class _Parser:
    """Recursive descent over the grammar of the AIP."""

    def __init__(self, tokens: list[_Token], fields: Mapping[str, Field], parent: str) -> None:
        self._tokens = tokens
        self._fields = fields
        self._parent = parent
        self._position = 0
        self._comparisons = 0
        self._depth = 0

    def whole(self) -> Filter:
        """The whole text."""
        tree = self._expression(None)
        if self._next() is not _END:
            raise self._unreadable()
        return tree

    def _expression(self, about: tuple[str, Operator] | None) -> Filter:
        """Factors joined by AND or by a space. about: inside an argument, the field and operator of each value."""
        operands = [self._factor(about)]
        while self._next() not in (_END, _CLOSE):
            self._took(_AND)
            operands.append(self._factor(about))
        return operands[0] if len(operands) == 1 else AllOf(tuple(operands))

    def _factor(self, about: tuple[str, Operator] | None) -> Filter:
        operands = [self._term(about)]
        while self._took(_OR):
            operands.append(self._term(about))
        return operands[0] if len(operands) == 1 else AnyOf(tuple(operands))

    def _term(self, about: tuple[str, Operator] | None) -> Filter:
        negated = self._took(_NOT) or self._took(_MINUS)
        simple = self._composite(about) if self._took(_OPEN) else self._restriction(about)
        return Not(simple) if negated else simple

    def _composite(self, about: tuple[str, Operator] | None) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong(f"The filter has more than {MAX_DEPTH} parentheses in each other", "Use fewer.")
        inside = self._expression(about)
        if not self._took(_CLOSE):
            raise _wrong("The filter lacks a closing parenthesis", FORM)
        self._depth -= 1
        return inside

    def _restriction(self, about: tuple[str, Operator] | None) -> Filter:
        if about is not None:
            return self._comparison(*about)
        name = self._next()
        if name.kind != "word" or self._next(1).kind != "operator":
            raise self._unreadable()
        operator = cast(Operator, self._next(1).text)
        # A map's own key stays as it is.
        base, dot, key = name.text.partition(".")
        field = proto_name(base) + dot + key
        if self._field(field) is None:
            raise _wrong(f"'{name.text[:100]}' cannot be filtered on", f"Use {', '.join(sorted(self._fields))}.")
        self._position += 2
        return self._composite((field, operator)) if self._took(_OPEN) else self._comparison(field, operator)

    def _comparison(self, name: str, operator: Operator) -> Comparison:
        value = self._next()
        if value.kind not in ("word", "quoted"):
            raise self._unreadable()
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise _wrong(f"The filter has more than {MAX_COMPARISONS} comparisons", "Use fewer.")
        self._position += 1
        field = self._field(name)
        assert field is not None  # looked up by the restriction
        read = field.read(name, operator, value.given(), parent=self._parent)
        if field.kind != "map":
            return Comparison(name, operator, read)
        base, _, key = name.partition(".")
        return Comparison(base, operator, read, key)

    def _field(self, name: str) -> Field | None:
        """The field of that name, or the map in which it is a key."""
        field = self._fields.get(name.partition(".")[0])
        return field if field is not None and field.kind == "map" else self._fields.get(name)

    def _next(self, ahead: int = 0) -> _Token:
        place = self._position + ahead
        return self._tokens[place] if place < len(self._tokens) else _END

    def _took(self, token: _Token) -> bool:
        """Steps over the token if it comes next."""
        found = self._next() == token
        self._position += found
        return found

    def _unreadable(self) -> InvalidArgument:
        found = " ".join(token.text for token in self._tokens[self._position :])
        return _wrong(f"'{found[:100]}' is not a comparison" if found else "The filter ends too early", FORM)


def _wrong(message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field="filter", reason="FILTER_INVALID", remedy=remedy)
