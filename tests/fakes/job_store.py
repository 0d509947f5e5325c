"""Training jobs in memory, with the promises of the ports `JobStore`, `Workforce` and `History`."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.chassis.errors import AlreadyExists, NotFound
from services.chassis.listing import memory
from services.chassis.listing.pages import Query
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.trainer.models.change import Change
from services.trainer.models.epoch import Epoch, Metric, first_steps
from services.trainer.models.events import JobEvent, Progressed, StoredEvent
from services.trainer.models.job import JobState, TrainingJob
from services.trainer.models.lifetimes import Kind, Leftover, Lifetimes, kind_of
from services.trainer.models.placement import ROOM_HEAD_START, WorkerKind
from services.trainer.models.queue import WARM_HEAD_START, ProjectQueue, ProjectUse, QueueLoad, Starting, turn
from services.trainer.ports import EPOCHS, JOBS, QUEUE, Admit, Move, PresentWorker, WorkerAsk
from services.trainer.proto_mapping.events import event_payload

_RECENT_JOBS = 20


@dataclass
class _Row:
    """A job and all that is kept of it. log: its events by number; thinned: those of its progress are gone."""

    job: TrainingJob
    log: dict[int, tuple[JobEvent, StoredEvent]] = field(default_factory=dict)
    newest: int = 0
    epochs: dict[int, Epoch] = field(default_factory=dict)
    points: list[Metric] = field(default_factory=list)
    thinned: bool = False


# In the class below `list` is the method of the port.
_Rows = list[_Row]
_Queues = list[ProjectQueue]


class FakeJobStore:
    """A JobStore, a Workforce and a History without a database; every method is atomic because none of them waits."""

    def __init__(self, signals: Signals | None = None) -> None:
        self._signals = signals or Signals()
        self._rows: dict[str, _Row] = {}
        self._requests: dict[tuple[str, str, str], tuple[str, str, datetime]] = {}
        self._served_at: dict[str, datetime | None] = {}
        self._workers: dict[str, tuple[WorkerAsk, datetime]] = {}
        self._deleted: list[TrainingJob] = []

    async def recall(self, key: RequestKey) -> TrainingJob | None:
        known = self._requests.get((key.project, key.method, key.request_id))
        if known is None:
            return None
        key.check_same(known[0])
        return self._rows[known[1]].job

    async def create(self, change: Change, key: RequestKey, admit: Admit | None = None) -> TrainingJob:
        made = await self.recall(key)
        if made is not None:
            return made
        if change.job.name in self._rows:
            raise AlreadyExists(change.job.name, field="training_job_id", reason="JOB_EXISTS", remedy="Take another.")
        self._admit(change.job, admit)
        self._rows[change.job.name] = row = _Row(change.job)
        self._served_at.setdefault(change.job.project, None)
        self._append(row, change)
        self._remember(key, change.job.name)
        self._tell(change)
        return change.job

    async def get(self, name: str) -> TrainingJob:
        return self._row(name).job

    async def list(self, project: str, query: Query) -> tuple[Sequence[TrainingJob], int]:
        mine = (row.job for row in self._rows.values() if row.job.project == project)
        return memory.page(mine, query, JOBS)

    async def change(
        self, name: str, move: Move, key: RequestKey | None = None, admit: Admit | None = None
    ) -> TrainingJob:
        row = self._row(name)
        if key is not None and await self.recall(key) is not None:
            return row.job
        change = move(row.job)
        if change.job.state is JobState.QUEUED and row.job.state is not JobState.QUEUED:
            self._admit(row.job, admit)
        self._store(row, change)
        if key is not None:
            self._remember(key, name)
        self._tell(change)
        return change.job

    async def heartbeat(self, name: str, move: Move) -> TrainingJob:
        return await self.change(name, move)

    async def usage(self, project: str, *, since: datetime, now: datetime) -> ProjectUse:
        own = [row.job for row in self._rows.values() if row.job.project == project]
        spans = [
            (min(attempt.end_time or now, now) - max(attempt.start_time, since)).total_seconds()
            for job in (*own, *(job for job in self._deleted if job.project == project))
            for attempt in job.attempts
        ]
        seconds = sum(span for span in spans if span > 0)
        return ProjectUse(sum(job.state is JobState.QUEUED for job in own), sum(map(_is_held, own)), seconds)

    async def acquire(self, ask: WorkerAsk, move: Move, starting: Starting | None = None) -> TrainingJob | None:
        fitting = [row for row in self._waiting() if _fits(row.job, ask)]
        if starting is not None:
            allowed = {
                project: starting.limits(project).allow(active=use.running, gpu_seconds=use.gpu_seconds)
                for project in {row.job.project for row in fitting}
                for use in [await self.usage(project, since=starting.since, now=starting.now)]
            }
            fitting = [row for row in fitting if allowed[row.job.project]]
        if not fitting:
            return None
        projects = {row.job.project for row in fitting}
        queue = min((queue for queue in self._queues() if queue.project in projects), key=turn)
        own = sorted((row for row in fitting if row.job.project == queue.project), key=_place)
        others = ask.room.others
        only_here = [row for row in own if 0 < others < row.job.memory_bytes and _near(row, own[0], ROOM_HEAD_START)]
        first = (only_here or own)[0]
        beyond = others if 0 < others < first.job.memory_bytes else -1
        warm = [
            row
            for row in own
            if row.job.base_model == ask.warm_base_model
            and row.job.memory_bytes > beyond
            and _near(row, first, WARM_HEAD_START)
        ]
        row = (warm or [first])[0]
        change = move(row.job)
        self._store(row, change)
        self._served_at[change.job.project] = change.job.update_time
        self._workers[ask.worker_id] = ask, change.job.update_time
        self._tell(change)
        return change.job

    async def seen(self, ask: WorkerAsk, now: datetime) -> None:
        self._workers[ask.worker_id] = ask, now

    async def loadable(self, since: datetime) -> Collection[str] | None:
        busy = {row.job.lease.worker_id for row in self._rows.values() if row.job.lease}
        present = [ask for ask, seen_at in self._workers.values() if seen_at >= since or ask.worker_id in busy]
        if any(not ask.base_models for ask in present):
            return None
        return {model for ask in present for model in ask.base_models}

    async def present(self, since: datetime) -> Sequence[PresentWorker]:
        jobs = {row.job.lease.worker_id: row.job.name for row in self._rows.values() if row.job.lease}
        return [
            PresentWorker(
                ask.worker_id,
                ask.device,
                ask.device_memory_bytes,
                ask.base_models,
                seen_at,
                jobs.get(ask.worker_id, ""),
                ask.families,
                ask.mixed_precisions,
            )
            for ask, seen_at in sorted(self._workers.values(), key=lambda one: one[0].worker_id)
            if seen_at >= since or ask.worker_id in jobs
        ]

    async def kinds(self, since: datetime) -> Sequence[WorkerKind]:
        there = {worker.worker_id for worker in await self.present(since)}
        return list(dict.fromkeys(ask.kind for ask, _ in self._workers.values() if ask.worker_id in there))

    async def forget(self, before: datetime) -> int:
        busy = {row.job.lease.worker_id for row in self._rows.values() if row.job.lease}
        gone = [name for name, (_, seen_at) in self._workers.items() if seen_at < before and name not in busy]
        for name in gone:
            del self._workers[name]
        return len(gone)

    async def expired(self, now: datetime, limit: int) -> Sequence[str]:
        over = [(row.job.lease.expires_at, name) for name, row in self._rows.items() if row.job.lease]
        return [name for expires_at, name in sorted(over) if expires_at <= now][:limit]

    async def position_in_project(self, job: TrainingJob) -> int:
        own = (row for row in self._waiting() if row.job.project == job.project)
        return 1 + sum(_place(row) < _place(_Row(job)) for row in own)

    async def load(self) -> QueueLoad:
        waiting = [row.job for row in self._waiting()]
        samples = sum((job.total_steps - job.progress.step) * job.samples_per_step for job in waiting)
        queues = tuple(queue for queue in self._queues() if queue.waiting or queue.active)
        return QueueLoad(queues, samples / len(waiting) if waiting else 0.0)

    async def pace(self, base_model: str) -> float:
        ended = [
            (row.job.end_time, row.job.seconds_per_sample)
            for row in self._rows.values()
            if row.job.base_model == base_model and row.job.end_time and row.job.seconds_per_sample > 0
        ]
        recent = [pace for _, pace in sorted(ended, reverse=True)[:_RECENT_JOBS]]
        return statistics.median(recent) if recent else 0.0

    async def epoch(self, job: str, number: int) -> Epoch:
        row = self._rows.get(job)
        if row is None or number not in row.epochs:
            raise NotFound(f"{job}/epochs/{number}", field="name", reason="EPOCH_NOT_FOUND", remedy="List the epochs.")
        return row.epochs[number]

    async def epochs(self, job: str, query: Query | None = None) -> Sequence[Epoch]:
        found = [epoch for _, epoch in sorted(self._row(job).epochs.items())]
        if query is None:
            return found
        return memory.page((epoch for epoch in found if epoch.number), query, EPOCHS)[0]

    async def count_epochs(self, job: str, query: Query | None = None) -> int:
        found = [epoch for epoch in self._row(job).epochs.values() if epoch.number]
        return len(found) if query is None else memory.page(found, query, EPOCHS)[1]

    async def metrics(
        self, job: str, keys: Collection[str], *, since_step: int, stride: int, limit: int
    ) -> Sequence[Metric]:
        points = self._row(job).points
        wanted = [point for point in points if point.key in keys and point.step > since_step]
        return first_steps([point for point in wanted if point.step % stride == 0], limit)

    async def standing(self, name: str) -> tuple[JobState, int]:
        row = self._row(name)
        return row.job.state, row.newest

    async def snapshot(self, name: str) -> tuple[TrainingJob, int]:
        row = self._row(name)
        return row.job, row.newest

    async def events(self, name: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        return [stored for number, (_, stored) in sorted(self._row(name).log.items()) if number > after][:limit]

    async def thin(self, ended_before: datetime) -> int:
        due = [row for row in self._rows.values() if not row.thinned and _ended_by(row.job, ended_before)]
        for row in due:
            row.thinned = True
            row.log = {number: kept for number, kept in row.log.items() if not isinstance(kept[0], Progressed)}
        return len(due)

    async def forget_requests(self, before: datetime) -> int:
        old = [key for key, (_, _, made_at) in self._requests.items() if made_at < before]
        for key in old:
            del self._requests[key]
        return len(old)

    async def forget_usage(self, before: datetime) -> int:
        old = [job for job in self._deleted if all(one.end_time and one.end_time < before for one in job.attempts)]
        self._deleted = [job for job in self._deleted if job not in old]
        return len(old)

    def _admit(self, job: TrainingJob, admit: Admit | None) -> None:
        if admit is not None:
            admit(sum(row.job.project == job.project for row in self._waiting()))

    def drop_job(self, name: str, check: Callable[[TrainingJob, int], None]) -> TrainingJob:
        """`Deletions.job`."""
        row = self._row(name)
        check(row.job, sum(number > 0 for number in row.epochs))
        self._deleted.append(self._rows[name].job)
        return self._rows.pop(name).job

    def drop_epoch(self, name: str, number: int, check: Callable[[TrainingJob, Epoch], None]) -> Epoch:
        """`Deletions.epoch`."""
        row = self._row(name)
        if number not in row.epochs:
            raise NotFound(f"{name}/epochs/{number}", field="name", reason="EPOCH_NOT_FOUND", remedy="List the epochs.")
        check(row.job, row.epochs[number])
        return row.epochs.pop(number)

    def label(self, name: str, number: int, change: Callable[[Epoch], Epoch]) -> tuple[Epoch, TrainingJob]:
        """`Deletions.label`."""
        row = self._row(name)
        if number not in row.epochs:
            raise NotFound(f"{name}/epochs/{number}", field="name", reason="EPOCH_NOT_FOUND", remedy="List the epochs.")
        row.epochs[number] = change(row.epochs[number])
        return row.epochs[number], row.job

    def rows(self) -> _Rows:
        """All, by name."""
        return [row for _, row in sorted(self._rows.items())]

    def _row(self, name: str) -> _Row:
        if name not in self._rows:
            raise NotFound(name, field="name", reason="JOB_NOT_FOUND", remedy="List the project's jobs.")
        return self._rows[name]

    def _waiting(self) -> _Rows:
        return [row for row in self._rows.values() if row.job.state is JobState.QUEUED]

    def _queues(self) -> _Queues:
        waiting, active = defaultdict[str, int](int), defaultdict[str, int](int)
        for row in self._rows.values():
            waiting[row.job.project] += row.job.state is JobState.QUEUED
            active[row.job.project] += row.job.lease is not None
        return [
            ProjectQueue(project, waiting[project], active[project], served_at)
            for project, served_at in sorted(self._served_at.items())
        ]

    def _store(self, row: _Row, change: Change) -> None:
        """All of a change or nothing: what may be refused comes first."""
        epoch = change.epoch
        if epoch is not None and (epoch.job != change.job.name or epoch.number in row.epochs):
            raise LookupError(f"epoch {epoch.number} of {epoch.job} breaks a foreign key or comes twice")
        if change.forget_metrics_after is not None:
            row.points = [point for point in row.points if point.step <= change.forget_metrics_after]
        if epoch is not None:
            row.epochs[epoch.number] = epoch
        known = row.points[-1].step if row.points else 0
        row.points += sorted((point for point in change.metrics if point.step > known), key=lambda point: point.step)
        row.job = change.job
        row.thinned = row.thinned and change.job.end_time is not None
        self._append(row, change)

    def _append(self, row: _Row, change: Change) -> None:
        for event in change.events:
            row.newest += 1
            moment = change.job.update_time
            payload = event_payload(
                event, change.job, event_id=f"event-{row.newest}", sequence=row.newest, moment=moment
            )
            row.log[row.newest] = event, StoredEvent(row.newest, payload, moment)

    def _remember(self, key: RequestKey, name: str) -> None:
        if key.request_id:
            self._requests[key.project, key.method, key.request_id] = key.digest, name, datetime.now(UTC)

    def _tell(self, change: Change) -> None:
        if change.events:
            self._signals.notify(change.job.name)
            if change.job.state is JobState.QUEUED:
                self._signals.notify(QUEUE)


class FakeDeletions:
    """A Deletions over the same rows."""

    def __init__(self, store: FakeJobStore) -> None:
        self._store = store

    async def job(self, name: str, check: Callable[[TrainingJob, int], None]) -> TrainingJob:
        return self._store.drop_job(name, check)

    async def epoch(self, job: str, number: int, check: Callable[[TrainingJob, Epoch], None]) -> Epoch:
        return self._store.drop_epoch(job, number, check)

    async def label(self, job: str, number: int, change: Callable[[Epoch], Epoch]) -> tuple[Epoch, TrainingJob]:
        return self._store.label(job, number, change)


def _near(row: _Row, first: _Row, head_start: timedelta) -> bool:
    same = row.job.priority == first.job.priority
    return same and row.job.queued_at <= first.job.queued_at + head_start


def _fits(job: TrainingJob, ask: WorkerAsk) -> bool:
    if not (ask.takes(job.base_model, job.entry) and ask.kind.computes_in(job.parameters.mixed_precision)):
        return False
    if job.needs_skill > ask.skill:
        return False
    return ask.room.takes(job.loads, middle=job.memory_bytes, low=job.memory_low_bytes)


class FakeLeftovers:
    """A Leftovers over the same rows."""

    def __init__(self, store: FakeJobStore) -> None:
        self._store = store

    async def due(self, lifetimes: Lifetimes, now: datetime, *, project: str = "") -> AsyncIterator[Leftover]:
        own = [row for row in self._store.rows() if not project or row.job.project == project]
        due = [row for row in own if lifetimes.job_is_due(row.job, now)]
        for row in due:
            yield _leftover(row, kind_of(row.job), 0, list(row.epochs.values()))
        for row in own:
            for number, epoch in sorted(row.epochs.items()):
                if row not in due and lifetimes.epoch_is_due(row.job, number, now):
                    yield _leftover(row, Kind.EPOCHS, number, [epoch])


def _leftover(row: _Row, kind: Kind, number: int, epochs: Sequence[Epoch]) -> Leftover:
    size = sum(file.size_bytes for epoch in epochs for file in (*epoch.files, *epoch.checkpoint))
    assert row.job.end_time is not None
    return Leftover(kind, row.job.project, row.job.name, number, size, row.job.end_time)


def _place(row: _Row) -> tuple[int, datetime, str]:
    return -row.job.priority, row.job.queued_at, row.job.name


def _ended_by(job: TrainingJob, moment: datetime) -> bool:
    return job.end_time is not None and job.end_time <= moment


def _is_held(job: TrainingJob) -> bool:
    return job.lease is not None
