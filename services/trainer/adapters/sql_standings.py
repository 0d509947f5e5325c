"""Where jobs stand, for those who follow them: all who look at the same moment read together."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from services.chassis.sql import Database
from services.chassis.together import Together
from services.trainer.adapters.sql_tables import jobs
from services.trainer.models.deleting import job_not_found
from services.trainer.models.job import JobState

_READING = select(jobs.c.name, jobs.c.state, jobs.c.last_event).where(
    jobs.c.name.in_(bindparam("names", expanding=True))
)


class SqlStandings:
    """A thousand watchers who wake at once cost a few statements."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._read = Together(self._read_all)

    async def of(self, name: str) -> tuple[JobState, int]:
        """The state of a job and the number of its newest event. Raises NotFound."""
        found = await self._read(name)
        if found is None:
            raise job_not_found(name)
        return found

    async def _read_all(self, names: Sequence[str]) -> Sequence[tuple[JobState, int] | None]:
        async with self._db.single() as conn:
            rows = await conn.execute(_READING, {"names": sorted(set(names))})
            found = {row.name: (JobState(row.state), row.last_event) for row in rows}
        return [found.get(name) for name in names]
