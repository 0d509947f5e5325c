"""The typed errors of the suite.

A use case raises one of the subclasses below and knows nothing of the wire. `grpc_errors` translates each class to a
status at the server and back to the same class at the client, so an error crosses a service boundary intact.
Pure: models, ports and use cases may import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that is wrong.

    field: path of the field in the request, in proto spelling (`training_job.parameters.rank`).
    description: what is wrong with it, one sentence.
    """

    field: str
    description: str


@dataclass(frozen=True)
class QuotaViolation:
    """A budget that is used up.

    subject: whose (`projects/acme`, `process`). description: the budget, its use and its limit, one sentence.
    """

    subject: str
    description: str


class DomainError(Exception):
    """Root of the tree. It is never raised itself; raise the subclass that says what kind of failure it is.

    reason: stable UPPER_SNAKE word that a program can match on. message: one sentence for a person.
    remedy: what the caller can do about it. metadata: further facts as strings (ids, limits), never secrets.
    violations: the fields that are wrong; `field=` is the short form for exactly one. retry_after_s: the same call may
    succeed after so many seconds; None when that is not known. quotas: the budgets that are used up.
    """

    default_reason: ClassVar[str] = "UNKNOWN"

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
    ) -> None:
        self.message = message.strip()
        self.remedy = remedy.strip()
        self.reason = reason or self.default_reason
        self.metadata: dict[str, str] = {key: str(value) for key, value in (metadata or {}).items()}
        named = (FieldViolation(field, self.message),) if field else ()
        self.violations: tuple[FieldViolation, ...] = (*named, *violations)
        self.retry_after_s = retry_after_s
        self.quotas: tuple[QuotaViolation, ...] = tuple(quotas)
        super().__init__(self.message)

    def __str__(self) -> str:
        if not self.remedy:
            return self.message
        ending = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{ending} {self.remedy}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r})"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are copied between processes; the default reduce would lose the keyword arguments.
        return (_rebuild, (type(self), self.message, self.facts()))

    def facts(self) -> dict[str, Any]:
        """All but the message, by the names of the keyword arguments."""
        return {
            "remedy": self.remedy,
            "reason": self.reason,
            "metadata": self.metadata,
            "violations": self.violations,
            "retry_after_s": self.retry_after_s,
            "quotas": self.quotas,
        }

    @property
    def field(self) -> str:
        """The first wrong field, or "" when the error is not about a field."""
        return self.violations[0].field if self.violations else ""


def relocated(error: DomainError, rename: Callable[[str], str]) -> DomainError:
    """The same error of a request whose fields have other paths."""
    return _located(error, [FieldViolation(rename(one.field), one.description) for one in error.violations])


def within(error: DomainError, path: str, *, otherwise: str) -> DomainError:
    """The same error of one entry of a request, such as `requests[3]`.

    otherwise: the field of the entry that is wrong when the error names none; "" for the entry itself.
    """
    if error.violations:
        return relocated(error, lambda field: f"{path}.{field}" if field else path)
    return _located(error, [FieldViolation(f"{path}.{otherwise}" if otherwise else path, error.message)])


def _located(error: DomainError, violations: Sequence[FieldViolation]) -> DomainError:
    return _rebuild(type(error), error.message, {**error.facts(), "violations": violations})


def _rebuild(kind: type[DomainError], message: str, facts: dict[str, Any]) -> DomainError:
    return kind(message, **facts)


class InvalidArgument(DomainError):
    """The request is wrong whatever the state of the system; the same request can never succeed.

    parts: the errors that this one was joined from.
    """

    default_reason = "INVALID_ARGUMENT"
    parts: tuple[DomainError, ...] = ()


def refuse_all(wrong: Sequence[InvalidArgument]) -> None:
    """Raises what was found wrong with a request, if anything: one error that names every field of them."""
    if wrong:
        raise joined(wrong[0], wrong[1:])


def joined(first: InvalidArgument, others: Sequence[DomainError]) -> InvalidArgument:
    """One error that names the fields of all of them; its reason is the first one's."""
    parts = [*parts_of(first), *(part for each in others for part in parts_of(each))]
    if len(parts) == 1:
        return first
    made = InvalidArgument(
        f"{parts[0].message} (and {len(parts) - 1} more)",
        reason=first.reason,
        remedy=" ".join(dict.fromkeys(each.remedy for each in parts if each.remedy)),
        metadata={key: value for each in parts for key, value in each.metadata.items()},
        violations=[violation for each in parts for violation in each.violations],
    )
    made.parts = tuple(parts)
    return made


def collected(wrong: list[InvalidArgument], check: Callable[[], T]) -> T | None:
    """What a check returns; what it refuses is added to the list, and None comes back."""
    try:
        return check()
    except InvalidArgument as error:
        wrong.append(error)
        return None


def parts_of(error: DomainError) -> tuple[DomainError, ...]:
    """The errors that it was joined from; itself alone where it was not."""
    return getattr(error, "parts", ()) or (error,)


class NotFound(DomainError):
    """The named thing does not exist, or no longer exists."""

    default_reason = "NOT_FOUND"


class AlreadyExists(DomainError):
    """The id that the caller chose is taken."""

    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(DomainError):
    """The request is fine but the thing is not in a state that allows it; the caller must change that state first."""

    default_reason = "FAILED_PRECONDITION"


class Aborted(DomainError):
    """Someone else was faster (an old etag, an old lease); read again and repeat the whole sequence."""

    default_reason = "ABORTED"


class ResourceExhausted(DomainError):
    """A quota, a count or a size is used up."""

    default_reason = "RESOURCE_EXHAUSTED"


class PermissionDenied(DomainError):
    """The caller is known and may not do this."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(DomainError):
    """The caller did not say who it is, or the proof is not valid."""

    default_reason = "UNAUTHENTICATED"


class Unavailable(DomainError):
    """A part that this call needs cannot be reached now; the same call may be repeated after a pause."""

    default_reason = "UNAVAILABLE"


class OutOfRange(DomainError):
    """The request points past the end of what exists."""

    default_reason = "OUT_OF_RANGE"


class DeadlineExceeded(DomainError):
    """The time that the caller allowed is over."""

    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(DomainError):
    """The caller gave up."""

    default_reason = "CANCELLED"


class Unimplemented(DomainError):
    """This server does not know the method: an older version answers, or the address belongs to another service."""

    default_reason = "UNIMPLEMENTED"


class DataLoss(DomainError):
    """Stored bytes are not what was written (a digest differs)."""

    default_reason = "DATA_LOSS"


class Internal(DomainError):
    """A fault of the software. The sentence is plain; the details are in the log under the request id."""

    default_reason = "INTERNAL"
