"""Preview requests on SQLite and PostgreSQL. Moves of one request take turns by the lock on its row.

Lock order: a request's row, then its project's share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.chassis.signals import Signals
from services.chassis.sql import Database, unique_violation
from services.trainer.adapters import sql_base_models, sql_queue, sql_usage
from services.trainer.adapters.sql_rows import attempt_from_json, attempt_to_json
from services.trainer.adapters.sql_tables import jobs, previews, requests
from services.trainer.models.epoch import EpochFile
from services.trainer.models.job import JobError, Lease
from services.trainer.models.preview_moves import Waiting, turns
from services.trainer.models.preview_request import (
    Drawing,
    DrawnCell,
    PreviewRequest,
    PreviewState,
    preview_not_found,
)
from services.trainer.models.queue import Starting
from services.trainer.ports import QUEUE, Admit, WorkerAsk
from services.trainer.ports.previews import PREVIEW_REQUESTS, PreviewMove, previews_signal

_LIST = SqlListing(PREVIEW_REQUESTS, previews)
_SAME = (
    "name",
    "project",
    "base_model",
    "entry",
    "wanted_until",
    "revision",
    "create_time",
    "start_time",
    "end_time",
    "expire_time",
)
_column = previews.c
_LOOKED_AT = 500


class SqlPreviewStore:
    """Implements `ports.previews.PreviewStore`."""

    def __init__(self, db: Database, outbox: Outbox, signals: Signals) -> None:
        self._db = db
        self._outbox = outbox
        self._signals = signals
        self._requests = RememberedRequests(requests)

    async def recall(self, key: RequestKey) -> PreviewRequest | None:
        async with self._db.connect() as conn:
            return await self._recalled(conn, key)

    async def create(self, request: PreviewRequest, key: RequestKey, admit: Admit | None = None) -> PreviewRequest:
        try:
            async with self._db.begin() as conn:
                if request.entry:
                    await sql_base_models.hold(conn, request.base_model)
                if admit is not None:
                    await sql_usage.lock_share(conn, request.project)
                    # An equal call may have taken the last place while this one waited for its turn.
                    made = await self._recalled(conn, key)
                    if made is not None:
                        return made
                    admit(await sql_usage.unfinished_previews(conn, request.project))
                await conn.execute(insert(previews).values(_to_row(request)))
                await self._requests.remember(conn, key, request.name)
        except IntegrityError as error:
            made = await self.recall(key) if unique_violation(error) else None
            if made is None:
                raise
            return made
        self._tell(request)
        return request

    async def get(self, name: str) -> PreviewRequest:
        async with self._db.single() as conn:
            return _from_row(await self._row(conn, name))

    async def list(self, project: str, query: Query) -> tuple[Sequence[PreviewRequest], int]:
        mine = _column.project == project
        async with self._db.connect() as conn:
            total = await _LIST.count(conn, query, mine)
            rows = (await conn.execute(_LIST.page(query, mine))).mappings().all()
        return [_from_row(row) for row in rows], total

    async def change(self, name: str, move: PreviewMove) -> PreviewRequest:
        async with self._db.begin() as conn:
            before = _from_row(await self._row(conn, name, lock=True))
            after = move(before)
            await self._store(conn, before, after)
        if after.revision != before.revision:
            self._tell(after)
        return after

    async def acquire(
        self, ask: WorkerAsk, move: PreviewMove, starting: Starting | None = None, *, job: str = ""
    ) -> PreviewRequest | None:
        async with self._db.connect() as conn:
            waiting = await _waiting(conn, ask, job)
            if not waiting:
                return None
            held = select(_column.project, func.count().label("held")).where(_column.lease_token.is_not(None))
            running = {row.project: row.held for row in await conn.execute(held.group_by(_column.project))}
            last = select(_column.project, func.max(_column.start_time).label("last"))
            last = last.where(_column.start_time.is_not(None), _column.project.in_({each.project for each in waiting}))
            served = {row.project: row.last for row in await conn.execute(last.group_by(_column.project))}
        used_up: dict[str, bool] = {}
        for one in turns(waiting, running, served):
            async with self._db.begin() as conn:
                if starting is not None and one.project not in used_up:
                    used_up[one.project] = await _used_up(conn, one.project, starting)
                if used_up.get(one.project):
                    continue
                free = (_column.name == one.name, _column.state == PreviewState.QUEUED.value)
                statement = select(previews).where(*free).with_for_update(skip_locked=True)
                row = (await conn.execute(statement)).mappings().one_or_none()
                if row is None:
                    continue
                before = _from_row(row)
                after = move(before)
                await self._store(conn, before, after)
                if not job:
                    await sql_queue.note_worker(conn, ask, after.attempts[-1].start_time)
            self._tell(after)
            return after
        return None

    async def unfinished(self, project: str) -> int:
        async with self._db.single() as conn:
            return await sql_usage.unfinished_previews(conn, project)

    async def due(self, now: datetime, limit: int) -> Sequence[str]:
        open_ = _column.end_time.is_(None)
        held = select(jobs.c.name).where(jobs.c.name == _column.live_job, jobs.c.lease_token.is_not(None)).exists()
        statement = select(_column.name).where(
            or_(
                _column.expire_time <= now,
                and_(open_, _column.lease_expires_at <= now),
                and_(open_, _column.wanted_until <= now),
                and_(open_, _column.live_job != "", _column.state == PreviewState.QUEUED.value, ~held),
            )
        )
        async with self._db.single() as conn:
            return list(await conn.scalars(statement.order_by(_column.name).limit(limit)))

    async def delete(self, name: str, check: Callable[[PreviewRequest], None]) -> PreviewRequest:
        async with self._db.begin() as conn:
            found = _from_row(await self._row(conn, name, lock=True))
            check(found)
            await conn.execute(delete(previews).where(_column.name == name))
        return found

    async def _recalled(self, conn: AsyncConnection, key: RequestKey) -> PreviewRequest | None:
        name = await self._requests.recall(conn, key)
        return None if name is None else _from_row(await self._row(conn, name))

    async def _row(self, conn: AsyncConnection, name: str, *, lock: bool = False) -> RowMapping:
        statement: Select[Any] = select(previews).where(_column.name == name)
        row = (await conn.execute(statement.with_for_update() if lock else statement)).mappings().one_or_none()
        if row is None:
            raise preview_not_found(name)
        found: RowMapping = row
        return found

    async def _store(self, conn: AsyncConnection, before: PreviewRequest, after: PreviewRequest) -> None:
        old, new = _to_row(before), _to_row(after)
        changed = {name: value for name, value in new.items() if value != old[name]}
        if changed:
            await conn.execute(update(previews).where(_column.name == after.name).values(**changed))
        if len(after.attempts) > len(before.attempts):
            await sql_usage.begin_preview(conn, after)
        elif before.lease is not None and after.lease is None:
            await sql_usage.end_preview(conn, self._outbox, after)

    def _tell(self, request: PreviewRequest) -> None:
        """After the commit: wakes whoever waits in this process, and by way of the bus in others."""
        self._signals.notify(request.name)
        if request.state is PreviewState.QUEUED:
            live = request.drawing.live_job
            self._signals.notify(previews_signal(live) if live else QUEUE)


async def _waiting(conn: AsyncConnection, ask: WorkerAsk, job: str) -> list[Waiting]:
    statement = select(_column.name, _column.project, _column.create_time).where(
        _column.end_time.is_(None), _column.state == PreviewState.QUEUED.value, _column.live_job == job
    )
    if not job:
        own = _column.entry.in_(ask.base_models) if ask.base_models else _column.entry != ""
        named = _column.base_model.in_(ask.base_models) if ask.base_models else _column.entry == ""
        statement = statement.where(or_(named, own) if ask.takes_own else named)
    rows = await conn.execute(statement.order_by(_column.create_time, _column.name).limit(_LOOKED_AT))
    return [Waiting(row.name, row.project, row.create_time) for row in rows]


async def _used_up(conn: AsyncConnection, project: str, starting: Starting) -> bool:
    limit = starting.limits(project).gpu_seconds
    if not limit:
        return False
    return await sql_usage.gpu_seconds(conn, project, since=starting.since, now=starting.now) >= limit


def _to_row(request: PreviewRequest) -> dict[str, Any]:
    lease = request.lease
    return {
        **{name: getattr(request, name) for name in _SAME},
        "state": request.state.value,
        "live_job": request.drawing.live_job,
        "drawing": _plain(asdict(request.drawing)),
        "cells": [asdict(cell) for cell in request.cells],
        "error": asdict(request.error) if request.error else None,
        "attempts": [attempt_to_json(attempt) for attempt in request.attempts],
        "lease_token": lease.token if lease else None,
        "lease_worker": lease.worker_id if lease else None,
        "lease_expires_at": lease.expires_at if lease else None,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _from_row(row: RowMapping) -> PreviewRequest:
    lease = None
    if row["lease_token"] is not None:
        lease = Lease(row["lease_token"], row["lease_worker"], row["lease_expires_at"])
    stored: dict[str, Any] = row["drawing"]
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return PreviewRequest(
        **{name: row[name] for name in _SAME},
        state=PreviewState(row["state"]),
        drawing=Drawing(**{**stored, **lists}),
        cells=tuple(DrawnCell(**{**cell, "file": EpochFile(**cell["file"])}) for cell in row["cells"]),
        error=JobError(**row["error"]) if row["error"] else None,
        attempts=tuple(attempt_from_json(attempt) for attempt in row["attempts"]),
        lease=lease,
    )
