"""What a call raises: one class for each kind of failure, each with a reason for programs and a remedy for people.

The server sends google.rpc.Status with ErrorInfo, BadRequest, QuotaFailure and RetryInfo (https://google.aip.dev/193);
a failure of the connection itself has none of these and becomes the class of its gRPC code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

__all__ = [
    "Aborted", "AlreadyExists", "Cancelled", "DataLoss", "DeadlineExceeded", "FailedPrecondition", "FieldViolation",
    "FiveshotError", "Internal", "InvalidArgument", "NotFound", "OutOfRange", "PermissionDenied", "QuotaViolation",
    "ResourceExhausted", "Unauthenticated", "Unavailable", "Unimplemented", "from_rpc_error", "from_status",
]  # fmt: skip

_DOMAIN = "fiveshot"
_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"
_REMEDY_KEY = "remedy"
_NO_CONNECTION = ("failed to connect", "errors resolving", "dns resolution failed")
_ADDRESS = re.compile(r"ipv[46]:(?:%5B)?([0-9a-fA-F.:]+?)(?:%5D)?:([0-9]+): ")
BROKEN_OFF = "Internal error from Core"
"""What grpc.aio says, as an INTERNAL of its own, when a call ended while its messages were still written: the line
broke, or a refusal was not read any more (https://github.com/grpc/grpc/issues/36066)."""


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that is wrong.

    field: its path in the request, in proto spelling (`training_job.parameters.rank`). description: one sentence.
    """

    field: str
    description: str


@dataclass(frozen=True)
class QuotaViolation:
    """A budget that is used up. subject: whose. description: the budget, its use and its limit, one sentence."""

    subject: str
    description: str


class FiveshotError(Exception):
    """Root of everything that a call raises.

    reason: stable UPPER_SNAKE word (docs/errors.md lists them). message: one sentence. remedy: what to do about it.
    metadata: further facts. violations: the fields that are wrong. retry_after_s: the same call may succeed after so
    many seconds, None when that is not known. quotas: the budgets that are used up. request_id: what the operator finds
    the call by, "" when the server was not reached.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        remedy: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after_s: float | None = None,
        quotas: Sequence[QuotaViolation] = (),
        request_id: str = "",
    ) -> None:
        self.message = message.strip()
        self.remedy = remedy.strip()
        self.reason = reason or self.code
        self.metadata: dict[str, str] = dict(metadata or {})
        named = (FieldViolation(field, self.message),) if field else ()
        self.violations: tuple[FieldViolation, ...] = (*named, *violations)
        self.retry_after_s = retry_after_s
        self.quotas: tuple[QuotaViolation, ...] = tuple(quotas)
        self.request_id = request_id
        super().__init__(self.message)

    @property
    def field(self) -> str:
        """The first wrong field, or "" when the error is not about a field."""
        return self.violations[0].field if self.violations else ""

    def facts(self) -> dict[str, Any]:
        """All but the message, by the names of the keyword arguments."""
        return {
            "remedy": self.remedy, "reason": self.reason, "metadata": self.metadata, "violations": self.violations,
            "retry_after_s": self.retry_after_s, "quotas": self.quotas, "request_id": self.request_id,
        }  # fmt: skip

    def status(self) -> status_pb2.Status:
        """The form in which it travels."""
        metadata = self.metadata | ({_REMEDY_KEY: self.remedy} if self.remedy else {})
        found: list[Any] = [error_details_pb2.ErrorInfo(reason=self.reason, domain=_DOMAIN, metadata=metadata)]
        if self.violations:
            wrong = [
                error_details_pb2.BadRequest.FieldViolation(field=each.field, description=each.description)
                for each in self.violations
            ]
            found.append(error_details_pb2.BadRequest(field_violations=wrong))
        if self.quotas:
            used_up = [
                error_details_pb2.QuotaFailure.Violation(subject=each.subject, description=each.description)
                for each in self.quotas
            ]
            found.append(error_details_pb2.QuotaFailure(violations=used_up))
        if self.retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_after_s * 1e9))
            found.append(retry)
        status = status_pb2.Status(code=code_pb2.Code.Value(self.code), message=self.message)
        for detail in found:
            status.details.add().Pack(detail)
        return status

    def __str__(self) -> str:
        ending = "" if self.message.endswith((".", "!", "?")) else "."
        about = f"{self.message}{ending} {self.remedy}" if self.remedy else self.message
        return f"{about} [{self.reason}{'; field ' + self.field if self.field else ''}]"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are copied between processes; the default reduce would lose the keyword arguments.
        return (_rebuild, (type(self), self.message, self.facts()))


def _rebuild(kind: type[FiveshotError], message: str, facts: dict[str, Any]) -> FiveshotError:
    return kind(message, **facts)


