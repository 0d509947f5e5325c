"""Every process is replaced, one after the other, while clients call: no call fails, no watch misses a thing.

ROLL_SEED repeats an order; the seed is printed. `make roll` runs the long forms.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fiveshot.aio.client import AsyncClient
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as tr

from tests.chaos.callers import PARENT, PATHS, UNARY, Load, calling
from tests.chaos.fleet import LOADED, Fleet, Form, running_fleet
from tests.chaos.jobs import followed_jobs
from tests.chaos.replicas import Unit
from tests.chaos.subjects import prepare
from tests.fixtures.patience import lasting, until
from tests.fixtures.preloaded import Preloaded, preloaded

Job = training_job_pb2.TrainingJob
Attempt = training_job_pb2.Attempt
SEED = int(os.environ.get("ROLL_SEED", str(random.SystemRandom().randrange(10**6))))
# `make roll`: at least so many unary calls on every path, the chart's times, real training, and one after the other.
CALLS = int(os.environ.get("ROLL_CALLS", "0"))
FORM, CALLERS, LANES = Form(), 1, 4
if CALLS:
    FORM, CALLERS, LANES = Form(5.0, 0.0, gateway_notice_s=5, gateway_quiet_s=8, gateway_calls_s=20), 4, 1
# What the short form kills.
KILLED = ("dataset-1", "gateway-2")


@pytest.fixture(scope="module")
def origin() -> Iterator[Preloaded]:
    """The process that the fleet is forked from."""
    with preloaded(*LOADED) as process:
        yield process


@pytest.mark.timeout(3600)
async def test_no_call_fails_while_every_process_is_replaced(
    server_folder: Path, postgres_socket_dir: Path, origin: Preloaded
) -> None:
    print(f"ROLL_SEED={SEED} ROLL_CALLS={CALLS}")
    draw = random.Random(SEED)
    async with (
        running_fleet(server_folder / "roll", postgres_socket_dir, origin, FORM) as fleet,
        AsyncClient(fleet.server, api_key=fleet.key, project="roll") as client,
    ):
        await prepare(client)
        load, over, rounds = Load("roll"), asyncio.Event(), 0
        chains = [asyncio.create_task(followed_jobs(client, over)) for _ in range(2)]
        async with calling(fleet, load, CALLERS):
            while not rounds or min(load.counts[path] for path in UNARY) < CALLS:
                await _replace_all(fleet, client, draw)
                rounds += 1
        assert [str(failure) for failure in load.failures] == []
        assert set(load.counts) == set(PATHS)

        killed = Load("kill")
        async with calling(fleet, killed, CALLERS):
            times = await _kill(fleet, draw)
        _only_what_was_in_flight_failed(killed, times)

        over.set()
        followed = [each for chain in chains for each in await chain]
        attempts = Counter(outcome for outcomes, _ in followed for outcome in outcomes)
        print(f"{rounds} rounds: {dict(load.counts)}; {len(times)} killed: {dict(killed.counts)}")
        print(f"{len(killed.failures)} calls failed by kill -9; {len(followed)} jobs: {dict(attempts)}")
        assert attempts == {"SUCCEEDED": len(followed), "RELEASED": rounds}
        for _, sequences in followed:
            assert sequences == list(range(1, len(sequences) + 1))
        await _uploads_are_kept(client, load, killed)


async def _replace_all(fleet: Fleet, client: AsyncClient, draw: random.Random) -> None:
    """Replaces every unit once, in random order; of one kind never two at once. Several lanes make it shorter."""
    order = sorted(fleet.units)
    draw.shuffle(order)
    turns: dict[str, asyncio.Lock] = {}
    lanes = asyncio.Semaphore(LANES)

    async def replaced(unit: Unit) -> None:
        async with turns.setdefault(unit.kind, asyncio.Lock()), lanes:
            if unit.kind == "worker":
                # So that there is something to give back.
                await until(lambda: _trains(client), what="a job at work")
            await unit.stop()
            await unit.start()

    await asyncio.gather(*(replaced(fleet.units[name]) for name in order))


async def _trains(client: AsyncClient) -> bool:
    request = tr.ListTrainingJobsRequest(parent=PARENT, filter='state = "RUNNING"')
    return bool((await client.stubs.trainer.ListTrainingJobs(request)).training_jobs)


LOOKS_AGAIN_S = 1.5
"""More than the callers wait at most before they connect once more, a second and a fifth of it."""


async def _kill(fleet: Fleet, draw: random.Random) -> dict[str, tuple[float, float]]:
    """kill -9 of one replica after the other, started again each time; between which moments of the loop's clock each
    died."""
    chosen = [name for name, unit in fleet.units.items() if unit.kind != "worker"]
    if not CALLS:
        chosen = [name for name in chosen if name in KILLED]
    draw.shuffle(chosen)
    times, clock = {}, asyncio.get_running_loop().time
    for name in chosen:
        # Who has lost one gateway looks for it again after a while, and until then has the other alone.
        await lasting(draw.uniform(0.2, 0.6) + (LOOKS_AGAIN_S if name.startswith("gateway") else 0.0))
        began = clock()
        await fleet.units[name].kill()
        times[name] = began, clock()
        await lasting(draw.uniform(0.1, 0.4))
        await fleet.units[name].start()
    return times


def _only_what_was_in_flight_failed(load: Load, times: dict[str, tuple[float, float]]) -> None:
    for failure in load.failures:
        fatal = [name for name, (first, last) in times.items() if failure.began <= last and first <= failure.ended]
        assert fatal, f"nobody had died: {failure}"
        # A gateway that dies takes the call with it; what a service had of it is asked again.
        by_gateway = any(name.startswith("gateway") for name in fatal)
        assert by_gateway or not failure.reads, f"it could have been asked again: {failure}"


async def _uploads_are_kept(client: AsyncClient, load: Load, killed: Load) -> None:
    lost = sum(failure.path == "upload" for failure in killed.failures)
    for dataset, count in [*load.uploaded.items(), *killed.uploaded.items()]:
        found = (await client.stubs.dataset.GetDataset(ds.GetDatasetRequest(name=dataset))).image_count
        # The answer may be what was lost.
        assert count <= found <= count + (lost if dataset in killed.uploaded else 0)
