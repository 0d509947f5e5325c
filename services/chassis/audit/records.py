"""The audit record of a call, and the call at hand as far as its record is concerned."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.chassis.request_context import RequestContext
from services.chassis.texts import hidden_in, shown

OK = "OK"
REFUSALS = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})
"""Codes that say who may not: of calls that only look, these alone leave a record."""
_LOOKS = ("Get", "List", "BatchGet", "Watch", "Download", "Export", "Estimate", "Preview", "Audit", "Suggest")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{0,62}")
BOUNDS = {
    "principal": 300,
    "role": 20,
    "method": 200,
    "resource": 512,
    "code": 30,
    "reason": 64,
    "request_id": 128,
    "address": 64,
}
"""Characters of each text: a record of something strange must not be refused for it by whoever keeps it."""


@dataclass(frozen=True)
class AuditRecord:
    """One record; docs/security.md says what the fields hold.

    revision: counts up when a record is corrected. project: id of the project whose admins may read it; "" for
    operators only. count: how many calls it stands for.
    """

    method: str
    project: str = ""
    principal: str = ""
    role: str = ""
    resource: str = ""
    code: str = OK
    reason: str = ""
    request_id: str = ""
    address: str = ""
    count: int = 1
    revision: int = 1
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Cuts what is too long, and spells what no database keeps and no terminal should obey."""
        for name, most in BOUNDS.items():
            text: str = getattr(self, name)
            if len(text) > most or hidden_in(text):
                object.__setattr__(self, name, shown(text)[:most])


def only_looks(method: str, also: frozenset[str] = frozenset()) -> bool:
    """Whether a method, by its bare name, changes nothing. Standard verbs say so; also: those that have none."""
    return method in also or any(_is_verb(method, verb) for verb in _LOOKS)


def _is_verb(method: str, verb: str) -> bool:
    rest = method.removeprefix(verb)
    return rest != method and rest[:1].isupper()


class CallEntry:
    """The record of a call that runs.

    changes: whether the method changes something. written: the revision that is in the database, 0 while there is none.
    closed: the call has ended; what it left running writes no more.
    """

    def __init__(self, method: str, caller: RequestContext, *, changes: bool, process: str = "") -> None:
        who = caller.principal or (f"process:{process}" if process else "")
        self.known = bool(caller.principal)
        self.changes = changes
        self.written = 0
        self.closed = False
        self.caller = caller
        self.record = AuditRecord(
            method,
            principal=who,
            role=caller.role,
            request_id=caller.request_id,
            address=caller.address,
        )

    def about(self, resource: str) -> None:
        """Names what the call is about: the first time what was asked for, later what was made."""
        self.record = replace(self.record, resource=resource, project=self._project(resource))

    def _project(self, resource: str) -> str:
        """The project, if the caller may touch it: a stranger's name for it is no news for its admins."""
        collection, _, rest = resource.partition("/")
        project = rest.partition("/")[0] if collection == "projects" else ""
        return project if _PROJECT.fullmatch(project) and self.caller.allows(project) else ""


CALL: ContextVar[CallEntry | None] = ContextVar("audited_call", default=None)
"""The call at hand, None outside of calls."""
