"""Base models of projects and their files, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from services.chassis.errors import AlreadyExists, NotFound
from services.chassis.listing import memory
from services.chassis.listing.pages import Query
from services.chassis.requests.keys import RequestKey
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState, Part, Users, not_found
from services.trainer.ports import WorkerAsk
from services.trainer.ports.base_models import BASE_MODELS, AdmitBytes, BaseModelMove


class FakeBaseModelStore:
    """Implements `ports.base_models.BaseModelStore`. Each method runs without awaiting, which makes it one transaction.

    using: what needs each base model, by name.
    """

    def __init__(self) -> None:
        self.rows: dict[str, OwnBaseModel] = {}
        self.requests: dict[tuple[str, str], tuple[str, str]] = {}
        self.using: dict[str, Users] = {}

    async def recall(self, key: RequestKey) -> OwnBaseModel | None:
        found = self.requests.get((key.project, key.request_id)) if key.request_id else None
        if found is None:
            return None
        key.check_same(found[0])
        return self.rows[found[1]]

    async def create(self, model: OwnBaseModel, key: RequestKey, admit: AdmitBytes | None = None) -> OwnBaseModel:
        made = await self.recall(key)
        if made is not None:
            return made
        if model.name in self.rows:
            raise AlreadyExists("The name is taken", field="base_model_id", reason="BASE_MODEL_EXISTS")
        if admit is not None:
            admit(await self.stored_bytes(model.project))
        self.rows[model.name] = model
        if key.request_id:
            self.requests[key.project, key.request_id] = (key.digest, model.name)
        return model

    async def get(self, name: str) -> OwnBaseModel:
        if name not in self.rows:
            raise not_found(name)
        return self.rows[name]

    async def list(self, project: str, query: Query) -> tuple[Sequence[OwnBaseModel], int]:
        return memory.page((model for model in self.rows.values() if model.project == project), query, BASE_MODELS)

    async def change(self, name: str, move: BaseModelMove) -> OwnBaseModel:
        self.rows[name] = move(await self.get(name))
        return self.rows[name]

    async def acquire(self, ask: WorkerAsk, able: Mapping[str, str], move: BaseModelMove) -> OwnBaseModel | None:
        waiting = [
            model
            for model in sorted(self.rows.values(), key=lambda each: (each.update_time, each.name))
            if model.state is OwnBaseModelState.CHECKING
            and model.lease is None
            and (model.based_on in able if model.based_on else set(model.families) & set(able.values()))
        ]
        return await self.change(waiting[0].name, move) if waiting else None

    async def users(self, name: str) -> Users:
        return self.using.get(name, Users())

    async def delete(self, name: str, check: Callable[[OwnBaseModel, Users], None]) -> OwnBaseModel:
        check(await self.get(name), await self.users(name))
        return self.rows.pop(name)

    async def stored_bytes(self, project: str) -> int:
        mine = (model for model in self.rows.values() if model.project == project)
        return sum(model.size_bytes for model in mine if model.state is not OwnBaseModelState.FAILED)

    async def due(self, now: datetime, *, idle_since: datetime, limit: int) -> Sequence[str]:
        over = [
            name
            for name, model in sorted(self.rows.items())
            if (model.lease is not None and model.lease.expires_at <= now)
            or (model.state is OwnBaseModelState.UPLOADING and model.update_time <= idle_since)
        ]
        return over[:limit]

    async def meter(self, hour: datetime) -> None:
        """It tells nobody."""


class FakeBaseModelFiles:
    """Implements `ports.base_models.BaseModelFiles`. stored: bytes by key."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self._numbers = 0

    def key(self, name: str) -> str:
        self._numbers += 1
        return f"trainer/{name}/attempts/1/part-{self._numbers}"

    async def put(self, key: str, path: Path) -> None:
        self.stored[key] = path.read_bytes()

    async def delete(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self.stored.pop(part.object_key, None)

    def whole(self, model: OwnBaseModel) -> bytes:
        """The file as it is stored. Raises NotFound when a part does not have its digest."""
        parts = [self.stored[part.object_key] for part in model.parts]
        for part, data in zip(model.parts, parts, strict=True):
            if hashlib.sha256(data).hexdigest() != part.sha256:
                raise NotFound("A part is not what was noted")
        return b"".join(parts)
