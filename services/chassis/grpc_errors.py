"""The one table between DomainErrors and gRPC status, read in both directions.

Wire form: google.rpc.Status with `ErrorInfo{reason, domain: "fiveshot", metadata}` and, when fields are wrong,
`BadRequest.field_violations`; `QuotaFailure` for budgets and `RetryInfo` where a repeat
may succeed. The remedy travels in ErrorInfo.metadata["remedy"] (https://google.aip.dev/193).
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.chassis import errors
from services.chassis.texts import shown

ERROR_DOMAIN = "fiveshot"
REMEDY_KEY = "remedy"

STATUS_CODES: dict[type[errors.DomainError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
# Trailers share 8 KiB by default; an error that does not fit would arrive as a bare RESOURCE_EXHAUSTED. What is left
# is for the request id and for the names of the trailers.
_MAX_TRAILER_BYTES = 6 * 1024
_MAX_VIOLATIONS = 16
_MAX_SENTENCE = 1000
_MAX_DESCRIPTION = 200
# A character takes up to twelve bytes in `grpc-message` and four in the details; with 15 of them any error fits.
_HALVINGS = 6

# What grpc.aio says, as an INTERNAL of its own, of a call that ended while its messages were still written: the line
# broke, or a refusal was not read any more (https://github.com/grpc/grpc/issues/36066).
_BROKEN_OFF = "Internal error from Core"
# What stays as it is in `grpc-message`: printable ASCII but for the percent sign.
_PLAIN = string.punctuation.replace("%", "") + " "
_CLASSES = {code: kind for kind, code in STATUS_CODES.items()}

# What a person can do when the failure comes from the transport and carries no details of ours.
_TRANSPORT_REMEDIES = {
    grpc.StatusCode.UNAVAILABLE: "Check that the service is running and that its address is right, then try again.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "Try again, or allow the call more time.",
    grpc.StatusCode.UNIMPLEMENTED: "Check that the address is this service's and that both sides run the same version.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Send less at once: a message has a size limit, streams carry large content.",
}


def status_code(error: errors.DomainError) -> grpc.StatusCode:
    """The gRPC code of an error, found through its nearest class in the table (a subclass inherits its parent's)."""
    for kind in type(error).__mro__:
        if kind in STATUS_CODES:
            return STATUS_CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_proto(error: errors.DomainError) -> status_pb2.Status:
    """The wire form of an error: all of it where that fits, otherwise its beginnings."""
    status = _to_proto(error, 1)
    for halving in range(1, _HALVINGS + 1):
        if _trailer_bytes(status) <= _MAX_TRAILER_BYTES:
            break
        status = _to_proto(error, 2**halving)
    return status


def _to_proto(error: errors.DomainError, part: int) -> status_pb2.Status:
    """part: only one of so many parts of each text and list is kept."""
    sentence, description, count = _MAX_SENTENCE // part, _MAX_DESCRIPTION // part, max(1, _MAX_VIOLATIONS // part)
    metadata = {_cut(key, sentence): _cut(value, sentence) for key, value in list(error.metadata.items())[:count]}
    if error.remedy:
        metadata[REMEDY_KEY] = _cut(error.remedy, sentence)
    details = [_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata))]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=_cut(violation.field, description), description=_cut(violation.description, description)
            )
            for violation in error.violations[:count]
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
    if error.quotas:
        quotas = [
            error_details_pb2.QuotaFailure.Violation(
                subject=_cut(quota.subject, description), description=_cut(quota.description, description)
            )
            for quota in error.quotas[:count]
        ]
        details.append(_packed(error_details_pb2.QuotaFailure(violations=quotas)))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(_packed(retry))
    code = code_pb2.Code.Value(status_code(error).name)
    return status_pb2.Status(code=code, message=_cut(error.message, sentence), details=details)


def _cut(text: str, length: int) -> str:
    """The text's beginning. It may quote a stranger's, of which no terminal should obey a character."""
    return shown(text[:length])[:length]


def message_header(message: str) -> str:
    """A message as `grpc-message` carries it."""
    return quote(message, safe=_PLAIN)


def _trailer_bytes(status: status_pb2.Status) -> int:
    """What a status takes as trailers: its details in base64, its message with three bytes for one that is no ASCII."""
    return len(message_header(status.message)) + (len(status.SerializeToString()) + 2) // 3 * 4


def to_status(error: errors.DomainError) -> grpc.Status:
    """The same as an object that `context.abort_with_status` takes."""
    return rpc_status.to_status(to_proto(error))


def from_proto(status: status_pb2.Status) -> errors.DomainError:
    """The error that a google.rpc.Status stands for."""
    kind = _CLASSES.get(_grpc_code(status.code), errors.Internal)
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    quotas = error_details_pb2.QuotaFailure()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for kept in (info, request, quotas, retry):
            if detail.Is(kept.DESCRIPTOR):
                detail.Unpack(kept)
    metadata = dict(info.metadata)
    return kind(
        status.message,
        reason=info.reason,
        remedy=metadata.pop(REMEDY_KEY, ""),
        metadata=metadata,
        violations=[errors.FieldViolation(item.field, item.description) for item in request.field_violations],
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
        quotas=[errors.QuotaViolation(item.subject, item.description) for item in quotas.violations],
    )


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.DomainError:
    """The DomainError behind a failed call; failures of the transport itself become the class of their code."""
    trailers: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):
                return from_proto(status_pb2.Status.FromString(value))
    code = error.code()
    if error.details() == _BROKEN_OFF:
        return errors.Unavailable("The call broke off while it was sent", reason="CONNECTION_LOST", remedy="Try again.")
    kind = _CLASSES.get(code, errors.Internal)
    message = (error.details() or "").strip() or f"The call failed with {code.name}"
    return kind(message, remedy=_TRANSPORT_REMEDIES.get(code, ""))


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _grpc_code(number: int) -> grpc.StatusCode:
    for code in grpc.StatusCode:
        if code.value[0] == number:
            return code
    return grpc.StatusCode.UNKNOWN
