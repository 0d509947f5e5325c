"""A simulated worker as a process of its own, to be killed: `python -m tests.chaos.worker_process`.

Reads CHAOS_WORKER_TARGET, CHAOS_WORKER_ID and CHAOS_WORKER_S3_…; works until it is killed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from services.chassis.errors import Aborted, DeadlineExceeded, NotFound, Unavailable
from services.chassis.grpc_client import channel
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.chassis.setting_loading import load
from services.chassis.settings import BaseServiceSettings, service_config
from services.chassis.store_settings import S3Settings
from tests.fakes.simulated_worker import Held, SimulatedWorker
from tests.fixtures.patience import lasting, scaled

PATIENCE_S = scaled(60.0)
EPOCH_S = 0.15


class Settings(S3Settings, BaseServiceSettings):
    """Where the trainer and the object store are."""

    model_config = service_config("CHAOS_WORKER_")

    target: str
    id: str


async def work(worker: SimulatedWorker, held: Held) -> None:
    """One job; every call is repeated through outages, as the real worker does."""

    async def beat(step: int) -> None:
        await patiently(lambda: worker.heartbeat(held, step=step), what="trainer", patience_s=PATIENCE_S)

    await beat(held.steps_per_epoch * held.job.epochs_completed + 1)
    for number in range(held.job.epochs_completed + 1, held.job.parameters.num_epochs + 1):
        await lasting(EPOCH_S)
        report = await patiently(
            lambda number=number: worker.epoch_report(held, number),  # type: ignore[misc]
            what="object store",
            patience_s=PATIENCE_S,
        )
        await beat(number * held.steps_per_epoch)
        await patiently(lambda report=report: worker.report(report), what="trainer", patience_s=PATIENCE_S)  # type: ignore[misc]
    await patiently(lambda: worker.complete(held), what="trainer", patience_s=PATIENCE_S)


async def main() -> None:
    """Works on one job after the other."""
    settings = load(Settings)
    objects = ObjectStore(settings)
    worker = SimulatedWorker(channel(settings.target, settings), objects, settings.id)
    while True:
        # A lost lease is another worker's job now; an outage longer than patience is the reaper's.
        with suppress(Aborted, NotFound, Unavailable, DeadlineExceeded):
            held = await worker.acquire(wait_s=2.0)
            if held is not None:
                await work(worker, held)
        await lasting(0.05)


if __name__ == "__main__":
    asyncio.run(main())
