"""What the use cases need from outside: the lifecycle and the errors of each, not only the signatures.

Every method may raise Unavailable when the server behind it cannot be reached; nothing has changed then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from services.chassis.audit.records import AuditRecord
from services.chassis.listing.fields import labels, moment, text, text_map
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.requests.keys import RequestKey
from services.registry.models.resources import (
    BaseModelFacts,
    EpochFile,
    FinishedEpoch,
    Model,
    ModelChanges,
    ModelVersion,
    NewModel,
    VersionDraft,
)

MODELS: Listing[Model] = Listing(
    "ListModels",
    fields={
        "display_name": text(fold=str.casefold),
        "tags": labels(),
        "labels": text_map(),
        "base_models": labels(),
        "create_time": moment(),
        "update_time": moment(),
    },
    sortable={"create_time": datetime, "update_time": datetime, "display_name": str},
    key=("model_id", str),
    default_order=[Order("create_time", descending=True)],
)
VERSIONS: Listing[ModelVersion] = Listing(
    "ListModelVersions",
    fields={"labels": text_map(), "create_time": moment()},
    sortable={"create_time": datetime},
    key=("number", int),
    default_order=[Order("number", descending=True)],
)

AUDIT_RECORDS: Listing[AuditRecord] = Listing(
    "ListAuditRecords",
    fields={
        "time": moment(),
        **{
            name: text()
            for name in ("principal", "role", "method", "resource", "code", "reason", "request_id", "address")
        },
    },
    sortable={"time": datetime},
    key=("id", str),
    default_order=[Order("time", descending=True)],
)

Admit = Callable[[int | None, int | None], None]
"""Is told how many models and versions the project keeps, of each kind that a call adds one to (None for the other),
and raises when that is too many. Nobody adds one in between."""


class ModelStore(Protocol):
    """Models, versions and aliases: the truth of what is kept.

    Each method is one transaction. A version is immutable once it is added, and its number is never used again.
    """

    async def recall(self, key: RequestKey) -> str | None:
        """The resource that this request made before; None when it is new or has no request_id.

        Raises InvalidArgument(REQUEST_ID_REUSED) when the id belongs to a request of other content.
        """
        ...

    async def create_model(self, new: NewModel, key: RequestKey, admit: Admit | None = None) -> Model:
        """Adds a model without versions. Of two equal requests the second gets the first one's model.

        Raises what `admit` raises, AlreadyExists(MODEL_EXISTS) when the id is taken,
        InvalidArgument(REQUEST_ID_REUSED).
        """
        ...

    async def get_model(self, project: str, model_id: str) -> Model:
        """Raises NotFound(MODEL_NOT_FOUND)."""
        ...

    async def list_models(self, project: str, query: Query) -> tuple[list[Model], int]:
        """A page of a project's models (see `MODELS`), and how many match in all."""
        ...

    async def update_model(self, project: str, model_id: str, changes: ModelChanges, etag: str) -> Model:
        """Changes what is not None. Raises NotFound(MODEL_NOT_FOUND), Aborted(ETAG_MISMATCH) unless etag is ""."""
        ...

    async def delete_model(self, project: str, model_id: str, *, etag: str, force: bool) -> list[str]:
        """Removes the model with its versions and returns the object keys that nothing refers to any more.

        Raises NotFound(MODEL_NOT_FOUND), Aborted(ETAG_MISMATCH), FailedPrecondition(MODEL_NOT_EMPTY) without `force`.
        """
        ...

    async def add_version(
        self,
        draft: VersionDraft,
        *,
        create: NewModel | None,
        aliases: Sequence[str],
        key: RequestKey,
        number: int | None = None,
        admit: Admit | None = None,
    ) -> ModelVersion:
        """Gives the draft the model's next number, points `latest` and `aliases` at it, and remembers the request.

        The files must be stored already. `create` is the model to make when there is none. Concurrent calls get
        different numbers, in the order in which they commit. When the same request was carried out meanwhile, its
        version is returned and the draft is dropped: compare the files to see whose they are.
        Raises what `admit` raises, NotFound(MODEL_NOT_FOUND) without `create`, InvalidArgument(REQUEST_ID_REUSED), and
        Aborted(VERSION_NUMBER_TAKEN) when the next number is not `number`, for which the files were made.
        """
        ...

    async def get_version(self, project: str, model_id: str, selector: int | str) -> ModelVersion:
        """By number or by alias. Raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND or ALIAS_NOT_FOUND)."""
        ...

    async def list_versions(self, project: str, model_id: str, query: Query) -> tuple[list[ModelVersion], int]:
        """A page of a model's versions (see `VERSIONS`), and how many match. Raises NotFound(MODEL_NOT_FOUND)."""
        ...

    async def label_version(
        self, project: str, model_id: str, number: int, labels: Mapping[str, str], etag: str
    ) -> ModelVersion:
        """Gives a version other labels. Raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND), Aborted(ETAG_MISMATCH)
        unless etag is ""."""
        ...

    async def delete_version(
        self, project: str, model_id: str, number: int, check: Callable[[ModelVersion], None]
    ) -> list[str]:
        """Removes a version with its aliases unless `check` raises, and returns the object keys that are free now.

        Its number is never given again. Raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND).
        """
        ...

    async def set_alias(self, project: str, model_id: str, alias: str, number: int) -> Model:
        """Points the alias at a version. Raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND)."""
        ...

    async def delete_alias(self, project: str, model_id: str, alias: str) -> Model:
        """Takes the alias away. Raises NotFound (MODEL_NOT_FOUND, ALIAS_NOT_FOUND)."""
        ...

    async def counts(self, project: str) -> tuple[int, int]:
        """How many models and how many versions the project keeps."""
        ...

    async def forget_events(self, age: timedelta) -> int:
        """Drops what the event log tells of longer ago; returns how many events that were."""

    async def forget_requests(self, age: timedelta) -> int:
        """Forgets the request_ids that are older than `age` and returns how many that were."""
        ...

    async def unreferenced(self, object_keys: Sequence[str]) -> list[str]:
        """Those of the keys that no version refers to."""
        ...


