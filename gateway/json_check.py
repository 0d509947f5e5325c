"""Fields of a JSON body that its method does not have, and values of another type than the field's.

Envoy's transcoder would drop the first without a word, and of the second name one. Whatever it may be able to read
passes; bounds and forms are the service's. A body that is refused here is held against the field rules too, so that
one answer names all but what only the service knows.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.http_rules import HttpRule
from gateway.json_documents import check_path, read_document, shown
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.request_checks import broken_rules

# These have a JSON form of their own, or take any field.
_OPAQUE = "google.protobuf."
_MAX_NAMED = 16
_TIMES = {each.DESCRIPTOR.full_name: each for each in (Duration, Timestamp)}
_FORMS = {
    "google.protobuf.Duration": 'must be a duration in seconds, such as "90s"',
    "google.protobuf.Timestamp": 'must be a time, such as "2026-01-31T12:00:00Z"',
}
_NO_FIELD = "There is no such field"
_NUMBER = re.compile(r"\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*|-?Infinity|NaN")
_WHOLE = re.compile(r"-?[0-9]{1,10}")


@dataclass(frozen=True)
class _Fault:
    """What is wrong with a field. unknown: there is no such field; its value is of a wrong type otherwise."""

    violation: FieldViolation
    unknown: bool = False


class JsonCheck:
    """Checks bodies against the methods that the rules name. max_bytes: of a whole one; Envoy may show the beginning of
    a larger one, which the transcoder refuses."""

    def __init__(self, rules: Iterable[HttpRule], *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rules: dict[str, list[HttpRule]] = defaultdict(list)
        for rule in rules:
            self._rules[rule.verb].append(rule)

    def check(self, verb: str, path: str, body: bytes) -> None:
        """Raises InvalidArgument for a body that is no JSON object; that says another resource than the path; or that
        has unknown fields or values of a wrong type, with all of them.

        path: with or without a query. A path of no method passes: the transcoder refuses it.
        """
        path = path.partition("?")[0]
        rule = next((each for each in self._rules[verb] if each.pattern.fullmatch(path)), None)
        if rule is None or rule.takes_bytes or rule.body_message is None or not 0 < len(body) <= self._max_bytes:
            return
        document = read_document(body)
        check_path(document, rule, path)
        prefix = "" if rule.body == "*" else f"{rule.body}."
        kept: dict[str, Any] = {}
        faults = list(islice(_faults(document, rule.body_message, prefix, kept), _MAX_NAMED))
        if not faults:
            return
        wrong = [each.violation for each in faults]
        if len(faults) < _MAX_NAMED:
            wrong += _broken(rule, kept, prefix)
        unknown = [each.violation.field for each in faults if each.unknown]
        if unknown:
            names = ", ".join(f"'{each}'" for each in unknown[:_MAX_NAMED])
            raise InvalidArgument(
                f"{rule.method.name} has no field {names}",
                reason="FIELD_UNKNOWN",
                remedy="Correct the name; the API reference lists the fields.",
                violations=wrong[:_MAX_NAMED],
            )
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InvalidArgument(
            f"{wrong[0].field}: {wrong[0].description}{more}",
            reason="FIELD_TYPE_WRONG",
            remedy="Correct the fields listed in the violations.",
            violations=wrong[:_MAX_NAMED],
        )


def _faults(value: object, message: Descriptor, prefix: str, kept: dict[str, Any]) -> Iterator[_Fault]:
    """What is wrong with one message, in order. kept: takes the fields in which nothing is; of more than _MAX_NAMED
    faults it is of no use."""
    if not isinstance(value, dict) or message.full_name.startswith(_OPAQUE):
        return
    fields = _fields(message)
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            yield _Fault(FieldViolation(prefix + shown(name), _description(name, message)), unknown=True)
            continue
        # A body may hold tens of thousands of them, each of which takes a while to describe.
        found = list(islice(_faults_of_field(field, item, prefix), _MAX_NAMED))
        yield from found
        if not found:
            kept[name] = item
        elif len(found) < _MAX_NAMED and (inner := _inner(field)) is not None and not _is_map(field):
            # What is right of a message is looked at on its own.
            kept[name] = _right(item, inner, prefix)


def _faults_of_field(field: FieldDescriptor, item: object, prefix: str) -> Iterator[_Fault]:
    for each, where in _items(field, item):
        path = f"{prefix}{field.name}{where}"
        mistake = _mistake(each, _value_field(field))
        if mistake:
            yield _Fault(FieldViolation(path, mistake))
        elif (inner := _inner(field)) is not None:
            yield from _faults(each, inner, f"{path}.", {})


def _right(item: object, message: Descriptor, prefix: str) -> Any:
    """A message, or a list of them, without the fields that are wrong."""
    if isinstance(item, list):
        return [_right(each, message, prefix) for each in item]
    kept: dict[str, Any] = {}
    # Its faults are known.
    for _ in _faults(item, message, prefix, kept):
        pass
    return kept


def _broken(rule: HttpRule, kept: dict[str, Any], prefix: str) -> Iterator[FieldViolation]:
    """The field rules that the right part of a body breaks. What the path sets, and what is left out, is not there."""
    kind = rule.method.input_type
    module = importlib.import_module(kind.file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    request: Message = getattr(module, kind.name)()
    try:
        ParseDict(kept, request if rule.body == "*" else getattr(request, rule.body))
    except (ParseError, ValueError, OverflowError):
        return
    given = tuple(prefix + field for field in _paths(kept, rule.body_message))
    for error in broken_rules(request):
        for each in error.violations:
            if any(each.field == path or each.field.startswith((f"{path}.", f"{path}[")) for path in given):
                yield each


def _paths(kept: Mapping[str, Any], message: Descriptor | None) -> Iterator[str]:
    """The fields that are set in a body, with those of its messages."""
    assert message is not None, "a body of no message"
    fields = _fields(message)
    for name, item in kept.items():
        field = fields[name]
        inner = None if _is_map(field) else field.message_type
        if inner is None or inner.full_name.startswith(_OPAQUE):
            yield field.name
            continue
        for each, where in _items(field, item):
            if isinstance(each, dict):
                yield from (f"{field.name}{where}.{path}" for path in _paths(each, inner))


@cache
def _fields(message: Descriptor) -> dict[str, FieldDescriptor]:
    """A message's fields by either spelling."""
    return {name: field for field in message.fields for name in (field.name, field.json_name)}


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _value_field(field: FieldDescriptor) -> FieldDescriptor:
    """The field itself; of a map that of its values."""
    if not _is_map(field):
        return field
    assert field.message_type is not None, "a map has entries"
    found: FieldDescriptor = field.message_type.fields_by_name["value"]
    return found


