"""Fields of a JSON body that its method does not have. Envoy's transcoder would drop them without a word.

Names only: values are checked by the transcoder and by the service, which both say what is wrong with them.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.http_rules import HttpRule
from services.chassis.errors import FieldViolation, InvalidArgument

# These have a JSON form of their own, or take any field.
_OPAQUE = "google.protobuf."
_MAX_NAMED = 16


class JsonCheck:
    """Checks bodies against the methods that the rules name."""

    def __init__(self, rules: Iterable[HttpRule]) -> None:
        self._rules: dict[str, list[HttpRule]] = defaultdict(list)
        for rule in rules:
            self._rules[rule.verb].append(rule)

    def check(self, verb: str, path: str, body: bytes) -> None:
        """Raises InvalidArgument that names every unknown field.

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
        wrong = list(_unknown(document, rule.body_message, prefix))
        if wrong:
            names = ", ".join(f"'{each.field}'" for each in wrong[:_MAX_NAMED])
            raise InvalidArgument(
                f"{rule.method.name} has no field {names}",
                reason="FIELD_UNKNOWN",
                remedy="Correct the name; the API reference lists the fields.",
                violations=wrong[:_MAX_NAMED],
            )


def _unknown(value: object, message: Descriptor, prefix: str) -> Iterator[FieldViolation]:
    """The unknown names of one message, in order."""
    if not isinstance(value, dict) or message.full_name.startswith(_OPAQUE):
        return
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            yield FieldViolation(prefix + _shown(name), _description(name, message))
        elif (inner := _inner(field)) is not None:
            for each, where in _items(field, item):
                yield from _unknown(each, inner, f"{prefix}{field.name}{where}.")


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
    elif isinstance(value, list):
        yield from ((item, f"[{number}]") for number, item in enumerate(value))
    else:
        yield value, ""


def _shown(name: str) -> str:
    """A name as it may stand in an answer: JSON can spell half of a character, which no other encoding can."""
    return name[:100].encode("utf-8", "replace").decode("utf-8")


def _description(name: str, message: Descriptor) -> str:
    near = difflib.get_close_matches(name[:100], [field.json_name for field in message.fields], 1)
    return f"There is no such field. Did you mean {near[0]}?" if near else "There is no such field"
