"""What metrics and traces tell of jobs: each change that a replica has stored, and now and then the queue as a whole.

The counters of several replicas add up. The gauges are of the whole deployment, the same from each replica: take their
maximum. Base models are those of the catalogue, so their number is known; one of a project counts as that which it is
made from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import case, func, literal_column, select

from services.chassis import telemetry, tracing
from services.chassis.errors import DomainError
from services.chassis.outbox import Relay
from services.chassis.patience import every
from services.chassis.sql import Database, utcnow
from services.trainer.adapters.sql_tables import jobs
from services.trainer.models.change import Change
from services.trainer.models.events import Created, EpochCompleted, Progressed, StateChanged
from services.trainer.models.job import LEASED, TERMINAL, JobState, Outcome
from services.trainer.models.lifetimes import Found, Kind
from services.trainer.models.placement import Fleet
from services.trainer.ports import PresentWorker, Workforce

LONG = telemetry.LONG_BUCKETS_S
CREATED = telemetry.counter("fiveshot_trainer_jobs_created_total", "Jobs that entered the queue.", ("base_model",))
ENDED = telemetry.counter(
    "fiveshot_trainer_jobs_ended_total",
    "Jobs that ended, by state and reason; the reason is empty unless one failed.",
    ("base_model", "state", "reason"),
)
STATE_SECONDS = telemetry.histogram(
    "fiveshot_trainer_job_state_seconds", "Seconds in a state of jobs that left it.", ("state",), buckets=LONG
)
JOB_SECONDS = telemetry.histogram(
    "fiveshot_trainer_job_seconds", "Seconds from the creation of a job to its end.", ("state",), buckets=LONG
)
ATTEMPTS = telemetry.counter("fiveshot_trainer_attempts_ended_total", "Attempts that ended, by outcome.", ("outcome",))
EPOCHS = telemetry.counter("fiveshot_trainer_epochs_total", "Epochs that workers reported.", ("base_model",))
PROGRESS_EVENTS = telemetry.counter("fiveshot_trainer_progress_events_total", "Events that told of progress.")
ACQUIRE_SECONDS = telemetry.histogram(
    "fiveshot_trainer_acquire_seconds", "Seconds to choose a job for a worker, by whether one was found.", ("found",)
)

QUEUE_DEPTH = telemetry.gauge("fiveshot_trainer_queue_depth", "Jobs that wait for a worker.", ("base_model",))
OLDEST_WAIT = telemetry.gauge(
    "fiveshot_trainer_queue_oldest_wait_seconds", "Seconds that the oldest waiting job has waited.", ("base_model",)
)
UNPLACED = telemetry.gauge(
    "fiveshot_trainer_queue_unplaced",
    "Waiting jobs that no worker that is there can take, for want of memory, base model or number format.",
    ("base_model",),
)
JOBS = telemetry.gauge("fiveshot_trainer_jobs", "Jobs that wait or that a worker has, by state.", ("state",))
WORKERS = telemetry.gauge("fiveshot_trainer_workers", "Workers heard of lately, by what they do.", ("state",))

CLEANED_UP = telemetry.counter(
    "fiveshot_trainer_cleaned_up_total", "Epochs and jobs removed at the end of their lifetime, by kind.", ("kind",)
)
CLEANED_UP_BYTES = telemetry.counter(
    "fiveshot_trainer_cleaned_up_bytes_total", "Bytes of their files, by kind.", ("kind",)
)

# A counter that begins with its first event hides that event from rates.
for _outcome in Outcome:
    ATTEMPTS.labels(_outcome.value)
for _kind in Kind:
    CLEANED_UP.labels(_kind.value)
    CLEANED_UP_BYTES.labels(_kind.value)
_reasons = telemetry.Words()
_NOBODY_KNOWS = float("nan")
_LOADS = case((jobs.c.entry == literal_column("''"), jobs.c.base_model), else_=jobs.c.entry)


def begin(base_models: Collection[str]) -> None:
    """Starts the counters of base models at 0; failures have a reason, which nobody knows before."""
    for base_model in map(_short, base_models):
        CREATED.labels(base_model)
        EPOCHS.labels(base_model)
        for state in (JobState.SUCCEEDED, JobState.CANCELLED):
            ENDED.labels(base_model, state.value, "")


def count(change: Change) -> None:
    """Counts a change that was stored."""
    base_model = _short(change.job.loads)
    for event in change.events:
        if isinstance(event, Created):
            CREATED.labels(base_model).inc()
        elif isinstance(event, EpochCompleted):
            EPOCHS.labels(base_model).inc()
        elif isinstance(event, Progressed):
            PROGRESS_EVENTS.inc()
        elif isinstance(event, StateChanged):
            _moved(change, event)


def _moved(change: Change, event: StateChanged) -> None:
    job = change.job
    if event.seconds is not None:
        STATE_SECONDS.labels(event.previous.value).observe(max(0.0, event.seconds))
        # What a job waited for, and how long, belongs to its trace as well as what was done.
        tracing.passed(
            f"job {event.previous.value.lower()}",
            parent=job.traceparent,
            since=job.update_time - timedelta(seconds=max(0.0, event.seconds)),
            until=job.update_time,
            attributes={
                "fiveshot.training_job": job.name,
                "fiveshot.attempt": len(job.attempts),
                "fiveshot.next_state": event.state.value,
            },
        )
    if event.previous in LEASED and event.state not in LEASED and job.attempts[-1].outcome is not None:
        ATTEMPTS.labels(job.attempts[-1].outcome.value).inc()
    if event.state in TERMINAL:
        reason = _reasons(event.error.reason) if event.error else ""
        ENDED.labels(_short(job.loads), event.state.value, reason).inc()
        JOB_SECONDS.labels(event.state.value).observe(max(0.0, (job.update_time - job.create_time).total_seconds()))


def cleaned_up(found: Sequence[Found]) -> None:
    """Counts what was removed."""
    for one in found:
        CLEANED_UP.labels(one.kind.value).inc(one.count)
        CLEANED_UP_BYTES.labels(one.kind.value).inc(one.size_bytes)


def _short(base_model: str) -> str:
    return base_model.removeprefix("baseModels/")


class QueueGauges:
    """Looks at the queue, the workers and the outbox every `pause_s` seconds. What it cannot see is NaN, not zero.

    base_models: of the catalogue, so that an empty queue is told as such. memory: how long a silent worker counts.
    """

    def __init__(
        self,
        db: Database,
        workforce: Workforce,
        relay: Relay,
        base_models: Collection[str],
        *,
        memory: timedelta,
        pause_s: float,
    ) -> None:
        self._db = db
        self._workforce = workforce
        self._relay = relay
        self._base_models = set(base_models)
        self._memory = memory
        self._pause_s = pause_s

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await every(self._pause_s, self.look, what="measuring the queue", at_once=True)

    async def look(self) -> None:
        """Looks once. Raises Unavailable, with every gauge unknown."""
        now = utcnow()
        try:
            waiting, held = await self._jobs()
            workers = await self._workforce.present(now - self._memory)
            unplaced = await self._unplaced(Fleet(await self._workforce.kinds(now - self._memory)))
            await self._relay.measure()
        except DomainError:
            self._tell({}, Counter(), Counter(), None, now)
            raise
        self._tell(waiting, held, unplaced, workers, now)

    async def _jobs(self) -> tuple[dict[str, tuple[int, datetime]], Counter[str]]:
        # Constants, so that PostgreSQL uses the partial indexes; ended jobs are not looked at.
        base_model, state = _LOADS, jobs.c.state
        queued = select(base_model, func.count(), func.min(jobs.c.queued_at)).where(state == literal_column("'QUEUED'"))
        at_work = select(state, func.count()).where(jobs.c.lease_token.is_not(None)).group_by(state)
        async with self._db.connect() as conn:
            rows = await conn.execute(queued.group_by(base_model))
            waiting = {_short(name): (number, oldest) for name, number, oldest in rows}
            held: Counter[str] = Counter(dict((await conn.execute(at_work)).all()))
        return waiting, held

    async def _unplaced(self, fleet: Fleet) -> Counter[str]:
        """Jobs that fit nowhere by base model; none where there is no worker at all, which other numbers tell."""
        waiting = jobs.c.state == literal_column("'QUEUED'")
        asked = (_LOADS, jobs.c.mixed_precision, jobs.c.needs_skill, jobs.c.entry != literal_column("''"))
        found: Counter[str] = Counter()
        async with self._db.connect() as conn:
            for kind in (await conn.execute(select(*asked).where(waiting).distinct())).all():
                base_model, number_format, skill, own = kind
                limit = fleet.limit(base_model, number_format, skill=skill, own=bool(own))
                if limit < math.inf:
                    of_kind = [column == value for column, value in zip(asked, kind, strict=True)]
                    too_large = select(func.count()).where(waiting, *of_kind, jobs.c.memory_low_bytes > int(limit))
                    found[_short(base_model)] += await conn.scalar(too_large) or 0
        return found

    def _tell(
        self,
        waiting: dict[str, tuple[int, datetime]],
        held: Counter[str],
        unplaced: Counter[str],
        workers: Sequence[PresentWorker] | None,
        now: datetime,
    ) -> None:
        known = workers is not None
        self._base_models |= waiting.keys()
        for name in self._base_models:
            number, oldest = waiting.get(name, (0, now))
            QUEUE_DEPTH.labels(name).set(number if known else _NOBODY_KNOWS)
            UNPLACED.labels(name).set(unplaced[name] if known else _NOBODY_KNOWS)
            OLDEST_WAIT.labels(name).set((now - oldest).total_seconds() if known else _NOBODY_KNOWS)
        states = held + Counter({JobState.QUEUED.value: sum(number for number, _ in waiting.values())})
        for state in (JobState.QUEUED, *sorted(LEASED)):
            JOBS.labels(state.value).set(states[state.value] if known else _NOBODY_KNOWS)
        busy = sum(bool(worker.job) for worker in workers or ())
        for does, number in (("busy", busy), ("idle", len(workers or ()) - busy)):
            WORKERS.labels(does).set(number if known else _NOBODY_KNOWS)