class FileStore(Protocol):
    """Bytes of versions, by object key. A key is written once and never changed."""

    async def put(self, object_key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        """Stores the whole stream, or nothing: when `chunks` raises, the error passes and no object appears."""
        ...

    def read(self, object_key: str, part: range | None = None) -> AsyncIterator[bytes]:
        """The bytes, or those of a part, in chunks of at most 256 KiB. Raises NotFound at the first chunk.

        part: not empty; what of it lies beyond the end is left out.
        """
        ...

    async def delete(self, object_keys: Sequence[str]) -> None:
        """Removes the objects; absent ones are fine."""
        ...

    def list_older_than(self, moment: datetime) -> AsyncIterator[str]:
        """The keys of all objects last written before `moment`."""
        ...


class EpochSource(Protocol):
    """The trainer, read only."""

    async def finished_epoch(self, name: str) -> FinishedEpoch:
        """An epoch with its job's facts.

        Raises NotFound(EPOCH_NOT_FOUND or the trainer's own for the job), FailedPrecondition(EPOCH_NOT_FINISHED) while
        the job still works towards it.
        """
        ...

    async def base_model(self, name: str) -> BaseModelFacts:
        """A base model of the catalogue. Raises NotFound(BASE_MODEL_NOT_FOUND)."""
        ...

    def read_file(self, epoch: str, file: EpochFile) -> AsyncIterator[bytes]:
        """The bytes of one file as they arrive; whether they are right is for the reader to check. Raises NotFound."""
        ...


class AuditStore(Protocol):
    """The audit records of the whole suite. One that is known is kept once, in its highest revision."""

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Keeps them, all or none."""
        ...

    async def list(self, project: str | None, query: Query) -> Sequence[AuditRecord]:
        """A page (see `AUDIT_RECORDS`) of a project's records; None: of all there are."""
        ...

    async def forget(self, before: datetime, most: int) -> int:
        """Removes what is older, and the oldest beyond so many; returns how many those were."""
        ...
