"""A base model that a project has uploaded for itself, and every move of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from services.chassis.names import check_etag, check_mask, etag_of
from services.trainer.models.job import Attempt, JobError, Lease, Outcome

LONGEST_NAME = 100
"""Jobs and model versions keep the name of their base model in so many characters."""
MAX_ATTEMPTS = 3
"""Tries of a check that end by themselves, by a fault of the worker, before it is given up."""
EDITABLE = ("display_name", "description", "license", "labels")

_LOST = JobError(
    "WORKER_LOST",
    "The workers that checked it fell silent.",
    "Upload it again; tell the operator if it persists.",
)


class OwnBaseModelState(StrEnum):
    """Where it stands."""

    UPLOADING = "UPLOADING"
    CHECKING = "CHECKING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the file. In order, they are the file."""

    object_key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OwnBaseModel:
    """One of them.

    Attributes:
        name: `projects/{project}/baseModels/{base_model}`.
        size_bytes, sha256: of the whole file, as its owner announced them; the check compares.
        header_bytes, header_sha256: of its beginning, which was looked at before the rest came.
        families: that its header may be of. based_on: name of the catalogue's entry; "" until somebody knows.
        family: of the entry that it is based on; "" before its check.
        attempts: of its check.
        revision: counts the changes that callers see.
    """

    name: str
    project: str
    display_name: str
    description: str
    license: str
    file_name: str
    size_bytes: int
    sha256: str
    header_bytes: int
    header_sha256: str
    precision: str
    families: tuple[str, ...]
    create_time: datetime
    update_time: datetime
    based_on: str = ""
    family: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    state: OwnBaseModelState = OwnBaseModelState.UPLOADING
    parts: tuple[Part, ...] = ()
    error: JobError | None = None
    attempts: tuple[Attempt, ...] = ()
    lease: Lease | None = None
    revision: int = 1

    @property
    def base_model(self) -> str:
        """What its check runs on, as usage tells it."""
        return self.name

    @property
    def uploaded_bytes(self) -> int:
        """Bytes that are stored."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def etag(self) -> str:
        """Changes with every change that callers see."""
        return etag_of(self.name, self.revision)


@dataclass(frozen=True, slots=True)
class Users:
    """What needs a base model: jobs and preview requests that have not ended, and jobs that have."""

    unfinished_jobs: int = 0
    unfinished_previews: int = 0
    ended_jobs: int = 0


def with_part(model: OwnBaseModel, part: Part, *, offset: int, now: datetime) -> OwnBaseModel:
    """The next part has arrived; with the last one the check begins.

    Raises FailedPrecondition(reason=BASE_MODEL_STATE), Aborted(reason=UPLOAD_OFFSET).
    """
    check_upload(model, offset)
    parts = (*model.parts, part)
    whole = offset + part.size_bytes == model.size_bytes
    state = OwnBaseModelState.CHECKING if whole else OwnBaseModelState.UPLOADING
    return _changed(model, now, parts=parts, state=state)


def check_upload(model: OwnBaseModel, offset: int) -> None:
    """Unless bytes may follow there: FailedPrecondition(reason=BASE_MODEL_STATE), Aborted(reason=UPLOAD_OFFSET)."""
    if model.state is not OwnBaseModelState.UPLOADING:
        raise FailedPrecondition(
            f"The base model is {model.state}: its file has come",
            field="header.name",
            reason="BASE_MODEL_STATE",
            remedy="Delete it first, or upload under another id.",
            metadata={"state": model.state.value},
        )
    if offset != model.uploaded_bytes:
        raise Aborted(
            f"The upload goes on at byte {model.uploaded_bytes}, not {offset}",
            field="header.offset",
            reason="UPLOAD_OFFSET",
            remedy="Read uploaded_bytes and send the file from there; let one process alone upload it.",
            metadata={"uploaded_bytes": str(model.uploaded_bytes)},
            # Of an upload that broke off the last part may still be on its way to the store.
            retry_after_s=1.0,
        )


def acquire(
    model: OwnBaseModel, *, worker_id: str, token: str, now: datetime, lease: timedelta, pretends: bool
) -> OwnBaseModel:
    """A worker takes a waiting check."""
    attempt = Attempt(len(model.attempts) + 1, worker_id, token, now, pretended=pretends)
    return replace(model, attempts=(*model.attempts, attempt), lease=Lease(token, worker_id, now + lease))


def renew(model: OwnBaseModel, *, token: str, now: datetime, lease: timedelta) -> OwnBaseModel:
    """A sign of life. Raises Aborted(reason=LEASE_LOST)."""
    return replace(model, lease=replace(_held(model, token), expires_at=now + lease))


def complete(
    model: OwnBaseModel,
    outcome: Outcome,
    error: JobError | None,
    *,
    based_on: str,
    family: str,
    token: str,
    now: datetime,
) -> OwnBaseModel:
    """Ends a check. Raises Aborted(reason=LEASE_LOST), InvalidArgument when what it found or why it failed lacks."""
    _held(model, token)
    if outcome is Outcome.SUCCEEDED:
        if not based_on or not family:
            raise InvalidArgument("A check must say what it found", field="based_on", remedy="Fill it in.")
        let_go = _let_go(model, now, outcome)
        return _changed(let_go, now, state=OwnBaseModelState.READY, based_on=based_on, family=family)
    if outcome is Outcome.FAILED:
        if error is None or not error.reason:
            raise InvalidArgument("A failed check must say why", field="error", remedy="Fill in reason and message.")
        let_go = _let_go(model, now, outcome, error.message)
        if error.retryable and _tries(let_go) < MAX_ATTEMPTS:
            return let_go
        return failed(let_go, error, now)
    return _let_go(model, now, Outcome.RELEASED)


def expire_lease(model: OwnBaseModel, now: datetime) -> OwnBaseModel:
    """Takes a check off a worker that fell silent."""
    if model.lease is None or model.lease.expires_at > now:
        return model
    lost = _let_go(model, now, Outcome.LEASE_LOST)
    return failed(lost, _LOST, now) if _tries(lost) >= MAX_ATTEMPTS else lost


def failed(model: OwnBaseModel, error: JobError, now: datetime) -> OwnBaseModel:
    """It cannot be used, and its file is of no more use."""
    return _changed(model, now, state=OwnBaseModelState.FAILED, error=error, parts=())


def edited(model: OwnBaseModel, given: Mapping[str, object], mask: Sequence[str], now: datetime) -> OwnBaseModel:
    """The base model with the fields that the mask names (https://google.aip.dev/134): none for all that are set.

    Raises InvalidArgument (UPDATE_MASK_INVALID, LICENSE_MISSING).
    """
    check_mask(mask, EDITABLE)
    named = EDITABLE if "*" in mask else mask or [name for name in EDITABLE if given[name]]
    values = {name: given[name] for name in named}
    check_license(str(values.get("license", model.license)))
    if all(getattr(model, name) == value for name, value in values.items()):
        return model
    return _changed(model, now, **values)


def check_license(text: str) -> None:
    """Raises InvalidArgument(reason=LICENSE_MISSING)."""
    if not text.strip():
        raise InvalidArgument(
            "It is not said under which licence the base model may be used",
            field="base_model.license",
            reason="LICENSE_MISSING",
            remedy="Give its SPDX id, or a note on where the right to train on it comes from.",
        )


def check_delete(model: OwnBaseModel, users: Users, saved: int, *, etag: str, force: bool) -> None:
    """Raises Aborted, and FailedPrecondition(reason=BASE_MODEL_IN_USE) that says by what. saved: models made on it."""
    check_etag(etag, model.etag)
    unended = (users.unfinished_jobs, "training job(s)"), (users.unfinished_previews, "preview request(s)")
    needed = [f"{count} unfinished {what}" for count, what in unended if count]
    if needed:
        raise _in_use(f"{' and '.join(needed)} need it", "Wait for their end, or cancel them.", users, saved)
    ended = users.ended_jobs
    made = [f"{count} {what}" for count, what in ((ended, "ended training job(s)"), (saved, "saved model(s)")) if count]
    if made and not force:
        remedy = "Delete them first, or repeat the call with force: they stay, but can neither go on nor be drawn."
        raise _in_use(f"{' and '.join(made)} were trained on it", remedy, users, saved)


def not_found(name: str, *, field: str = "name") -> NotFound:
    """No base model has this name, or the project asked for may not use it."""
    return NotFound(
        f"There is no base model '{name}'",
        field=field,
        reason="BASE_MODEL_NOT_FOUND",
        remedy="List the project's base models, or those of the catalogue.",
    )


def _in_use(why: str, remedy: str, users: Users, saved: int) -> FailedPrecondition:
    counts = {name: str(getattr(users, name)) for name in Users.__dataclass_fields__} | {"saved_models": str(saved)}
    return FailedPrecondition(
        f"The base model cannot be deleted: {why}",
        field="name",
        reason="BASE_MODEL_IN_USE",
        remedy=remedy,
        metadata=counts,
    )


def _held(model: OwnBaseModel, token: str) -> Lease:
    if model.lease is None or model.lease.token != token:
        raise Aborted(
            "This lease is no longer valid", field="lease_token", reason="LEASE_LOST", remedy="Drop the check."
        )
    return model.lease


def _let_go(model: OwnBaseModel, now: datetime, outcome: Outcome, message: str = "") -> OwnBaseModel:
    ended = replace(model.attempts[-1], end_time=now, outcome=outcome, message=message)
    return replace(model, attempts=(*model.attempts[:-1], ended), lease=None)


def _tries(model: OwnBaseModel) -> int:
    """Tries that count: a worker that was asked to go has done nothing wrong."""
    return sum(attempt.outcome is not Outcome.RELEASED for attempt in model.attempts)


def _changed(model: OwnBaseModel, now: datetime, **values: object) -> OwnBaseModel:
    return replace(model, **values, update_time=now, revision=model.revision + 1)  # type: ignore[arg-type]
