"""The audit of the calls that a server answers: which leave a record, and when it is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from services.chassis.audit.records import CALL, REFUSALS, AuditRecord, CallEntry, only_looks
from services.chassis.request_checks import resource_names
from services.chassis.request_context import RequestContext

if TYPE_CHECKING:
    # Every server can be audited; one that has no database needs no SQL installed.
    from services.chassis.audit.outbox import AuditOutbox


OWN = "process:upkeep"
"""The principal of what a process does by itself."""


class AuditedCall:
    """One call on its way to its record."""

    def __init__(self, entry: CallEntry, outbox: AuditOutbox) -> None:
        self._entry = entry
        self._outbox = outbox
        self._request: Message | None = None

    @property
    def changes(self) -> bool:
        """Whether its method changes something: then it leaves a record however it ends."""
        return self._entry.changes

    def about(self, request: Message) -> None:
        """Takes the call's first message: what it is about is the first resource that it names."""
        self._request = request
        if self._entry.changes:
            self._name()

    def close(self, code: str, reason: str, made: str) -> None:
        """Takes the outcome."""
        if not self._entry.changes and code in REFUSALS:
            self._name()
        self._outbox.close_call(self._entry, code, reason, made)

    def _name(self) -> None:
        if self._request is not None:
            self._entry.about(next((name for _, name in resource_names(self._request)), ""))


class Auditing:
    """The audit of a server.

    services: full names of those whose calls are recorded; the outbox's own intake is not. looks: bare names of methods
    that change nothing although their verb does not say so. close: called once nothing more is to be written.
    """

    def __init__(
        self,
        outbox: AuditOutbox,
        services: Collection[str],
        *,
        looks: Collection[str] = (),
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._outbox = outbox
        self._services = frozenset(services)
        self._looks = frozenset(looks)
        self._close = close

    async def run(self) -> None:
        """Moves records on until cancelled."""
        await self._outbox.run()

    async def close(self) -> None:
        """Writes what is not written yet."""
        await self._outbox.close()
        if self._close is not None:
            await self._close()

    def note(self, method: str, *, project: str, count: int) -> None:
        """Records what the process did by itself to a project. method: of a call that does the same, as its
        records spell it. count: of the things that changed."""
        record = AuditRecord(method, project=project, principal=OWN, resource=f"projects/{project}", count=count)
        self._outbox.add(record)

    def open(self, method: str, caller: RequestContext, process: str) -> AuditedCall | None:
        """Begins the record of a call; None for one that leaves none. method: its path. process: that sent it."""
        service, _, name = method.lstrip("/").partition("/")
        if service not in self._services:
            return None
        changes = not only_looks(name, self._looks)
        entry = CallEntry(f"{service}.{name}", caller, changes=changes, process=process)
        CALL.set(entry)
        return AuditedCall(entry, self._outbox)
