"""What preview requests need of the world outside; errors as in the rest of the room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.chassis.listing.fields import choice, moment, reference
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.requests.keys import RequestKey
from services.trainer.models.preview_request import PreviewRequest, PreviewState
from services.trainer.models.queue import Starting
from services.trainer.ports import Admit, WorkerAsk
from services.trainer.recipe.lora_shape import LoraHeader

PREVIEW_REQUESTS: Listing[PreviewRequest] = Listing(
    "ListPreviewRequests",
    fields={
        "state": choice(list(PreviewState), prefix="STATE_"),
        "base_model": reference("baseModels/"),
        "create_time": moment(),
        "end_time": moment(),
    },
    sortable={"create_time": datetime},
    key=("name", str),
    default_order=[Order("create_time", descending=True)],
)

PreviewMove = Callable[[PreviewRequest], PreviewRequest]
"""A pure move of a preview request; when it raises, nothing is stored."""


class PreviewStore(Protocol):
    """The preview requests and their queue. Moves of one request take turns."""

    async def recall(self, key: RequestKey) -> PreviewRequest | None:
        """What this call made before; None for a new one. InvalidArgument when the id was used otherwise."""

    async def create(self, request: PreviewRequest, key: RequestKey, admit: Admit | None = None) -> PreviewRequest:
        """Stores a new one; of two equal calls both get the same. admit: is told how many of the project have not
        ended; when it raises, nothing is stored."""

    async def get(self, name: str) -> PreviewRequest:
        """The request. NotFound."""

    async def list(self, project: str, query: Query) -> tuple[Sequence[PreviewRequest], int]:
        """A page of a project's requests (see `PREVIEW_REQUESTS`), and how many match in all."""

    async def change(self, name: str, move: PreviewMove) -> PreviewRequest:
        """Applies a move and returns the request after it. NotFound, and whatever the move raises."""

    async def acquire(
        self, ask: WorkerAsk, move: PreviewMove, starting: Starting | None = None, *, job: str = ""
    ) -> PreviewRequest | None:
        """Applies a move to the waiting request whose turn it is (see `models.preview_moves.turns`); None when none
        fits the worker. job: only requests for it as it stands now; without one, none of those.

        starting: a project whose GPU seconds are used up is passed over.
        """

    async def unfinished(self, project: str) -> int:
        """Requests of the project that have not ended."""

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Names of requests with something to do: their lease is over, nobody watches them any more, they wait for a
        job as it stands now that no worker holds, or they are to be removed."""

    async def delete(self, name: str, check: Callable[[PreviewRequest], None]) -> PreviewRequest:
        """Removes a request and returns it. check: raises to keep it. NotFound."""


@dataclass(frozen=True, slots=True)
class SavedVersion:
    """A model version as the registry knows it. name: with its number. base_model: "" when nobody said it.

    files: SHA-256 of each file that it is stored as, by form. rank, alpha: of the LoRA; 0 when not known.
    """

    name: str
    base_model: str
    files: Mapping[str, str] = field(default_factory=dict)
    rank: int = 0
    alpha: float = 0.0


class ModelVersions(Protocol):
    """The registry, called with the rights of the caller at hand."""

    async def look(self, name: str) -> SavedVersion:
        """A version by number or alias. NotFound."""

    async def header(self, name: str, form: str) -> LoraHeader:
        """The header of a version's file, which is made where it is not stored.

        NotFound, FailedPrecondition for what the form cannot hold, and DataLoss for what is no LoRA file.
        """


def previews_signal(job: str) -> str:
    """The signal of requests for a job as it stands now."""
    return f"{job}/previews"
