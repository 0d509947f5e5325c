"""Where jobs stand and what is new of them, for those who follow them; all who look at one moment read together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, Select, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from services.chassis.outbox import Outbox
from services.chassis.sql import Database
from services.chassis.together import Together
from services.trainer.adapters.sql_tables import events, jobs
from services.trainer.models.deleting import job_not_found
from services.trainer.models.events import StoredEvent
from services.trainer.models.job import JobState

PAUSE_S = 0.02
"""From one reading to the next, at the least. Who looks alone waits for nobody."""

_STANDINGS = select(jobs.c.name, jobs.c.state, jobs.c.last_event).where(
    jobs.c.name.in_(bindparam("names", expanding=True))
)
# The type of the events' own column: their index serves no other collation.
_ASKED: dict[str, TypeEngine[Any]] = {"job": events.c.aggregate.type, "seen": BigInteger(), "most": Integer()}


class SqlFollowing:
    """A thousand watchers who wake at once cost a few statements."""

    def __init__(self, db: Database, outbox: Outbox) -> None:
        self._db = db
        self._outbox = outbox
        self._standings = Together(self._read_standings, pause_s=PAUSE_S)
        self._events = Together(self._read_events, pause_s=PAUSE_S)

    async def standing(self, name: str) -> tuple[JobState, int]:
        """The state of a job and the number of its newest event. Raises NotFound."""
        found = await self._standings(name)
        if found is None:
            raise job_not_found(name)
        return found

    async def events(self, name: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Events of the job with a larger number, in order."""
        if self._db.dialect == "postgresql":
            return await self._events((name, after, limit))
        # SQLite has no arrays, and no round trips that could be saved.
        async with self._db.single() as conn:
            found = await self._outbox.read_after(conn, name, after, limit)
        return [StoredEvent(event.sequence, event.payload, event.created_at) for event in found]

    async def _read_standings(self, names: Sequence[str]) -> Sequence[tuple[JobState, int] | None]:
        async with self._db.single() as conn:
            rows = await conn.execute(_STANDINGS, {"names": sorted(set(names))})
            found = {row.name: (JobState(row.state), row.last_event) for row in rows}
        return [found.get(name) for name in names]

    async def _read_events(self, asked: Sequence[tuple[str, int, int]]) -> Sequence[Sequence[StoredEvent]]:
        answers: list[list[StoredEvent]] = [[] for _ in asked]
        values = dict(zip(_ASKED, map(list, zip(*asked, strict=True)), strict=True))
        async with self._db.single() as conn:
            for row in await conn.execute(_reading(), values):
                answers[row.number - 1].append(StoredEvent(row.sequence, row.payload, row.created_at))
        return answers


@cache
def _reading() -> Select[Any]:
    """The events that each has asked for, with its number among those who ask, from 1."""
    arrays = func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in _ASKED.items()))
    asked = arrays.table_valued(*_ASKED, with_ordinality="number", name="asked").render_derived()
    of_event = events.c.sequence, events.c.payload, events.c.created_at
    new = select(*of_event).where(events.c.aggregate == asked.c.job, events.c.sequence > asked.c.seen)
    first = new.order_by(events.c.sequence).limit(asked.c.most).lateral("first")
    return (
        select(asked.c.number, first).select_from(asked.join(first, true())).order_by(asked.c.number, first.c.sequence)
    )
