"""Fields that a list can be filtered by, and how the values of a filter are read for each of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from services.chassis.errors import InvalidArgument

Operator = Literal["=", "!=", "<", "<=", ">", ">=", ":"]
Kind = Literal["string", "number", "bool", "time", "enum", "repeated", "map"]

COMPARISONS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")
MAX_WILDCARDS = 4
_OPERATORS: dict[Kind, tuple[Operator, ...]] = {
    "string": (*COMPARISONS, ":"),
    "number": COMPARISONS,
    "time": COMPARISONS,
    "bool": ("=", "!="),
    "enum": ("=", "!="),
    "repeated": (":",),
    "map": ("=", "!=", ":"),
}
_MAP_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Pattern:
    """A text with wildcards: the literal parts between them, at least two. `*.png` is ("", ".png")."""

    parts: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Whether the whole text has this form. Linear, however many wildcards there are."""
        first, *between, last = self.parts
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        position, end = len(first), len(text) - len(last)
        for part in between:
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True


ANY = Pattern(("", ""))
"""`field:*`: the field is not empty."""

Value = str | float | bool | datetime | Pattern


@dataclass(frozen=True)
class Given:
    """A value as it stands in a filter. parts: the text between its wildcards, one part when it has none."""

    parts: tuple[str, ...]
    quoted: bool

    @property
    def text(self) -> str:
        """The value when a star is a plain letter."""
        return "*".join(self.parts)


@dataclass(frozen=True)
class Field:
    """One field of a resource. Make it with the functions below.

    values: of an enum, as the models spell them. prefix: of an enum, what the API writes in front of a value; of a
    reference, what stands before a bare id, where `{parent}` is the list's parent. fold: texts are compared after it.
    Without it texts are compared as they are, save by `:`, which ignores case.
    """

    kind: Kind
    values: tuple[str, ...] = ()
    prefix: str = ""
    fold: Callable[[str], str] | None = None
    operators: tuple[Operator, ...] = ()

    def read(self, name: str, operator: Operator, given: Given, *, parent: str) -> Value:
        """The value of a comparison. Raises InvalidArgument(field="filter")."""
        allowed = self.operators or _OPERATORS[self.kind]
        if operator not in allowed:
            raise _wrong(f"'{operator}' does not fit {name}", f"Use {', '.join(allowed)}.")
        match self.kind:
            case "map":
                return self._entry(name, operator, given)
            case "string" | "repeated":
                return self._text(name, operator, given, parent)
            case "enum":
                return self._choice(name, given.text)
            case "time":
                return _time(name, given.text)
            case "number" if not given.quoted and _NUMBER.fullmatch(given.text) and math.isfinite(float(given.text)):
                return float(given.text)
            case "bool" if given.text in ("true", "false"):
                return given.text == "true"
        form = "a number without quotes, such as 3 or 0.5" if self.kind == "number" else "true or false"
        raise _wrong(f"'{given.text[:100]}' is not a {self.kind} for {name}", f"Write {form}.")

    def _text(self, name: str, operator: Operator, given: Given, parent: str) -> str | Pattern:
        if operator == ":" and given.parts == ANY.parts:
            return ANY
        parts = given.parts
        if operator not in ("=", "!=", ":"):
            parts = (given.text,)
        if len(parts) > MAX_WILDCARDS + 1:
            raise _wrong(f"The value of {name} has more than {MAX_WILDCARDS} wildcards", "Use fewer.")
        if self.prefix and operator != ":" and parts[0] and "/" not in given.text:
            parts = (self.prefix.replace("{parent}", parent) + parts[0], *parts[1:])
        fold = self.fold or str
        if len(parts) == 1:
            return fold(parts[0])
        # A fold that trims must not trim at a wildcard, where the text goes on.
        return Pattern(tuple(fold(f"x{part}x")[1:-1] for part in parts))

    def _entry(self, name: str, operator: Operator, given: Given) -> Value:
        """Of a map's entry (`labels.team = "pets"`) its value, of the map itself (`labels:team`) a key."""
        base, dot, key = name.partition(".")
        if not dot and operator != ":":
            raise _wrong(f"'{operator}' does not fit {name}", f'Use {name}:KEY, or {name}.KEY = "VALUE".')
        if not dot and given.parts == ANY.parts:
            return ANY
        if not _MAP_KEY.fullmatch(key if dot else given.text):
            raise _wrong(f"'{(key if dot else given.text)[:100]}' is no key of {base}", MAP_KEYS)
        return self._text(name, operator, given, "") if dot else given.text

    def _choice(self, name: str, text: str) -> str:
        value = text.removeprefix(self.prefix)
        if value in self.values:
            return value
        known = ", ".join(f"{self.prefix}{value}" for value in self.values)
        raise _wrong(f"'{text[:100]}' is not a value of {name}", f"Use {known}.")


def proto_name(name: str) -> str:
    """A field's name as the protos write it, also where it stands as JSON does: `create_time` for `createTime`."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def text(*, fold: Callable[[str], str] | None = None) -> Field:
    """A text."""
    return Field("string", fold=fold)


def reference(prefix: str, *, operators: Sequence[Operator] = ()) -> Field:
    """The name of another resource; its bare id stands for it too. prefix: `baseModels/` or `{parent}/datasets/`."""
    return Field("string", prefix=prefix, operators=tuple(operators))


def labels(*, fold: Callable[[str], str] | None = None) -> Field:
    """A repeated text, of which `:` asks whether one is there."""
    return Field("repeated", fold=fold)


def text_map(*, fold: Callable[[str], str] | None = None) -> Field:
    """Texts by keys of the caller's own: `labels:team` asks for a key, `labels.team = "pets"` for its value."""
    return Field("map", fold=fold)


def choice(values: Sequence[str], *, prefix: str = "") -> Field:
    """An enum: `state = STATE_RUNNING` or `state = RUNNING`, quoted or not."""
    return Field("enum", values=tuple(values), prefix=prefix)


def number() -> Field:
    """A number, never in quotes."""
    return Field("number")


def flag() -> Field:
    """true or false."""
    return Field("bool")


def moment() -> Field:
    """A time in RFC 3339, quoted or not."""
    return Field("time")


MAP_KEYS = "A key is a lower case letter and up to 62 more letters, digits, dashes and underscores."


def _wrong(message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field="filter", reason="FILTER_INVALID", remedy=remedy)


def _time(name: str, text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
        # Close to the years 1 and 9999 an offset leads out of what a date can be.
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _wrong(f"'{text[:100]}' is not a time for {name}", "Use RFC 3339: 2026-01-31T12:00:00Z.") from error
