"""The trainer's control plane under load, without training: one replica on PostgreSQL with durable commits.

    python -m benchmarks.control_plane [--waiting 1000 10000] [--workers 1000] [--beat-every 5] [--seconds 20]
        [--projects 20] [--too-large 0]

Prints one line of JSON for each length of the queue. So many workers hold a job and heartbeat, while others acquire
jobs one after the other. acquire_ms, heartbeat_ms: as the client sees them. replica_cpu: share of one core. capacity:
heartbeats a second that one replica answers when 32 clients never pause. …_cpu_ms: the replica's processor time for
one call, without that of the database, …_database_ms of the database. acquire_alone_ms: acquires when nothing else
happens. --too-large: share of the waiting jobs that need more memory than the workers that acquire; each of those tells
its memory then, and passes them over.
Everything runs on this machine, the load generator included; look at busy_cores before comparing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
from fiveshot.trainer.v1 import training_job_pb2, worker_service_pb2, worker_service_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from psycopg import sql
from sqlalchemy import insert

from gateway.supervisor import servers
from services.chassis.grpc_client import channel
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.trainer.adapters.sql_rows import job_to_row
from services.trainer.adapters.sql_tables import jobs, shares
from services.trainer.models.job import Attempt, JobState, Lease, TrainingJob
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from tests.fixtures.postgres import USER, running_postgres
from tests.fixtures.processes import running

MIGRATIONS = Path(__file__).parents[1] / "services" / "trainer" / "adapters" / "migrations"
KEYS = ("benchmark-key", "benchmark-secret-0123456789")
GIB = 1 << 30
SMALL, LARGE, ROOM = 8 * GIB, 40 * GIB, 24 * GIB
"""Bytes that jobs need, and that a worker has."""
CLIENTS = 32
ALONE = 200
"""Acquires without any other load, at the end."""
PAUSE = 0.05
"""Seconds between two acquires under load."""


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


async def measure(
    target: str, held: Sequence[TrainingJob], process: int, postmaster: int, options: argparse.Namespace
) -> dict[str, object]:
    """Latencies under the workers' heartbeats, then the capacity without them."""
    connection = channel(target)
    room = ROOM if options.too_large else 0
    load = Load(worker_service_pb2_grpc.WorkerServiceStub(connection), held, room=room)
    beating = [asyncio.create_task(load.beat_forever(n, options.beat_every)) for n in range(len(held))]
    await asyncio.sleep(options.beat_every)
    load.beats.clear()
    began, cpu, machine = time.perf_counter(), cpu_seconds(process), busy_seconds()
    while time.perf_counter() - began < options.seconds:
        await load.acquire()
        await asyncio.sleep(PAUSE)
    seconds = time.perf_counter() - began
    result: dict[str, object] = {
        "acquire_ms": quantiles(load.acquires),
        "acquires": len(load.acquires),
        "heartbeat_ms": quantiles(load.beats),
        "heartbeats_per_s": round(len(load.beats) / seconds, 1),
        "replica_cpu": round((cpu_seconds(process) - cpu) / seconds, 2),
        "busy_cores": round((busy_seconds() - machine) / seconds, 2),
    }
    for task in beating:
        task.cancel()
    await asyncio.gather(*beating, return_exceptions=True)
    load.beats.clear()

    async def client(first: int) -> None:
        number = first
        while time.perf_counter() - began < options.seconds / 2:
            await load.beat(number % len(held))
            number += CLIENTS

    began, cpu, database = time.perf_counter(), cpu_seconds(process), children_seconds(postmaster)
    await asyncio.gather(*(client(number) for number in range(min(CLIENTS, len(held)))))
    result["capacity"] = round(len(load.beats) / (time.perf_counter() - began), 1)
    result["heartbeat_cpu_ms"] = round((cpu_seconds(process) - cpu) / len(load.beats) * 1e3, 2)
    result["heartbeat_database_ms"] = round((children_seconds(postmaster) - database) / len(load.beats) * 1e3, 2)
    load.acquires.clear()
    cpu, database = cpu_seconds(process), children_seconds(postmaster)
    for _ in range(ALONE):
        await load.acquire()
    result["acquire_alone_ms"] = quantiles(load.acquires)
    result["acquire_cpu_ms"] = round((cpu_seconds(process) - cpu) / ALONE * 1e3, 2)
    result["acquire_database_ms"] = round((children_seconds(postmaster) - database) / ALONE * 1e3, 2)
    await connection.close(None)
    return result


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99, in the unit of the values."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def cpu_seconds(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_seconds(parent: int) -> float:
    """Processor time of the processes that a process has started, those that ended included."""
    ended = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[13:15]
    found = sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found += cpu_seconds(int(stat.parent.name))
    return found


def busy_seconds() -> float:
    """Processor time that the whole machine has worked."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def replica(folder: Path, url: str, s3_port: int) -> Iterator[tuple[int, str]]:
    """A trainer process: its id and host:port."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    environment = {
        "TRAINER_DATABASE_URL": url,
        "TRAINER_S3_ENDPOINT": f"{servers.HOST}:{s3_port}",
        "TRAINER_S3_ACCESS_KEY": KEYS[0],
        "TRAINER_S3_SECRET_KEY": KEYS[1],
        "TRAINER_PORT_FILE": str(port_file),
        "TRAINER_LOG_LEVEL": "WARNING",
        # A busy machine delays the generator's own heartbeats; that must not cost leases.
        "TRAINER_LEASE_SECONDS": "600",
    }
    process = subprocess.Popen([sys.executable, "-m", "services.trainer.app"], env={**os.environ, **environment})
    try:
        while not port_file.exists():
            if process.poll() is not None:
                raise SystemExit(f"the trainer ended with {process.returncode}")
            time.sleep(0.02)
        yield process.pid, f"{servers.HOST}:{port_file.read_text().strip()}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--beat-every", type=float, default=5.0, help="seconds between two heartbeats of a worker")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument(
        "--too-large", type=float, default=0.0, help="share of waiting jobs that do not fit the workers"
    )
    options = parser.parse_args()
    most = int(options.seconds / PAUSE) + ALONE
    if min(options.waiting) < most:
        parser.error(f"{options.seconds:g} seconds may take {most} jobs: give --waiting at least that many")
    random.seed(0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fiveshot-bench-")))
        socket = stack.enter_context(running_postgres(durable=True))
        s3 = servers.seaweedfs(folder / "s3", access_key=KEYS[0], secret_key=KEYS[1])
        stack.enter_context(running(s3))
        for waiting in options.waiting:
            name = f"bench_{waiting}"
            with psycopg.connect(host=str(socket), user=USER, dbname="postgres", autocommit=True) as admin:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                backend = admin.info.backend_pid
                postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
            url = f"postgresql+psycopg://{USER}@/{name}?host={socket}"
            held = asyncio.run(seed(url, waiting, options))
            with replica(folder, url, s3.ports["s3"]) as (process, target):
                result = asyncio.run(measure(target, held, process, postmaster, options))
            print(json.dumps({"waiting": waiting, "workers": options.workers, **result}), flush=True)


if __name__ == "__main__":
    main()