class InvalidArgument(FiveshotError):
    """The request is wrong whatever the state of the system; the same request can never succeed."""

    code = "INVALID_ARGUMENT"


class NotFound(FiveshotError):
    """The named thing does not exist, or no longer exists."""

    code = "NOT_FOUND"


class AlreadyExists(FiveshotError):
    """The id that the caller chose is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(FiveshotError):
    """The thing is not in a state that allows it; change that state first."""

    code = "FAILED_PRECONDITION"


class Aborted(FiveshotError):
    """Someone else was faster (an old etag); read again and repeat the whole sequence."""

    code = "ABORTED"


class ResourceExhausted(FiveshotError):
    """A quota, a count or a size is used up."""

    code = "RESOURCE_EXHAUSTED"


class PermissionDenied(FiveshotError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class Unauthenticated(FiveshotError):
    """The caller did not say who it is, or the proof is not valid."""

    code = "UNAUTHENTICATED"


class Unavailable(FiveshotError):
    """A part that this call needs cannot be reached now; the same call may be repeated after a pause."""

    code = "UNAVAILABLE"


class OutOfRange(FiveshotError):
    """The request points past the end of what exists."""

    code = "OUT_OF_RANGE"


class DeadlineExceeded(FiveshotError):
    """The time that the caller allowed is over."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(FiveshotError):
    """The caller gave up."""

    code = "CANCELLED"


class Unimplemented(FiveshotError):
    """This server does not know the method: an older version answers, or the address belongs to another service."""

    code = "UNIMPLEMENTED"


class DataLoss(FiveshotError):
    """Bytes are not what was stored (a digest differs)."""

    code = "DATA_LOSS"


class Internal(FiveshotError):
    """A fault of the software; `request_id` finds it in the server's log."""

    code = "INTERNAL"


_CLASSES: dict[str, type[FiveshotError]] = {kind.code: kind for kind in FiveshotError.__subclasses__()}

# What can be done when the failure comes from the connection and carries no remedy.
_CONNECTION_REMEDIES = {
    "UNAVAILABLE": "Check that the server runs and that its address is right, then try again.",
    "DEADLINE_EXCEEDED": "Try again, or allow the call more time; /healthz of the server says what is away.",
    "UNIMPLEMENTED": "Check that the address is Fiveshot's and that both sides have the same version.",
    "RESOURCE_EXHAUSTED": "Send less at once.",
}


def from_status(status: status_pb2.Status, *, request_id: str = "") -> FiveshotError:
    """The error that a google.rpc.Status stands for."""
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    quotas, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for kept in (info, request, quotas, retry):
            if detail.Is(kept.DESCRIPTOR):
                detail.Unpack(kept)
    metadata = dict(info.metadata)
    known = code_pb2.Code.DESCRIPTOR.values_by_number.get(status.code)
    return _CLASSES.get(known.name if known else "", Internal)(
        status.message,
        reason=info.reason,
        remedy=metadata.pop(_REMEDY_KEY, ""),
        metadata=metadata,
        violations=[FieldViolation(each.field, each.description) for each in request.field_violations],
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
        quotas=[QuotaViolation(each.subject, each.description) for each in quotas.violations],
        request_id=request_id or metadata.get("request_id", ""),
    )


def from_rpc_error(error: grpc.RpcError) -> FiveshotError:
    """The error behind a failed gRPC call, of either kind of channel."""
    # Both kinds of failed call have these methods; their common root declares none.
    failed: Any = error
    trailers: Iterable[tuple[str, Any]] = failed.trailing_metadata() or ()
    found = dict(trailers)
    request_id = str(found.get(_REQUEST_ID_KEY, ""))
    if isinstance(found.get(_DETAILS_KEY), bytes):
        try:
            return from_status(status_pb2.Status.FromString(found[_DETAILS_KEY]), request_id=request_id)
        except DecodeError:
            # Not ours; the code and the sentence still say what happened.
            pass
    code = failed.code().name
    if failed.details() == BROKEN_OFF:
        return Unavailable(
            "The call broke off while it was sent", reason="CONNECTION_LOST", remedy="Try again.", request_id=request_id
        )
    message = (failed.details() or "").strip() or f"The call failed with {code}"
    if code == "DEADLINE_EXCEEDED" and "deadline exceeded" in message.lower():
        # The library's own words, such as "Stream removed", are about its connections.
        message = "No answer came in the time that the call had"
    kind, remedy, reason = _CLASSES.get(code, Internal), _CONNECTION_REMEDIES.get(code, ""), ""
    if kind is Unavailable and message.lower().startswith(_NO_CONNECTION):
        tried = _ADDRESS.search(message)
        where = f" at {tried[1]}, port {tried[2]}," if tried else ""
        message, reason = f"The server{where} does not answer", "NO_CONNECTION"
    return kind(message, reason=reason, remedy=remedy, request_id=request_id)
