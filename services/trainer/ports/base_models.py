"""What base models of projects need of the world outside; errors as in the rest of the room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from services.chassis.listing.fields import choice, moment, reference, text, text_map
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.requests.keys import RequestKey
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState, Part, Users
from services.trainer.ports import WorkerAsk

BASE_MODELS: Listing[OwnBaseModel] = Listing(
    "ListOwnBaseModels",
    fields={
        "state": choice(list(OwnBaseModelState), prefix="STATE_"),
        "family": text(),
        "based_on": reference("baseModels/"),
        "display_name": text(),
        "sha256": text(),
        "labels": text_map(),
        "create_time": moment(),
        "update_time": moment(),
    },
    sortable={"create_time": datetime, "update_time": datetime},
    key=("name", str),
    default_order=[Order("create_time", descending=True)],
)

BaseModelMove = Callable[[OwnBaseModel], OwnBaseModel]
"""A pure move of a base model; when it raises, nothing is stored."""
AdmitBytes = Callable[[int], None]
"""Raises when the project's base models take so many bytes that the new one does not fit."""


class BaseModelStore(Protocol):
    """The projects' own base models and their checks. Moves of one take turns; each is told as an event."""

    async def recall(self, key: RequestKey) -> OwnBaseModel | None:
        """What this call made before; None for a new one. InvalidArgument when the id was used otherwise."""

    async def create(self, model: OwnBaseModel, key: RequestKey, admit: AdmitBytes | None = None) -> OwnBaseModel:
        """Stores a new one; of two equal calls both get the same. AlreadyExists when the name is taken.

        admit: is told the bytes of the project's others; when it raises, nothing is stored.
        """

    async def get(self, name: str) -> OwnBaseModel:
        """The base model. NotFound."""

    async def list(self, project: str, query: Query) -> tuple[Sequence[OwnBaseModel], int]:
        """A page of a project's (see `BASE_MODELS`), and how many match in all."""

    async def change(self, name: str, move: BaseModelMove) -> OwnBaseModel:
        """Applies a move and returns the base model after it. NotFound, and whatever the move raises."""

    async def acquire(self, ask: WorkerAsk, able: Mapping[str, str], move: BaseModelMove) -> OwnBaseModel | None:
        """Applies a move to the check that waits longest and that the worker can do; None when there is none.

        able: names of the catalogue's base models that it can train, with their families.
        """

    async def users(self, name: str) -> Users:
        """What needs a base model now."""

    async def delete(self, name: str, check: Callable[[OwnBaseModel, Users], None]) -> OwnBaseModel:
        """Removes one and returns it. check: raises to keep it; no job on it is made meanwhile. NotFound."""

    async def stored_bytes(self, project: str) -> int:
        """Bytes of the project's base models, announced ones included and failed ones not."""

    async def due(self, now: datetime, *, idle_since: datetime, limit: int) -> Sequence[str]:
        """Names of those whose worker fell silent, and of those whose upload has not moved since then."""

    async def meter(self, hour: datetime) -> None:
        """Tells what each project stores as usage, once an hour."""


class SavedModels(Protocol):
    """The registry, called with the rights of the caller at hand."""

    async def trained_on(self, base_model: str) -> int:
        """How many models of the base model's project have a version that was trained on it or made for it."""


class BaseModelFiles(Protocol):
    """Parts of their files in the object store."""

    def key(self, name: str) -> str:
        """A new key for a part of this base model."""

    async def put(self, key: str, path: Path) -> None:
        """Stores a file under a key, whole or not at all."""

    async def delete(self, parts: Sequence[Part]) -> None:
        """Removes parts; absent ones are fine."""
