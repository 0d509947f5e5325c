"""What the server checks of every request message before a servicer sees it.

The field rules are written in the protos (protovalidate); the project rule compares every resource name in the message
with the projects that the caller may touch. Which fields hold resource names, the protos say too: `name`, `names` and
`parent`, what is annotated as a google.api.resource_reference, and what must begin with `projects/`. All other text is
free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

import protovalidate
from buf.validate import validate_pb2
from google.api import resource_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.chassis.errors import FieldViolation, InvalidArgument, refuse_all
from services.chassis.moments import impossible_moments
from services.chassis.names import ID_RULE
from services.chassis.request_context import RequestContext, require_project
from services.chassis.texts import hidden_in, line_break_in

_PROJECT_NAME = re.compile(r"projects/([^/\s]+)(/\S*)?")
# Fields that hold a resource name whatever is said of them (https://google.aip.dev/122, https://google.aip.dev/132).
_NAME_FIELDS = frozenset({"name", "names", "parent"})
# Fields of one line wherever they stand. Trigger words, subjects and a dataset's tags have patterns of their own.
_LINES = frozenset({"display_name", "labels", "license", "tags", "file_name", "trigger_word", "avoid", "exclude"})
_LINES |= {"prompts", "negative_prompt", "preview_prompts", "preview_negative_prompt", "preservation_class"}
_PATTERN_MESSAGE = re.compile(r"does not match regex pattern `(.+)`", re.DOTALL)
# The regular expressions of our protos in words; the longer ones first.
_FORMS = {
    "([1-9][0-9]{0,8}|[a-z][a-z0-9-]{0,62})": "{number or alias}",
    "([a-z][a-z0-9-]{0,62}|-)": "{id or dash}",
    "(0|[1-9][0-9]{0,5})": "{number}",
    "[1-9][0-9]{0,8}": "{number}",
    "[1-9][0-9]{0,5}": "{number}",
    "[a-z][a-z0-9-]{0,62}": "{id}",
    "[a-z][a-z0-9.-]{0,62}": "{id}",
    "upl-[a-z0-9]{1,40}": "the name of an upload",
    "[a-z][a-z0-9_-]{0,62}": "a lower case letter and up to 62 more letters digits or dashes",
    "[0-9a-f]{64}": "64 hexadecimal digits",
    r"[^,\n]+": "text without commas and line breaks",
    r"[^,\n]*": "text without commas and line breaks",
}
_OPTIONAL = re.compile(r"\(([^()]*)\)\?")
_EITHER = re.compile(r"\(([^()|]*)\|([^()|]*)\)")
_PLAIN_FORM = re.compile(r"[A-Za-z0-9 /{}\[\]]+")
MOST_PARTS = 40_000
"""Entries of all lists and maps of a request together. The largest that the protos allow, a hundred images with all
their tags, has 32,000; an entry costs two bytes to send and many microseconds to look at."""
_FEW_PARTS = 2_000
MOST_NAMED = 64
"""Faults of a kind that are described; thousands would cost seconds, and no answer could carry them."""
_validator = protovalidate.Validator()


def check_rules(message: Message) -> None:
    """Raises InvalidArgument(reason=REQUEST_INVALID) with one violation per broken protovalidate rule."""
    refuse_all(broken_rules(message))


def broken_rules(message: Message) -> list[InvalidArgument]:
    """An error for each protovalidate rule that the message breaks, and for each time in it that is none; for the first
    MOST_NAMED of them."""
    moments = dict(islice(impossible_moments(message), MOST_NAMED))
    rules = ((_field_path(item.proto), _fault(message, item.proto)) for item in _violations(message))
    # What is no time is not compared with the times that a rule names.
    broken = [*moments.items(), *((path, fault) for path, fault in rules if path not in moments)]
    return [_broken(path, fault) for path, fault in broken]


def _violations(message: Message) -> list[protovalidate.Violation]:
    """What protovalidate finds, at most MOST_NAMED; of a message with thousands of entries the first, as describing one
    takes it longer than looking at fifty."""
    first = _validator.collect_violations(message, fail_fast=True)
    if not first or is_long(message):
        return first[:1]
    return _validator.collect_violations(message)[:MOST_NAMED]


def _broken(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(
        f"{field or 'The request'}: {description}",
        reason="REQUEST_INVALID",
        remedy="Correct the fields listed in the violations.",
        violations=[FieldViolation(field, description)],
    )


def faults(message: Message, *, directions: bool = True) -> list[InvalidArgument]:
    """What `broken_rules` and `unfit_texts` find, each field once: the rule of a field says more of it."""
    broken = broken_rules(message)
    known = {violation.field for fault in broken for violation in fault.violations}
    return [*broken, *(fault for fault in unfit_texts(message, directions=directions) if fault.field not in known)]


def check_parts(message: Message) -> None:
    """Raises InvalidArgument(reason=REQUEST_INVALID) for more than MOST_PARTS entries in all lists and maps.

    To be asked before anything looks at each of them.
    """
    overfull = _overfull(message, "", [MOST_PARTS])
    if overfull:
        raise _broken(overfull, f"a request may have no more than {MOST_PARTS} entries in all its lists")


def is_long(message: Message) -> bool:
    """Whether all that is wrong with a message may take seconds to find and describe; the first fault must do then."""
    return bool(_overfull(message, "", [_FEW_PARTS]))


def _overfull(message: Message, prefix: str, left: list[int]) -> str:
    """Path of the list or map with which a message has more entries than are left; "" where none does.

    Numbers are not counted: they lie in a message as they are.
    """
    for field, value in message.ListFields():
        kind, path = field.message_type, f"{prefix}{field.name}"
        several = field.is_repeated
        if several and (kind is not None or field.cpp_type == FieldDescriptor.CPPTYPE_STRING):
            left[0] -= len(value)
            if left[0] < 0:
                return path
        if kind is None:
            continue
        if kind.GetOptions().map_entry:
            inner = value.values() if kind.fields_by_name["value"].message_type is not None else ()
        else:
            inner = value if several else (value,)
        for index, item in enumerate(inner):
            found = _overfull(item, f"{path}[{index}]." if several else f"{path}.", left)
            if found:
                return found
    return ""


def check_text(message: Message, *, directions: bool = True) -> None:
    """Raises InvalidArgument(reason=TEXT_INVALID) for the strings that hold a character that nobody sees and something
    obeys.

    directions: marks that turn the reading direction round are refused as well.
    """
    refuse_all(unfit_texts(message, directions=directions))


def unfit_texts(message: Message, *, directions: bool = True) -> list[InvalidArgument]:
    """An error for each string that `check_text` refuses, of the first MOST_NAMED. Names, labels and prompts are one
    line: what breaks it would draw rows of its own in a table."""
    found = (_unfit(path, text, directions=directions) for path, text in strings(message))
    return list(islice(filter(None, found), MOST_NAMED))


def _unfit(path: str, text: str, *, directions: bool) -> InvalidArgument | None:
    hidden = hidden_in(text, directions=directions)
    broken = line_break_in(text) if directions and not hidden and _is_line(path) else ""
    if not hidden and not broken:
        return None
    message = f"contains the invisible character {hidden}" if hidden else f"is not one line: it holds {broken}"
    remedy = "Leave that character out." if hidden else "Write it on one line, without line breaks and tabs."
    return InvalidArgument(f"{path} {message}", field=path, reason="TEXT_INVALID", remedy=remedy)


def _is_line(path: str) -> bool:
    """Whether a path such as `training_job.parameters.preview_prompts[2]` is that of a field of one line."""
    return path.rpartition(".")[2].partition("[")[0] in _LINES


def check_projects(message: Message, context: RequestContext) -> None:
    """Raises PermissionDenied when the message names a project that the caller may not touch."""
    if context.projects is None or "*" in context.projects:
        return
    for path, project in named_projects(message):
        require_project(project, field=path)


def named_projects(message: Message) -> Iterator[tuple[str, str]]:
    """Path and project of each resource name (`projects/{p}` or `projects/{p}/…`) in the message, nested or not."""
    for path, text in resource_names(message):
        match = _PROJECT_NAME.fullmatch(text)
        if match:
            yield path, match.group(1)


def field_naming(message: Message, name: str) -> str:
    """Path of the first field that holds this resource name or the name of something below it; empty when none does."""
    for path, text in resource_names(message):
        if text == name or text.startswith(f"{name}/"):
            return path
    return ""


def resource_names(message: Message) -> Iterator[tuple[str, str]]:
    """The text of each field that holds a resource name, with its path, nested or not."""
    return _strings(message, "", is_resource_name)


def strings(message: Message) -> Iterator[tuple[str, str]]:
    """Every string in the message with its path, those of nested messages and of maps included."""
    return _strings(message, "", lambda field: True)


@cache
def is_resource_name(field: FieldDescriptor) -> bool:
    """Whether the protos say that a field holds a resource name."""
    options = field.GetOptions()
    rules = options.Extensions[validate_pb2.field]
    patterns = (rules.string.pattern, rules.repeated.items.string.pattern)
    return (
        field.name in _NAME_FIELDS
        or options.HasExtension(resource_pb2.resource_reference)
        or any(pattern.startswith("^projects/") for pattern in patterns)
    )


def _strings(message: Message, prefix: str, wanted: Callable[[FieldDescriptor], bool]) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            yield from _map_strings(path, value, entry.fields_by_name, wanted)
            continue
        several = field.is_repeated
        for index, item in enumerate(value if several else (value,)):
            place = f"{path}[{index}]" if several else path
            if isinstance(item, str) and wanted(field):
                yield place, item
            elif isinstance(item, Message):
                yield from _strings(item, f"{place}.", wanted)


def _map_strings(
    path: str,
    entries: Mapping[object, object],
    fields: Mapping[str, FieldDescriptor],
    wanted: Callable[[FieldDescriptor], bool],
) -> Iterator[tuple[str, str]]:
    for key, value in entries.items():
        if isinstance(key, str) and wanted(fields["key"]):
            yield path, key
        if isinstance(value, str) and wanted(fields["value"]):
            yield path, value
        elif isinstance(value, Message):
            yield from _strings(value, f"{path}.", wanted)


def readable(text: str) -> str:
    """The validator's message for people: instead of a regular expression the form that it stands for."""
    quoted = _PATTERN_MESSAGE.fullmatch(text)
    if quoted is None:
        return text
    form = quoted.group(1).removeprefix("^").removesuffix("$")
    for pattern, word in _FORMS.items():
        form = form.replace(pattern, word)
    form = _OPTIONAL.sub(r"\1", form) if _OPTIONAL.fullmatch(form) else _OPTIONAL.sub(r"[\1]", form)
    form = _EITHER.sub(r"{\1 or \2}", form)
    if form == "{id}":
        return f"must be an id of {ID_RULE}"
    if _PLAIN_FORM.fullmatch(form):
        return f"must have the form {form}; an id holds {ID_RULE}" if "{id}" in form else f"must be {form}"
    return text


