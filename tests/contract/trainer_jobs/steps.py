"""What the tests of the job store do to a job."""

from __future__ import annotations

from datetime import timedelta

from services.chassis.requests.keys import RequestKey
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.epoch import Metric
from services.trainer.models.job import Progress, TrainingJob
from services.trainer.ports import JobStore, WorkerAsk
from tests.unit.trainer.jobs import NAME, NOW, make_job

LEASE = timedelta(seconds=30)
NO_KEY = RequestKey("acme", "CreateTrainingJob", "", "")
ASK = WorkerAsk("worker-1", (), "", "cpu")


def take(job: TrainingJob) -> Change:
    return worker_moves.acquire(job, worker_id="worker-1", token=f"t-{job.job_id}", now=NOW, lease=LEASE)


async def acquired(store: JobStore, name: str = NAME) -> TrainingJob:
    await store.create(moves.create(make_job(name)), NO_KEY)
    found = await store.acquire(ASK, take)
    assert found is not None
    return found


def metrics_of(*steps: int) -> tuple[Metric, ...]:
    return tuple(Metric(step, 1, key, step / 10, NOW) for step in steps for key in ("loss", "learning_rate"))


async def report(store: JobStore, job: TrainingJob, found: tuple[Metric, ...]) -> None:
    def move(current: TrainingJob) -> Change:
        assert current.lease is not None
        return worker_moves.heartbeat(
            current,
            token=current.lease.token,
            progress=Progress(step=found[-1].step if found else 0),
            running=True,
            metrics=found,
            now=NOW,
            lease=LEASE,
        )

    await store.change(job.name, move)
