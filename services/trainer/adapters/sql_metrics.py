"""Measured points, packed: one row for the points of one heartbeat, as compressed JSON.

A job of 10,000 steps with three keys is 30,000 points; a row each would be most of the database.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.trainer.adapters.sql_tables import metric_chunks
from services.trainer.models.epoch import Metric, first_steps

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH = 100
_chunk = metric_chunks.c


def chunk_of(job: str, metrics: Sequence[Metric], *, stored: int) -> dict[str, Any] | None:
    """The row that keeps new points, None without any. stored: the last step stored before; points up to it came twice
    and are dropped."""
    new = sorted((point for point in metrics if point.step > stored), key=lambda point: point.step)
    return _row(job, new) if new else None


async def add_metrics(conn: AsyncConnection, job: str, metrics: Sequence[Metric], *, stored: int) -> int:
    """Adds points in order of their steps and returns the last step stored then. stored: as in `chunk_of`."""
    chunk = chunk_of(job, metrics, stored=stored)
    if chunk is None:
        return stored
    await conn.execute(insert(metric_chunks), chunk)
    return int(chunk["last_step"])


async def forget_metrics(conn: AsyncConnection, job: str, after_step: int) -> int:
    """Removes the points of later steps and returns the last step that is left, 0 for none."""
    rows = await conn.execute(
        select(_chunk.points).where(_chunk.job == job, _chunk.last_step > after_step).order_by(_chunk.last_step)
    )
    kept = [point for row in rows for point in _unpack(row.points) if point.step <= after_step]
    await conn.execute(delete(metric_chunks).where(_chunk.job == job, _chunk.last_step > after_step))
    if kept:
        await conn.execute(insert(metric_chunks).values(_row(job, kept)))
    return await conn.scalar(select(func.max(_chunk.last_step)).where(_chunk.job == job)) or 0


async def read_metrics(
    conn: AsyncConnection, job: str, keys: Collection[str], *, since_step: int, stride: int, limit: int
) -> list[Metric]:
    """Points of some keys with a larger step, in order; with a stride only those whose step it divides.

    limit: of how many steps.
    """
    points: list[Metric] = []
    after = since_step
    # A step lies in one chunk, so that what is read holds whole steps.
    while len({point.step for point in points}) < limit:
        rows = (
            await conn.execute(
                select(_chunk.last_step, _chunk.points)
                .where(_chunk.job == job, _chunk.last_step > after)
                .order_by(_chunk.last_step)
                .limit(_BATCH)
            )
        ).all()
        if not rows:
            break
        after = rows[-1].last_step
        points += [
            point
            for row in rows
            for point in _unpack(row.points)
            if point.key in keys and point.step > since_step and point.step % stride == 0
        ]
    return first_steps(points, limit)


def _row(job: str, points: Sequence[Metric]) -> dict[str, Any]:
    values = [
        (point.step, point.epoch, point.key, point.value, (point.create_time - _EPOCH) // timedelta(microseconds=1))
        for point in points
    ]
    packed = zlib.compress(json.dumps(values, separators=(",", ":")).encode(), level=1)
    return {"job": job, "first_step": points[0].step, "last_step": points[-1].step, "points": packed}


def _unpack(packed: bytes) -> list[Metric]:
    return [
        Metric(step, epoch, key, value, _EPOCH + timedelta(microseconds=moment))
        for step, epoch, key, value, moment in json.loads(zlib.decompress(packed))
    ]