def _fault(message: Message, violation: protovalidate.ViolationPb) -> str:
    """What is wrong, for people. Of an enum the validator only says that there is no such value: here are those there
    are, in the words in which the gateway refuses a name that is none."""
    if violation.rule_id == "enum.defined_only" and (values := _values(message, violation)):
        return f"must be one of {', '.join(values)}"
    return readable(violation.message or violation.rule_id)


def _values(message: Message, violation: protovalidate.ViolationPb) -> list[str]:
    """The names of the values that the enum of a violation has; none where its field holds no enum."""
    within: Any = message.DESCRIPTOR
    field: FieldDescriptor | None = None
    for element in violation.field.elements if violation.field is not None else ():
        field = within.fields_by_name.get(element.field_name) if within is not None else None
        if field is not None and field.message_type is not None and field.message_type.GetOptions().map_entry:
            field = field.message_type.fields_by_name["value"]
        within = field.message_type if field is not None else None
    kind = field.enum_type if field is not None else None
    return [value.name for value in kind.values] if kind is not None else []


def _field_path(violation: protovalidate.ViolationPb) -> str:
    """`image.tags[2].text` out of a protovalidate field path."""
    path = ""
    if violation.field is None:
        return path
    for element in violation.field.elements:
        path += ("." if path else "") + (element.field_name or "")
        subscript = element.subscript
        if subscript is not None:
            path += f"[{subscript.value}]"
    return path
