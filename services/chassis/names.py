"""Resource names (https://google.aip.dev/122), ids and etags."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Collection

from services.chassis.errors import Aborted, FieldViolation, InvalidArgument

ID_RULE = "1 to 63 characters: lower-case letters, digits and hyphens, starting with a letter"
EVENT_STREAM = "FIVESHOT_EVENTS"
EVENT_SUBJECTS = "fiveshot.events.v1"
"""The stream of events, and what their subjects begin with; the project comes next."""
AUDIT_STREAM = "FIVESHOT_AUDIT"
AUDIT_SUBJECTS = "fiveshot.audit.v1"
"""The same for audit records. `-` is the project of what belongs to none."""
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_MOST_NAMED = 16
# Crockford's base 32, lower case: no i, l, o, u, and its order is the order of the numbers.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class ResourceName:
    """A name pattern: `ResourceName("projects/{project}/datasets/{dataset}")` parses and formats such names."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._segments = tuple(pattern.split("/"))
        self._variables = tuple(_VARIABLE.findall(pattern))
        if not self._variables:
            raise ValueError(f"a resource name pattern needs a variable: {pattern}")

    @property
    def collection(self) -> str:
        """The last collection: `images` of `projects/{project}/datasets/{dataset}/images/{image}`."""
        return [segment for segment in self._segments if not segment.startswith("{")][-1]

    def parse(self, name: str, *, field: str = "name") -> dict[str, str]:
        """The ids in a name. Raises InvalidArgument(reason=NAME_INVALID) that shows the expected form."""
        segments = name.split("/")
        if len(segments) != len(self._segments):
            raise self._invalid(name, field)
        ids: dict[str, str] = {}
        for expected, given in zip(self._segments, segments, strict=True):
            if expected.startswith("{"):
                if not _ID.fullmatch(given):
                    raise self._invalid(name, field)
                ids[expected.strip("{}")] = given
            elif given != expected:
                raise self._invalid(name, field)
        return ids

    def format(self, **ids: str) -> str:
        """The name of the given ids. They must be valid already: a wrong one is a fault of the program."""
        if set(ids) != set(self._variables):
            raise ValueError(f"{self.pattern} takes {self._variables}, not {tuple(ids)}")
        for variable, value in ids.items():
            if not _ID.fullmatch(value):
                raise ValueError(f"not an id for {variable}: {value!r}")
        return self.pattern.format(**ids)

    def matches(self, name: str) -> bool:
        """Whether the name has this pattern."""
        try:
            self.parse(name)
        except InvalidArgument:
            return False
        return True

    def _invalid(self, name: str, field: str) -> InvalidArgument:
        return InvalidArgument(
            f"'{name[:200]}' is not a name of the form {self.pattern}",
            field=field,
            reason="NAME_INVALID",
            remedy=f"Every id has {ID_RULE}.",
        )


def check_id(value: str, *, field: str) -> str:
    """An id that the caller chose, unchanged. Raises InvalidArgument(reason=ID_INVALID)."""
    if not _ID.fullmatch(value):
        raise InvalidArgument(
            f"'{value[:100]}' is not a valid id", field=field, reason="ID_INVALID", remedy=f"Use {ID_RULE}."
        )
    return value


def new_id(prefix: str) -> str:
    """A new id such as `img-01hf3kq2m8…`: ids made later sort later (milliseconds, then 60 random bits)."""
    milliseconds = int(time.time() * 1000)
    random = int.from_bytes(os.urandom(8), "big") >> 4
    return f"{prefix}-{_base32(milliseconds, 10)}{_base32(random, 12)}"


def new_uuid() -> str:
    """A random UUID as text."""
    return str(uuid.uuid4())


def project_of(name: str) -> str:
    """The project of a resource name, "" when it has none (`baseModels/…`)."""
    segments = name.split("/")
    return segments[1] if len(segments) > 1 and segments[0] == "projects" else ""


def etag_of(*parts: object) -> str:
    """A short etag that changes whenever one of the parts does."""
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode()).hexdigest()[:16]


def check_etag(given: str, current: str, *, field: str = "etag") -> None:
    """Raises Aborted(reason=ETAG_MISMATCH) unless the caller gave none or the current one."""
    if given and given != current:
        raise Aborted(
            "The resource has changed since it was read",
            field=field,
            reason="ETAG_MISMATCH",
            remedy="Read it again and repeat the change with the new etag.",
        )


def check_mask(mask: Collection[str], changeable: Collection[str], *, of: str = "") -> None:
    """Raises InvalidArgument(reason=UPDATE_MASK_INVALID) that names every path which is not one of the fields.

    `*` names all. of: what they belong to, such as `an epoch`, where little of it can be changed.
    """
    wrong = [path for path in mask if path != "*" and path not in changeable]
    if wrong:
        owner = f" of {of}" if of else ""
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InvalidArgument(
            f"'{wrong[0][:100]}'{owner} cannot be changed{more}",
            reason="UPDATE_MASK_INVALID",
            remedy=f"Name whole fields out of {', '.join(changeable)}, or leave update_mask empty.",
            violations=[
                FieldViolation("update_mask", f"'{path[:100]}'{owner} cannot be changed")
                for path in wrong[:_MOST_NAMED]
            ],
        )


def _base32(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, remainder = divmod(number, 32)
        text = _ALPHABET[remainder] + text
    return text
