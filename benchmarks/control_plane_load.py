"""What benchmarks/control_plane.py measures with: jobs in a database, and simulated workers and watchers."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import psycopg
from fiveshot.trainer.v1 import (
    training_job_pb2,
    training_service_pb2,
    training_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import insert

from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_rows import job_to_row
from services.trainer.adapters.sql_tables import jobs, shares
from services.trainer.models.job import Attempt, JobState, Lease, TrainingJob
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve

MIGRATIONS = Path(__file__).parents[1] / "services" / "trainer" / "adapters" / "migrations"
GIB = 1 << 30
SMALL, LARGE, ROOM = 8 * GIB, 40 * GIB, 24 * GIB
"""Bytes that jobs need, and that a worker has."""


def make_job(number: int, state: JobState, options: argparse.Namespace) -> TrainingJob:
    """A job as a create would have stored it; a running one is held under the token `t-{number}`."""
    now = utcnow()
    project = f"bench-{number % options.projects}"
    # Spread over each project's queue, the first of it included.
    needs = LARGE if (number // options.projects % 100) < options.too_large * 100 else SMALL
    job = TrainingJob(
        name=f"projects/{project}/trainingJobs/{state.value.lower()}-{number}",
        project=project,
        display_name="",
        base_model="baseModels/fiveshot-tiny",
        dataset_version=f"projects/{project}/datasets/d/versions/1",
        dataset_digest="0" * 64,
        image_count=5,
        trigger_word="sks",
        parameters=resolve(DEFAULT_SPECS, {}),
        steps_per_epoch=100,
        samples_per_step=8,
        priority=number % 3,
        create_time=now,
        update_time=now,
        queued_at=now + timedelta(milliseconds=number),
        state=state,
        memory_bytes=needs,
        memory_low_bytes=needs,
    )
    if state is JobState.QUEUED:
        return job
    attempt = Attempt(1, f"worker-{number}", f"t-{number}", now)
    lease = Lease(f"t-{number}", f"worker-{number}", now + timedelta(hours=1))
    return replace(job, attempts=(attempt,), lease=lease, start_time=now)


async def seed(url: str, waiting: int, options: argparse.Namespace) -> list[TrainingJob]:
    """Fills the database, and returns the jobs that workers hold."""
    await upgrade(url, MIGRATIONS)
    held = [make_job(number, JobState.RUNNING, options) for number in range(options.workers)]
    queued = (make_job(number, JobState.QUEUED, options) for number in range(waiting))
    rows = [job_to_row(job) for job in (*held, *queued)]
    db = Database(url)
    async with db.begin() as conn:
        await conn.execute(
            insert(shares), [{"project": f"bench-{n}", "served_at": None} for n in range(options.projects)]
        )
        for begin in range(0, len(rows), 500):
            await conn.execute(insert(jobs), rows[begin : begin + 500])
    await db.dispose()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("ANALYZE")
    return held


class Load:
    """Calls of simulated workers, and how long each took in milliseconds."""

    def __init__(
        self, stub: worker_service_pb2_grpc.WorkerServiceAsyncStub, held: Sequence[TrainingJob], *, room: int
    ) -> None:
        """room: memory that the workers which acquire tell; 0 for none."""
        self._room = room
        self._stub = stub
        self._held = held
        self._steps = [0] * len(held)
        self.beats: list[float] = []
        self.seen = 0
        self.acquires: list[float] = []

    async def beat(self, number: int) -> None:
        """One heartbeat with the points of one step."""
        job, self._steps[number] = self._held[number], self._steps[number] + 1
        step = self._steps[number]
        points = [training_job_pb2.Metric(step=step, epoch=1, key=key, value=0.1) for key in ("loss", "learning_rate")]
        assert job.lease is not None
        request = worker_service_pb2.HeartbeatRequest(
            training_job=job.name, lease_token=job.lease.token, metrics=points, step=step, epoch=1, running=True
        )
        began = time.perf_counter()
        await self._stub.Heartbeat(request, timeout=120)
        self.beats.append((time.perf_counter() - began) * 1e3)

    async def beat_forever(self, number: int, every_s: float) -> None:
        """One worker's heartbeats, out of step with the others'."""
        await asyncio.sleep(random.random() * every_s)
        while True:
            began = time.perf_counter()
            await self.beat(number)
            await asyncio.sleep(max(0.0, every_s - (time.perf_counter() - began)))

    async def acquire(self) -> None:
        """One job for one more worker."""
        request = worker_service_pb2.AcquireJobRequest(
            worker_id=f"new-{len(self.acquires)}",
            wait=Duration(),
            device="NVIDIA L4" if self._room else "cpu",
            device_memory_bytes=self._room,
        )
        began = time.perf_counter()
        answer = await self._stub.AcquireJob(request, timeout=60)
        if not answer.HasField("job"):
            raise SystemExit("the queue ran empty: give --waiting more jobs or --seconds less time")
        self.acquires.append((time.perf_counter() - began) * 1e3)

    async def watch(self, stub: training_service_pb2_grpc.TrainingServiceAsyncStub, number: int) -> None:
        """Follows a job that a worker holds, for ever; begins again when the replica says so."""
        request = training_service_pb2.WatchTrainingJobRequest(name=self._held[number % len(self._held)].name)
        while True:
            try:
                async for message in stub.WatchTrainingJob(request):
                    request.resume_token = message.resume_token
                    self.seen += 1
            except grpc.aio.AioRpcError:
                await asyncio.sleep(1)
