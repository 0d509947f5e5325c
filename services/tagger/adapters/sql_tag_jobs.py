"""Tag jobs in SQL. A row's revision counts every committed change; an owner and a moment say who runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import tracing
from services.chassis.cloud_events import event_subject
from services.chassis.errors import NotFound
from services.chassis.listing.pages import Query
from services.chassis.listing.sql import SqlListing
from services.chassis.names import project_of
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.chassis.sql import Database, unique_violation
from services.tagger.adapters.sql_tag_job_rows import job_columns, job_of, outcome_columns
from services.tagger.adapters.tag_job_tables import idempotency_keys, tag_job_images, tag_jobs
from services.tagger.models.events import Created, Deleted, Progressed, StateChanged, TagJobEvent, progress_due
from services.tagger.models.jobs import ImageOutcome, ImageState, JobState, TagJob, cancelled, retried
from services.tagger.ports import TAG_JOBS
from services.tagger.proto_mapping.events import event_payload, event_type

_jobs = tag_jobs.c
_images = tag_job_images.c
_LIST = SqlListing(TAG_JOBS, tag_jobs, {"create_time": _jobs.created_at, "end_time": _jobs.ended_at})


class SqlTagJobs:
    """TagJobs on SQLite or PostgreSQL."""

    def __init__(self, database: Database, outbox: Outbox, *, published_only: bool = False) -> None:
        """published_only: an event is forgotten only after the bus has it."""
        self._db = database
        self._outbox = outbox
        self._published_only = published_only
        self._requests = RememberedRequests(idempotency_keys)

    async def create(self, job: TagJob, key: RequestKey) -> TagJob:
        """See the port. Of two equal requests at once the slower finds the key taken and returns the winner's job."""
        try:
            return await self._create(job, key)
        except IntegrityError as error:
            if not (key.request_id and unique_violation(error)):
                raise
        return await self._create(job, key)

    async def recall(self, key: RequestKey) -> TagJob | None:
        """See the port."""
        async with self._db.connect() as conn:
            name = await self._requests.recall(conn, key)
            return await _read(conn, name) if name else None

    async def get(self, name: str) -> TagJob:
        """See the port."""
        async with self._db.connect() as conn:
            return await _read(conn, name)

    async def list(self, project: str, query: Query) -> tuple[list[TagJob], int]:
        """See the port."""
        mine = _jobs.project == project
        async with self._db.connect() as conn:
            rows = (await conn.execute(_LIST.page(query, mine))).all()
            total = await _LIST.count(conn, query, mine)
            outcomes = await _outcomes(conn, [row.name for row in rows])
        return [job_of(row, outcomes[row.name]) for row in rows], total

    async def claim(self, owner: str, *, now: datetime, until: datetime) -> TagJob | None:
        """See the port."""
        free = or_(
            _jobs.state == JobState.QUEUED,
            and_(_jobs.state == JobState.RUNNING, or_(_jobs.owned_until.is_(None), _jobs.owned_until <= now)),
        )
        oldest = select(_jobs.name).where(free).order_by(_jobs.created_at, _jobs.name).limit(1)
        async with self._db.begin() as conn:
            name = (await conn.execute(oldest.with_for_update(skip_locked=True))).scalar_one_or_none()
            if name is None:
                return None
            before = await _read(conn, name)
            await _change(conn, name, state=JobState.RUNNING, owner=owner, owned_until=until)
            return await self._told(conn, before, await _read(conn, name))

    async def renew(self, owner: str, *, until: datetime) -> set[str]:
        """See the port."""
        mine = and_(_jobs.owner == owner, _jobs.state == JobState.RUNNING)
        async with self._db.begin() as conn:
            await conn.execute(update(tag_jobs).where(mine).values(owned_until=until))
            return set((await conn.execute(select(_jobs.name).where(mine))).scalars())

    async def release(self, owner: str) -> None:
        """See the port."""
        mine = and_(_jobs.owner == owner, _jobs.state == JobState.RUNNING)
        async with self._db.begin() as conn:
            await conn.execute(update(tag_jobs).where(mine).values(owner="", owned_until=None))

    async def record(self, name: str, owner: str, outcome: ImageOutcome, *, now: datetime) -> bool:
        """See the port."""
        ours = select(_jobs.state, _jobs.progress_told_at).where(
            _jobs.name == name, _jobs.owner == owner, _jobs.state.in_((JobState.RUNNING, JobState.CANCELLED))
        )
        async with self._db.begin() as conn:
            row = (await conn.execute(ours.with_for_update())).one_or_none()
            if row is None:
                return False
            this = and_(_images.job == name, _images.image == outcome.image)
            before = (await conn.execute(select(_images.state).where(this))).scalar_one_or_none()
            await conn.execute(update(tag_job_images).where(this).values(**outcome_columns(outcome)))
            await _change(conn, name)
            news = before != outcome.state and row.state == JobState.RUNNING
            if news and progress_due(row.progress_told_at, now):
                await self._tell_progress(conn, name, now)
            return True

    async def end(self, name: str, owner: str, move: Callable[[TagJob], TagJob]) -> bool:
        """See the port."""
        ours = select(_jobs.name).where(_jobs.name == name, _jobs.owner == owner, _jobs.state == JobState.RUNNING)
        async with self._db.begin() as conn:
            if (await conn.execute(ours.with_for_update())).one_or_none() is None:
                return False
            await self._move(conn, name, move)
            return True

    async def cancel(self, name: str, *, now: datetime) -> TagJob:
        """See the port."""
        async with self._db.begin() as conn:
            return await self._move(conn, name, lambda job: cancelled(job, now))

    async def retry(self, name: str) -> TagJob:
        """See the port."""
        async with self._db.begin() as conn:
            await self._move(conn, name, retried)
            await conn.execute(update(tag_jobs).where(_jobs.name == name).values(owner="", owned_until=None))
            return await _read(conn, name)

    async def delete(self, name: str, check: Callable[[TagJob], None]) -> None:
        """See the port. The request ids of the job go with it."""
        async with self._db.begin() as conn:
            job = await _read(conn, name, lock=True)
            check(job)
            await conn.execute(delete(idempotency_keys).where(idempotency_keys.c.resource_name == name))
            await conn.execute(delete(tag_job_images).where(_images.job == name))
            await conn.execute(delete(tag_jobs).where(_jobs.name == name))
            await self._tell(conn, job, Deleted())
            await self._outbox.close(conn, name)

    async def forget(self, *, ended_before: datetime) -> int:
        """See the port. The request ids of forgotten jobs go with them, and events that nobody waits for."""
        old = select(_jobs.name).where(_jobs.ended_at < ended_before)
        async with self._db.begin() as conn:
            await conn.execute(delete(idempotency_keys).where(idempotency_keys.c.resource_name.in_(old)))
            await conn.execute(delete(tag_job_images).where(_images.job.in_(old)))
            gone = (await conn.execute(old)).scalars().all()
            await conn.execute(delete(tag_jobs).where(_jobs.name.in_(gone)))
            for name in gone:
                await self._outbox.close(conn, name)
            await self._outbox.forget(conn, ended_before, published_only=self._published_only)
            return len(gone)

    async def _create(self, job: TagJob, key: RequestKey) -> TagJob:
        async with self._db.begin() as conn:
            name = await self._requests.recall(conn, key)
            if name:
                return await _read(conn, name)
            added = {"project": project_of(job.name), "owner": "", "traceparent": tracing.current()}
            await conn.execute(insert(tag_jobs).values(**job_columns(job), **added))
            images = [
                {"job": job.name, "position": position, "image": outcome.image, **outcome_columns(outcome)}
                for position, outcome in enumerate(job.outcomes)
            ]
            await conn.execute(insert(tag_job_images), images)
            await self._requests.remember(conn, key, job.name)
            stored = await _read(conn, job.name)
            await self._tell(conn, stored, Created())
            return stored

    async def _move(self, conn: AsyncConnection, name: str, move: Callable[[TagJob], TagJob]) -> TagJob:
        """Applies a pure move to a locked job, writes what it changed, and tells of another state."""
        before = await _read(conn, name, lock=True)
        after = move(before)
        await _change(conn, name, state=after.state, error=after.error, ended_at=after.ended_at)
        for position, (old, new) in enumerate(zip(before.outcomes, after.outcomes, strict=True)):
            if old != new:
                where = and_(_images.job == name, _images.position == position)
                await conn.execute(update(tag_job_images).where(where).values(**outcome_columns(new)))
        return await self._told(conn, before, await _read(conn, name))

    async def _told(self, conn: AsyncConnection, before: TagJob, after: TagJob) -> TagJob:
        if before.state is not after.state:
            await self._tell(conn, after, StateChanged(before.state))
        return after

    async def _tell_progress(self, conn: AsyncConnection, name: str, now: datetime) -> None:
        """Unless every image is done, for then the end follows, which tells the same."""
        query = select(_images.state, func.count()).where(_images.job == name).group_by(_images.state)
        counts = {ImageState(state): int(count) for state, count in await conn.execute(query)}
        progress = Progressed(
            total=sum(counts.values()),
            tagged=counts.get(ImageState.TAGGED, 0),
            skipped=counts.get(ImageState.SKIPPED, 0),
            failed=counts.get(ImageState.FAILED, 0),
        )
        if progress.done < progress.total:
            await conn.execute(update(tag_jobs).where(_jobs.name == name).values(progress_told_at=now))
            await self._tell(conn, await _read(conn, name), progress)

    async def _tell(self, conn: AsyncConnection, job: TagJob, event: TagJobEvent) -> None:
        kind = event_type(event)
        await self._outbox.append(
            conn,
            aggregate=job.name,
            type=f"fiveshot.tag_job.{kind}",
            subject=event_subject(project_of(job.name), "tagJobs", job.name.rpartition("/")[2], kind),
            source=job.name,
            payload=lambda event_id, sequence, moment: event_payload(
                event, job, event_id=event_id, sequence=sequence, moment=moment
            ),
        )


async def _read(conn: AsyncConnection, name: str, *, lock: bool = False) -> TagJob:
    query = select(tag_jobs).where(_jobs.name == name)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no tag job {name}",
            field="name",
            reason="TAG_JOB_NOT_FOUND",
            remedy="List the project's tag jobs to see their names.",
        )
    return job_of(row, (await _outcomes(conn, [name]))[name])


async def _outcomes(conn: AsyncConnection, names: Sequence[str]) -> dict[str, list[ImageOutcome]]:
    found: dict[str, list[ImageOutcome]] = {name: [] for name in names}
    query = select(tag_job_images).where(_images.job.in_(names)).order_by(_images.job, _images.position)
    for row in await conn.execute(query):
        found[row.job].append(
            ImageOutcome(
                row.image,
                ImageState(row.state),
                row.message,
                tuple(row.added),
                tuple(row.removed),
                row.outside_domain,
                row.calls,
                row.rescored,
                row.caption,
            )
        )
    return found


async def _change(conn: AsyncConnection, name: str, **values: Any) -> None:
    await conn.execute(update(tag_jobs).where(_jobs.name == name).values(revision=_jobs.revision + 1, **values))
