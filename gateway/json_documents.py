"""JSON bodies as they are read: what is no JSON, and what speaks of another resource than the path."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gateway.http_rules import HttpRule
from services.chassis.errors import FieldViolation, InvalidArgument


def read_document(body: bytes) -> dict[str, Any]:
    """The body's object. Raises InvalidArgument(reason=JSON_INVALID).

    The transcoder's parser takes more than JSON, of which nothing here could be checked.
    """
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_object, parse_float=_float, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except RecursionError:
        problem = "it is nested too deeply"
    except _Twice as error:
        problem = f"'{shown(error.args[0])}' comes twice"
    except ValueError:
        problem = "a number is too large, or none"
    else:
        if isinstance(document, dict):
            return document
        problem = "it must be an object, in braces"
    raise InvalidArgument(
        f"The body cannot be read as JSON: {problem}",
        reason="JSON_INVALID",
        remedy="Send one JSON object in UTF-8; in a shell put it between single quotes.",
    )


class _Twice(ValueError):
    """A name that an object has twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Twice(name)
            seen.add(name)
    return made


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    """Refuses NaN, Infinity and 1e999, which are Python's and no other reader's."""
    raise ValueError(text)


def check_path(document: Mapping[str, Any], rule: HttpRule, path: str) -> None:
    """Raises InvalidArgument(reason=BODY_OVERRIDES_PATH) where the body sets a field of the path to something else."""
    over = [
        FieldViolation(field, f"The path says {value}; leave it out of the body")
        for field, value in rule.values(path).items()
        if _said(document, field if rule.body == "*" else field.removeprefix(f"{rule.body}.")) not in (None, value)
    ]
    if over:
        raise InvalidArgument(
            "The body names another resource than the path",
            reason="BODY_OVERRIDES_PATH",
            remedy="Leave the field out of the body, or say there what the path says.",
            violations=over,
        )


def _said(document: object, field: str) -> object:
    """What a document says of a field, in either spelling; None for nothing."""
    for part in field.split("."):
        if not isinstance(document, dict):
            return None
        found = [document[name] for name in {part, _camel(part)} if document.get(name) is not None]
        document = found[0] if found else None
    return document


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(each.capitalize() for each in rest)


def shown(name: str) -> str:
    """A name as it may stand in an answer: JSON can spell half of a character, which no other encoding can."""
    return name[:100].encode("utf-8", "replace").decode("utf-8")