def _mistake(value: object, field: FieldDescriptor) -> str:
    """What no JSON reader would take for a value of this field; "" when one may."""
    if value is None:
        return ""
    kind = field.cpp_type
    if field.message_type is not None:
        form = _FORMS.get(field.message_type.full_name)
        if form is not None:
            return "" if _readable(value, field.message_type.full_name) else form
        opaque = field.message_type.full_name.startswith(_OPAQUE)
        return "" if opaque or isinstance(value, dict) else "must be a JSON object"
    if isinstance(value, (dict, list)):
        return "must be a single value"
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return "" if isinstance(value, str) else "must be text, in quotes"
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return "must be true or false" if isinstance(value, str) and value not in ("true", "false") else ""
    if field.enum_type is not None:
        names = [each.name for each in field.enum_type.values]
        if isinstance(value, str):
            known = value in names or _WHOLE.fullmatch(value) is not None
        else:
            known = type(value) is int or (isinstance(value, float) and value.is_integer())
        return "" if known else f"must be one of {', '.join(names)}"
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        return "must be a number"
    whole = kind not in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
    return "must be a whole number" if whole and isinstance(value, float) and not value.is_integer() else ""


def _readable(value: object, kind: str) -> bool:
    """Whether JSON may say a duration or a time so."""
    made: Any = _TIMES[kind]()
    try:
        made.FromJsonString(value)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _inner(field: FieldDescriptor) -> Descriptor | None:
    """The message of a field's values; None when they are none."""
    message: Descriptor | None = _value_field(field).message_type
    return message


def _items(field: FieldDescriptor, value: object) -> Iterator[tuple[object, str]]:
    if _is_map(field):
        if isinstance(value, dict):
            yield from ((item, f"[{key!r}]") for key, item in value.items())
    elif isinstance(value, list) and field.is_repeated:
        yield from ((item, f"[{number}]") for number, item in enumerate(value))
    else:
        yield value, ""


def _description(name: str, message: Descriptor) -> str:
    near = difflib.get_close_matches(name[:100], [field.json_name for field in message.fields], 1)
    return f"{_NO_FIELD}. Did you mean {near[0]}?" if near else _NO_FIELD
