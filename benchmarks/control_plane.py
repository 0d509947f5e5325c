"""The trainer's control plane under load, without training: replicas on PostgreSQL with durable commits.

    python -m benchmarks.control_plane [--waiting 1000 10000] [--workers 1000] [--beat-every 5] [--seconds 20]
        [--projects 20] [--too-large 0] [--replicas 1] [--watchers 0] [--nats] [--beats 3000] [--alone 200]

Prints one line of JSON for each length of the queue. So many workers hold a job and heartbeat, while others acquire
jobs one after the other and watchers follow the jobs at work. acquire_ms, heartbeat_ms: as the client sees them.
replica_cpu: shares of one core, of all replicas together; idle_cpu before anything happens. memory_mib: of each replica
once all is under way, and at the end. watched: messages that the watchers got. capacity: heartbeats a second when 32
clients never pause, until `--beats` of them were answered. paced_cpu_ms: the replicas' processor time for a heartbeat
while they come as they do in production, with all that the replicas do besides. …_cpu_ms: the same for one call when
clients never pause; …_database_ms of the database. acquire_alone_ms: `--alone` acquires when nothing else happens.
--too-large: share of the waiting jobs that need more memory than the workers that acquire; each of those tells its
memory then, and passes them over. --nats: replicas tell each other of changes, and events are published.
Everything runs on this machine, the load generator included; look at busy_cores before comparing. On a machine that
others use, compare processor times only, of runs that were made in turn.
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
from dataclasses import dataclass
from pathlib import Path

import psycopg
from fiveshot.trainer.v1 import training_service_pb2_grpc, worker_service_pb2_grpc
from psycopg import sql

from benchmarks.control_plane_load import ROOM, Load, seed
from gateway import event_accounts
from gateway.supervisor import servers
from services.chassis.grpc_client import channel
from services.trainer.models.job import TrainingJob
from tests.fixtures.postgres import USER, running_postgres
from tests.fixtures.processes import running

KEYS = ("benchmark-key", "benchmark-secret-0123456789")
NATS_PASSWORD = "benchmark-nats-0123456789"
CLIENTS = 32
WARM = 10
"""Heartbeats of each of those clients before any is counted."""
PAUSE = 0.05
"""Seconds between two acquires under load."""
IDLE_S = 5.0
SETTLE_S = 5.0
STREAMS = 100
"""Watches that share a connection."""


@dataclass(frozen=True)
class Measured:
    """The processes whose time is taken. target: of the replicas, as a channel takes it."""

    target: str
    replicas: Sequence[int]
    postmaster: int
    database_url: str

    def analyze(self) -> None:
        """Lets the database take its statistics anew."""
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ANALYZE")

    def cpu(self) -> float:
        """Seconds of processor time of the replicas so far."""
        return sum(map(cpu_seconds, self.replicas))

    def database(self) -> float:
        """The same of the database's processes."""
        return children_seconds(self.postmaster)

    def memory(self) -> list[int]:
        """MiB that each replica holds."""
        lines = (Path(f"/proc/{process}/status").read_text().splitlines() for process in self.replicas)
        return [int(line.split()[1]) // 1024 for status in lines for line in status if line.startswith("VmRSS:")]


async def measure(held: Sequence[TrainingJob], of: Measured, options: argparse.Namespace) -> dict[str, object]:
    """Latencies under the workers' heartbeats, then processor time for a heartbeat and for an acquire."""
    connection = channel(of.target)
    watching = [channel(of.target) for _ in range(-(-options.watchers // STREAMS))]
    stubs = [training_service_pb2_grpc.TrainingServiceStub(one) for one in watching]
    load = Load(worker_service_pb2_grpc.WorkerServiceStub(connection), held, room=ROOM if options.too_large else 0)
    cpu = of.cpu()
    await asyncio.sleep(IDLE_S)
    result: dict[str, object] = {"idle_cpu": round((of.cpu() - cpu) / IDLE_S, 3)}
    tasks = [asyncio.create_task(load.beat_forever(n, options.beat_every)) for n in range(len(held))]
    tasks += [asyncio.create_task(load.watch(stubs[n // STREAMS], n)) for n in range(options.watchers)]
    await asyncio.sleep(options.beat_every)
    # What the database does by itself once a minute: it has planned for tables that were empty.
    await asyncio.to_thread(of.analyze)
    await asyncio.sleep(SETTLE_S)
    await paced(load, of, options, result)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await at_full_speed(load, of, options.beats, len(held), result)
    if options.alone:
        await alone(load, of, options.alone, result)
    for one in (connection, *watching):
        await one.close(None)
    return result


async def paced(load: Load, of: Measured, options: argparse.Namespace, result: dict[str, object]) -> None:
    """Acquires one after the other beside heartbeats and watches."""
    load.beats.clear()
    load.seen = 0
    began, cpu, machine, memory = time.perf_counter(), of.cpu(), busy_seconds(), of.memory()
    while time.perf_counter() - began < options.seconds:
        if options.alone:
            await load.acquire()
        await asyncio.sleep(PAUSE)
    seconds, spent = time.perf_counter() - began, of.cpu() - cpu
    if options.alone:
        result["acquire_ms"] = quantiles(load.acquires)
    result |= {
        "acquires": len(load.acquires),
        "heartbeat_ms": quantiles(load.beats),
        "heartbeats_per_s": round(len(load.beats) / seconds, 1),
        "watched": load.seen,
        "replica_cpu": round(spent / seconds, 2),
        "paced_cpu_ms": round(spent / max(1, len(load.beats)) * 1e3, 2),
        "busy_cores": round((busy_seconds() - machine) / seconds, 2),
        "memory_mib": {"begin": memory, "end": of.memory()},
    }


async def at_full_speed(load: Load, of: Measured, beats: int, workers: int, result: dict[str, object]) -> None:
    """Heartbeats of clients that never pause."""
    clients = min(CLIENTS, workers)

    async def client(first: int, count: int) -> None:
        for number in range(count):
            await load.beat((first + number * clients) % workers)

    await asyncio.gather(*(client(number, WARM) for number in range(clients)))
    load.beats.clear()
    began, cpu, database = time.perf_counter(), of.cpu(), of.database()
    await asyncio.gather(*(client(number, -(-beats // clients)) for number in range(clients)))
    result["capacity"] = round(len(load.beats) / (time.perf_counter() - began), 1)
    result["heartbeat_cpu_ms"] = round((of.cpu() - cpu) / len(load.beats) * 1e3, 2)
    result["heartbeat_database_ms"] = round((of.database() - database) / len(load.beats) * 1e3, 2)


async def alone(load: Load, of: Measured, count: int, result: dict[str, object]) -> None:
    """Acquires when nothing else happens."""
    load.acquires.clear()
    cpu, database = of.cpu(), of.database()
    for _ in range(count):
        await load.acquire()
    result["acquire_alone_ms"] = quantiles(load.acquires)
    result["acquire_cpu_ms"] = round((of.cpu() - cpu) / count * 1e3, 2)
    result["acquire_database_ms"] = round((of.database() - database) / count * 1e3, 2)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99, in the unit of the values."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def cpu_seconds(process: int) -> float:
    """Processor time of a process so far, as its scheduler counts it: ticks are too coarse for a few hundred calls."""
    found = 0
    for task in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += int(task.read_text().split()[0])
    return found / 1e9


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
def replica(folder: Path, url: str, s3_port: int, nats_url: str) -> Iterator[tuple[int, str]]:
    """A trainer process: its id and host:port."""
    port_file = Path(tempfile.mkdtemp(dir=folder)) / "port"
    environment = {
        "TRAINER_DATABASE_URL": url,
        "TRAINER_S3_ENDPOINT": f"{servers.HOST}:{s3_port}",
        "TRAINER_S3_ACCESS_KEY": KEYS[0],
        "TRAINER_S3_SECRET_KEY": KEYS[1],
        "TRAINER_PORT_FILE": str(port_file),
        "TRAINER_LOG_LEVEL": "WARNING",
        **({"TRAINER_NATS_URL": nats_url} if nats_url else {}),
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
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--watchers", type=int, default=0)
    parser.add_argument("--nats", action="store_true", help="replicas tell each other of changes")
    parser.add_argument("--beats", type=int, default=3_000, help="heartbeats whose processor time is taken")
    parser.add_argument("--alone", type=int, default=200, help="acquires without other load; 0 for no acquires at all")
    options = parser.parse_args()
    most = int(options.seconds / PAUSE) + options.alone if options.alone else 0
    if min(options.waiting) < most:
        parser.error(f"{options.seconds:g} seconds may take {most} jobs: give --waiting at least that many")
    random.seed(0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fiveshot-bench-")))
        socket = stack.enter_context(running_postgres(durable=True))
        s3 = servers.seaweedfs(folder / "s3", access_key=KEYS[0], secret_key=KEYS[1])
        stack.enter_context(running(s3))
        nats_url = ""
        if options.nats:
            nats = servers.nats(folder / "nats", password=NATS_PASSWORD)
            stack.enter_context(running(nats))
            nats_url = f"nats://{event_accounts.SERVICES_USER}:{NATS_PASSWORD}@{servers.HOST}:{nats.ports['nats']}"
        for waiting in options.waiting:
            name = f"bench_{waiting}"
            with psycopg.connect(host=str(socket), user=USER, dbname="postgres", autocommit=True) as admin:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                backend = admin.info.backend_pid
                postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
            url = f"postgresql+psycopg://{USER}@/{name}?host={socket}"
            held = asyncio.run(seed(url, waiting, options))
            with ExitStack() as replicas:
                started = [
                    replicas.enter_context(replica(folder, url, s3.ports["s3"], nats_url))
                    for _ in range(options.replicas)
                ]
                of = Measured(",".join(target for _, target in started), [one for one, _ in started], postmaster, url)
                result = asyncio.run(measure(held, of, options))
            print(json.dumps({"waiting": waiting, "workers": options.workers, **result}), flush=True)


if __name__ == "__main__":
    main()
