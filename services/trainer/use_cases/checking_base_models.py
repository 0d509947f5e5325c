"""The check of an uploaded base model: what workers call for it, and what the clock does with one that stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis.errors import NotFound
from services.chassis.logging import get_logger
from services.trainer.models import own_base_model as moves
from services.trainer.models.job import JobError, Outcome
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState, Users
from services.trainer.ports import WorkerAsk
from services.trainer.ports.base_models import BaseModelFiles, BaseModelStore
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.use_cases.own_base_models import remove_parts
from services.trainer.use_cases.tending import BATCH, Tending

_PREFIX = "baseModels/"
_MIB = 2**20
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BaseModelCheck:
    """A check for a worker. candidates: names of entries of the catalogue that the base model may be made from."""

    model: OwnBaseModel
    token: str
    lease: timedelta
    candidates: tuple[str, ...]


class BaseModelChecks:
    """The workers' end. Reports raise NotFound, or Aborted(reason=LEASE_LOST) for an old token."""

    def __init__(
        self,
        store: BaseModelStore,
        files: BaseModelFiles,
        catalogue: Mapping[str, BaseModel],
        *,
        clock: Callable[[], datetime],
        new_token: Callable[[], str],
        lease: timedelta,
    ) -> None:
        self._store = store
        self._files = files
        self._catalogue = catalogue
        self._clock = clock
        self._new_token = new_token
        self._lease = lease

    async def take(self, ask: WorkerAsk) -> BaseModelCheck | None:
        """The check that has waited longest, of those that the worker can do."""
        if not ask.takes_own:
            return None
        able = {
            _PREFIX + key: model.family
            for key, model in self._catalogue.items()
            if ask.takes(_PREFIX + key, "")
            and (not ask.families or model.family in ask.families)
            and (not ask.kind.usable or model.memory_mib * _MIB <= ask.kind.usable)
        }

        def move(waiting: OwnBaseModel) -> OwnBaseModel:
            return moves.acquire(
                waiting,
                worker_id=ask.worker_id,
                token=self._new_token(),
                now=self._clock(),
                lease=self._lease,
                pretends=ask.pretends,
            )

        model = await self._store.acquire(ask, able, move)
        if model is None:
            return None
        fitting = tuple(name for name, family in able.items() if family in model.families)
        candidates = (model.based_on,) if model.based_on else fitting
        return BaseModelCheck(model, model.attempts[-1].token, self._lease, candidates)

    async def report(
        self, name: str, token: str, outcome: Outcome | None, error: JobError | None, *, based_on: str
    ) -> None:
        """Renews the lease, and ends the try where there is an outcome."""
        entry = self._catalogue.get(based_on.removeprefix(_PREFIX))
        parts = (await self._store.get(name)).parts

        def move(model: OwnBaseModel) -> OwnBaseModel:
            now = self._clock()
            renewed = moves.renew(model, token=token, now=now, lease=self._lease)
            if outcome is None:
                return renewed
            return moves.complete(
                renewed,
                outcome,
                error,
                based_on=based_on if entry else "",
                family=entry.family if entry else "",
                token=token,
                now=now,
            )

        after = await self._store.change(name, move)
        if after.state is OwnBaseModelState.FAILED:
            await remove_parts(self._files, parts, of=name)


class BaseModelKeeper(Tending):
    """Queues checks again whose worker fell silent, removes uploads that nobody goes on with, and tells what is stored
    as usage once an hour."""

    def __init__(
        self,
        store: BaseModelStore,
        files: BaseModelFiles,
        *,
        clock: Callable[[], datetime],
        lease: timedelta,
        idle: timedelta,
    ) -> None:
        """idle: after so long an upload that has not moved is removed."""
        super().__init__(clock=clock, lease=lease, what="keeping base models")
        self._store = store
        self._files = files
        self._idle = idle

    async def _due(self, now: datetime) -> Sequence[str]:
        await self._store.meter(now.replace(minute=0, second=0, microsecond=0))
        return await self._store.due(now, idle_since=now - self._idle, limit=BATCH)

    async def _tend(self, name: str, now: datetime) -> None:
        try:
            before = await self._store.get(name)
            if before.state is OwnBaseModelState.UPLOADING:
                await self._remove(before, now)
                return
            after = await self._store.change(name, lambda model: moves.expire_lease(model, now))
            if after.state is OwnBaseModelState.FAILED:
                await remove_parts(self._files, before.parts, of=name)
        except NotFound:
            # It was deleted meanwhile.
            return

    async def _remove(self, model: OwnBaseModel, now: datetime) -> None:
        def check(found: OwnBaseModel, _: Users) -> None:
            if found.state is not OwnBaseModelState.UPLOADING or found.update_time > now - self._idle:
                raise _MovedOn

        try:
            gone = await self._store.delete(model.name, check)
        except _MovedOn:
            return
        log.info("upload_abandoned", base_model=model.name, bytes=model.uploaded_bytes)
        await remove_parts(self._files, gone.parts, of=model.name)


class _MovedOn(Exception):
    """The upload went on meanwhile."""
