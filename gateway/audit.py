"""What the gateway itself has to record: refusals, and who signs in to the console and out.

It has no database. Records wait in memory until the registry has them: what a process holds when it is killed is lost,
a second's worth while the registry answers. A stranger makes no record of its own: strangers are counted by address,
minute and reason, and from a number of them on all others are one.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fiveshot.gateway.v1 import external_auth_pb2 as pb
from google.rpc import code_pb2

from gateway.check_answers import Caller
from services.chassis import grpc_errors
from services.chassis.audit.records import AuditRecord
from services.chassis.audit.wire import GATHER_S, LOST, MAX_WAITING, Deliver
from services.chassis.errors import DomainError
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.chassis.request_context import ADDRESS_KEY, ALL_PROJECTS, REQUEST_ID_KEY

log = get_logger(__name__)

SIGN_IN, SIGN_OUT = "console.SignIn", "console.SignOut"
OTHERS = "others"
"""The address of strangers beyond those that are counted apart."""
MAX_STRANGERS = 5_000
_MINUTE = timedelta(minutes=1)
_BATCH = 500
_GRPC_PATH = re.compile(r"/([a-z][a-z0-9.]*\.[A-Z][A-Za-z0-9]*)/([A-Za-z0-9]+)")
_RESOURCE = re.compile(r"/v1/(projects/([a-z][a-z0-9-]{0,62})(?:/[^?:]*)?)(?::[^?]*)?")


class GatewayAudit:
    """Takes what happened without waiting, and hands it over beside the calls."""

    def __init__(self, deliver: Deliver, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._deliver = deliver
        self._now = now
        self._waiting: deque[AuditRecord] = deque()
        self._strangers: Counter[tuple[datetime, str, str]] = Counter()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()

    def refused(self, http: pb.AttributeContext.HttpRequest, error: DomainError, caller: Caller | None) -> None:
        """A refusal. caller: None for a stranger."""
        code = code_pb2.Code.Name(grpc_errors.to_proto(error).code)
        if caller is None:
            self._count(http, code, error.reason)
            return
        method, resource, project = _asked(http)
        mine = project in caller.projects or ALL_PROJECTS in caller.projects
        self._add(http, caller, method, resource, project if mine else _only(caller), code, error.reason)

    def signed(self, http: pb.AttributeContext.HttpRequest, method: str, caller: Caller) -> None:
        """A browser's session began or ended."""
        self._add(http, caller, method, "", _only(caller), "OK", "")

    async def run(self) -> None:
        """Hands records over until cancelled."""
        while True:
            self._news.clear()
            self._close_minutes(self._now().replace(second=0, microsecond=0))
            try:
                await patiently(self._hand_over, what="audit records", patience_s=None)
            except DomainError as error:
                # During an upgrade the registry may not know this process yet.
                log.error("audit_records_refused", reason=error.reason, message=error.message)
            else:
                self._idle.set()
            try:
                async with asyncio.timeout(_MINUTE.total_seconds()):
                    await self._news.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(GATHER_S)

    async def idle(self) -> None:
        """Returns once `run` has handed over all that there is."""
        await self._idle.wait()

    async def close(self) -> None:
        """Hands over what is left, if the registry answers."""
        self._close_minutes(self._now() + _MINUTE)
        try:
            await self._hand_over()
        except DomainError as error:
            LOST.inc(len(self._waiting))
            log.error("audit_records_lost", records=len(self._waiting), reason=error.reason)

    def _add(
        self, http: pb.AttributeContext.HttpRequest, caller: Caller, method: str, resource: str, project: str,
        code: str, reason: str,
    ) -> None:  # fmt: skip
        self._push(
            AuditRecord(
                method,
                project=project,
                principal=caller.principal,
                role=str(caller.role),
                resource=resource,
                code=code,
                reason=reason,
                request_id=http.headers.get(REQUEST_ID_KEY, "")[:128],
                address=http.headers.get(ADDRESS_KEY, "")[:64],
                time=self._now(),
            )
        )
        self._news.set()

    def _count(self, http: pb.AttributeContext.HttpRequest, code: str, reason: str) -> None:
        minute = self._now().replace(second=0, microsecond=0)
        key = (minute, http.headers.get(ADDRESS_KEY, "")[:64], f"{code} {reason}")
        if key not in self._strangers and len(self._strangers) >= MAX_STRANGERS:
            key = (minute, OTHERS, key[2])
        self._strangers[key] += 1

    def _close_minutes(self, before: datetime) -> None:
        """Makes records of the minutes that are over."""
        for key in [each for each in self._strangers if each[0] < before]:
            count = self._strangers.pop(key)
            code, _, reason = key[2].partition(" ")
            self._push(AuditRecord("*", code=code, reason=reason, address=key[1], count=count, time=key[0]))

    def _push(self, record: AuditRecord) -> None:
        if len(self._waiting) >= MAX_WAITING:
            LOST.inc()
            return
        self._waiting.append(record)
        self._idle.clear()

    async def _hand_over(self) -> None:
        while self._waiting:
            batch = [self._waiting[number] for number in range(min(_BATCH, len(self._waiting)))]
            await self._deliver(batch)
            for _ in batch:
                self._waiting.popleft()


def _asked(http: pb.AttributeContext.HttpRequest) -> tuple[str, str, str]:
    """What a call asked for: method, resource and project, as far as its path says so."""
    path = http.path.partition("?")[0]
    if called := _GRPC_PATH.fullmatch(path):
        return f"{called[1]}.{called[2]}", "", ""
    if named := _RESOURCE.fullmatch(path):
        return http.method[:10], named[1][:512], named[2]
    return http.method[:10], "", ""


def _only(caller: Caller) -> str:
    """The caller's project if it has just one; with more, or all, what it did is for operators."""
    return caller.projects[0] if len(caller.projects) == 1 and caller.projects[0] != ALL_PROJECTS else ""
