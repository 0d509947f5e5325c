"""Fields of a JSON body that its method does not have, and values of another type than the field's.

Envoy's transcoder would drop the first without a word, and of the second name one. Whatever it may be able to read
passes; bounds and forms are the service's.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.http_rules import HttpRule
from services.chassis.errors import FieldViolation, InvalidArgument

# These have a JSON form of their own, or take any field.
_OPAQUE = "google.protobuf."
_MAX_NAMED = 16
_NO_FIELD = "There is no such field"
_NUMBER = re.compile(r"\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*|-?Infinity|NaN")


class JsonCheck:
    """Checks bodies against the methods that the rules name."""

    def __init__(self, rules: Iterable[HttpRule]) -> None:
        self._rules: dict[str, list[HttpRule]] = defaultdict(list)
        for rule in rules:
            self._rules[rule.verb].append(rule)

    def check(self, verb: str, path: str, body: bytes) -> None:
        """Raises InvalidArgument that names every unknown field and every value of a wrong type.

        path: with or without a query. A path of no method and a body that is no JSON object pass: the transcoder
        refuses them.
        """
        path = path.partition("?")[0]
        rule = next((each for each in self._rules[verb] if each.pattern.fullmatch(path)), None)
        if rule is None or rule.takes_bytes or rule.body_message is None or not body:
            return
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return
        prefix = "" if rule.body == "*" else f"{rule.body}."
        wrong = list(_wrong(document, rule.body_message, prefix))
        unknown = [each for each in wrong if each.description.startswith(_NO_FIELD)]
        if unknown:
            names = ", ".join(f"'{each.field}'" for each in unknown[:_MAX_NAMED])
            raise InvalidArgument(
                f"{rule.method.name} has no field {names}",
                reason="FIELD_UNKNOWN",
                remedy="Correct the name; the API reference lists the fields.",
                violations=wrong[:_MAX_NAMED],
            )
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise InvalidArgument(
                f"{wrong[0].field}: {wrong[0].description}{more}",
                reason="FIELD_TYPE_WRONG",
                remedy="Correct the fields listed in the violations.",
                violations=wrong[:_MAX_NAMED],
            )


def _wrong(value: object, message: Descriptor, prefix: str) -> Iterator[FieldViolation]:
    """The unknown names of one message and the values that it cannot have, in order."""
    if not isinstance(value, dict) or message.full_name.startswith(_OPAQUE):
        return
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            yield FieldViolation(prefix + _shown(name), _description(name, message))
            continue
        for each, where in _items(field, item):
            mistake = _mistake(each, _value_field(field))
            if mistake:
                yield FieldViolation(f"{prefix}{field.name}{where}", mistake)
            elif (inner := _inner(field)) is not None:
                yield from _wrong(each, inner, f"{prefix}{field.name}{where}.")


def _value_field(field: FieldDescriptor) -> FieldDescriptor:
    """The field itself; of a map that of its values."""
    message = field.message_type
    if message is None or not message.GetOptions().map_entry:
        return field
    found: FieldDescriptor = message.fields_by_name["value"]
    return found


def _mistake(value: object, field: FieldDescriptor) -> str:
    """What no JSON reader would take for a value of this field; "" when one may."""
    if value is None:
        return ""
    kind = field.cpp_type
    if field.message_type is not None:
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
        known = not isinstance(value, str) or value in names or value.lstrip("-").isdigit()
        return "" if known else f"must be one of {', '.join(names)}"
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        return "must be a number"
    whole = kind not in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
    return "must be a whole number" if whole and isinstance(value, float) and not value.is_integer() else ""


def _inner(field: FieldDescriptor) -> Descriptor | None:
    """The message of a field's values; None when they are none."""
    message: Descriptor | None = field.message_type
    if message is None or not message.GetOptions().map_entry:
        return message
    values: Descriptor | None = message.fields_by_name["value"].message_type
    return values


def _items(field: FieldDescriptor, value: object) -> Iterator[tuple[object, str]]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        if isinstance(value, dict):
            yield from ((item, f"[{key!r}]") for key, item in value.items())
    elif isinstance(value, list) and field.is_repeated:
        yield from ((item, f"[{number}]") for number, item in enumerate(value))
    else:
        yield value, ""


def _shown(name: str) -> str:
    """A name as it may stand in an answer: JSON can spell half of a character, which no other encoding can."""
    return name[:100].encode("utf-8", "replace").decode("utf-8")


def _description(name: str, message: Descriptor) -> str:
    near = difflib.get_close_matches(name[:100], [field.json_name for field in message.fields], 1)
    return f"{_NO_FIELD}. Did you mean {near[0]}?" if near else _NO_FIELD
