"""Base models of projects on SQLite and PostgreSQL. Moves of one take turns by the lock on its row.

Lock order: a base model's row, then its project's share. Who makes a job on one holds its row first, so that no job is
made on a base model that is being deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.errors import AlreadyExists
from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.chassis.signals import Signals
from services.chassis.sql import Database, unique_violation
from services.trainer.adapters import sql_queue, sql_usage
from services.trainer.adapters.sql_base_model_meter import meter
from services.trainer.adapters.sql_rows import attempt_from_json, attempt_to_json
from services.trainer.adapters.sql_tables import base_models, events, jobs, previews, requests
from services.trainer.models.job import TERMINAL, JobError, Lease
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState, Part, Users, not_found
from services.trainer.ports import QUEUE, WorkerAsk
from services.trainer.ports.base_models import BASE_MODELS, AdmitBytes, BaseModelMove
from services.trainer.proto_mapping.base_model_events import base_model_event

_LIST = SqlListing(BASE_MODELS, base_models)
_column = base_models.c
_SAME = (
    "name", "project", "display_name", "description", "license", "file_name", "size_bytes", "sha256", "header_bytes",
    "header_sha256", "precision", "based_on", "family", "revision", "create_time", "update_time",
)  # fmt: skip
_LOOKED_AT = 100


class SqlBaseModelStore:
    """Implements `ports.base_models.BaseModelStore`."""

    def __init__(self, db: Database, outbox: Outbox, signals: Signals) -> None:
        self._db = db
        self._outbox = outbox
        self._signals = signals
        self._requests = RememberedRequests(requests)

    async def recall(self, key: RequestKey) -> OwnBaseModel | None:
        async with self._db.connect() as conn:
            return await self._recalled(conn, key)

    async def create(self, model: OwnBaseModel, key: RequestKey, admit: AdmitBytes | None = None) -> OwnBaseModel:
        try:
            async with self._db.begin() as conn:
                if admit is not None:
                    await sql_usage.lock_share(conn, model.project)
                    # An equal call may have taken the last bytes while this one waited for its turn.
                    made = await self._recalled(conn, key)
                    if made is not None:
                        return made
                    admit(await sql_usage.base_model_bytes(conn, model.project))
                await conn.execute(insert(base_models).values(_to_row(model)))
                await self._outbox.append(conn, **base_model_event(None, model))
                await self._requests.remember(conn, key, model.name)
        except IntegrityError as error:
            if not unique_violation(error):
                raise
            made = await self.recall(key)
            if made is None:
                raise _taken(model.name) from error
            return made
        self._tell(model)
        return model

    async def get(self, name: str) -> OwnBaseModel:
        async with self._db.single() as conn:
            return _from_row(await _row(conn, name))

    async def list(self, project: str, query: Query) -> tuple[Sequence[OwnBaseModel], int]:
        mine = _column.project == project
        async with self._db.connect() as conn:
            total = await _LIST.count(conn, query, mine)
            rows = (await conn.execute(_LIST.page(query, mine))).mappings().all()
        return [_from_row(row) for row in rows], total

    async def change(self, name: str, move: BaseModelMove) -> OwnBaseModel:
        async with self._db.begin() as conn:
            before = _from_row(await _row(conn, name, lock=True))
            after = move(before)
            await self._store(conn, before, after)
        self._tell(after)
        return after

    async def acquire(self, ask: WorkerAsk, able: Mapping[str, str], move: BaseModelMove) -> OwnBaseModel | None:
        waits = (_column.state == OwnBaseModelState.CHECKING.value, _column.lease_token.is_(None))
        first = select(_column.name, _column.families, _column.based_on).where(*waits)
        async with self._db.connect() as conn:
            waiting = (await conn.execute(first.order_by(_column.update_time, _column.name).limit(_LOOKED_AT))).all()
        for name, of_families, based_on in waiting:
            if not (based_on in able if based_on else set(of_families) & set(able.values())):
                continue
            async with self._db.begin() as conn:
                statement = select(base_models).where(_column.name == name, *waits).with_for_update(skip_locked=True)
                row = (await conn.execute(statement)).mappings().one_or_none()
                if row is None:
                    continue
                before = _from_row(row)
                after = move(before)
                await self._store(conn, before, after)
                await sql_queue.note_worker(conn, ask, after.attempts[-1].start_time)
            return after
        return None

    async def users(self, name: str) -> Users:
        async with self._db.connect() as conn:
            return await _users(conn, name)

    async def delete(self, name: str, check: Callable[[OwnBaseModel, Users], None]) -> OwnBaseModel:
        async with self._db.begin() as conn:
            found = _from_row(await _row(conn, name, lock=True))
            check(found, await _users(conn, name))
            await conn.execute(delete(base_models).where(_column.name == name))
            # What the bus still waits for stays, with the end of it.
            await self._outbox.append(conn, **base_model_event(found, None))
            told = and_(events.c.aggregate == name, events.c.published_at.is_not(None))
            await conn.execute(delete(events).where(told))
            await self._outbox.close(conn, name)
        self._outbox.signals.notify(name)
        return found

    async def stored_bytes(self, project: str) -> int:
        async with self._db.single() as conn:
            return await sql_usage.base_model_bytes(conn, project)

    async def due(self, now: datetime, *, idle_since: datetime, limit: int) -> Sequence[str]:
        uploading = _column.state == OwnBaseModelState.UPLOADING.value
        checking = _column.state == OwnBaseModelState.CHECKING.value
        over = or_(and_(checking, _column.lease_expires_at <= now), and_(uploading, _column.update_time <= idle_since))
        async with self._db.single() as conn:
            return list(await conn.scalars(select(_column.name).where(over).order_by(_column.name).limit(limit)))

    async def meter(self, hour: datetime) -> None:
        await meter(self._db, self._outbox, hour)

    async def _recalled(self, conn: AsyncConnection, key: RequestKey) -> OwnBaseModel | None:
        name = await self._requests.recall(conn, key)
        return None if name is None else _from_row(await _row(conn, name))

    async def _store(self, conn: AsyncConnection, before: OwnBaseModel, after: OwnBaseModel) -> None:
        old, new = _to_row(before), _to_row(after)
        changed = {name: value for name, value in new.items() if value != old[name]}
        if changed:
            await conn.execute(update(base_models).where(_column.name == after.name).values(**changed))
        if len(after.attempts) > len(before.attempts):
            await sql_usage.begin_check(conn, after)
        elif before.lease is not None and after.lease is None:
            await sql_usage.end_check(conn, self._outbox, after)
        # Parts come by the hundred; `uploaded_bytes` says how far it is.
        if after.state is not before.state or (after.revision != before.revision and after.parts == before.parts):
            await self._outbox.append(conn, **base_model_event(before, after))

    def _tell(self, model: OwnBaseModel) -> None:
        """After the commit: wakes whoever waits in this process, and by way of the bus in others."""
        self._outbox.signals.notify(model.name)
        self._signals.notify(model.name)
        if model.state is OwnBaseModelState.CHECKING and model.lease is None:
            self._signals.notify(QUEUE)


async def hold(conn: AsyncConnection, name: str) -> None:
    """Keeps a base model from being deleted until the transaction ends. Raises NotFound unless it can be trained on."""
    ready = (_column.name == name, _column.state == OwnBaseModelState.READY.value)
    if await conn.scalar(select(_column.name).where(*ready).with_for_update(read=True)) is None:
        raise not_found(name, field="training_job.base_model")


async def _users(conn: AsyncConnection, name: str) -> Users:
    mine = and_(jobs.c.base_model == name, jobs.c.entry != "")
    # A retried job waits again: its state says that it has not ended.
    over = func.sum(case((jobs.c.state.in_([state.value for state in TERMINAL]), 1), else_=0))
    count, ended = (await conn.execute(select(func.count(), over).where(mine))).one()
    drawing = select(func.count()).select_from(previews)
    drawing = drawing.where(previews.c.base_model == name, previews.c.end_time.is_(None))
    return Users(int(count) - int(ended or 0), int(await conn.scalar(drawing) or 0), int(ended or 0))


async def _row(conn: AsyncConnection, name: str, *, lock: bool = False) -> RowMapping:
    statement = select(base_models).where(_column.name == name)
    row = (await conn.execute(statement.with_for_update() if lock else statement)).mappings().one_or_none()
    if row is None:
        raise not_found(name)
    return row


def _to_row(model: OwnBaseModel) -> dict[str, Any]:
    lease = model.lease
    return {
        **{name: getattr(model, name) for name in _SAME},
        "labels": dict(model.labels),
        "families": list(model.families),
        "state": model.state.value,
        "parts": [asdict(part) for part in model.parts],
        "error": asdict(model.error) if model.error else None,
        "attempts": [attempt_to_json(attempt) for attempt in model.attempts],
        "lease_token": lease.token if lease else None,
        "lease_worker": lease.worker_id if lease else None,
        "lease_expires_at": lease.expires_at if lease else None,
    }


def _from_row(row: RowMapping) -> OwnBaseModel:
    lease = None
    if row["lease_token"] is not None:
        lease = Lease(row["lease_token"], row["lease_worker"], row["lease_expires_at"])
    return OwnBaseModel(
        **{name: row[name] for name in _SAME},
        labels=row["labels"],
        families=tuple(row["families"]),
        state=OwnBaseModelState(row["state"]),
        parts=tuple(Part(**part) for part in row["parts"]),
        error=JobError(**row["error"]) if row["error"] else None,
        attempts=tuple(attempt_from_json(attempt) for attempt in row["attempts"]),
        lease=lease,
    )


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(
        f"The base model '{name}' already exists",
        field="base_model_id",
        reason="BASE_MODEL_EXISTS",
        remedy="Choose another id, or leave it empty to get a generated one.",
    )
