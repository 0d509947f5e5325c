"""The GPU worker as a process: `python -m services.trainer.worker.app`, settings from `WORKER_…`.

It asks the trainer for a job, works on it, and asks again. On SIGTERM it gives the job back at the next step, so that
another worker goes on from the last finished epoch.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
from typing import NoReturn

import grpc

from services.chassis.disk import room
from services.chassis.logging import get_logger
from services.chassis.service import Service, run
from services.chassis.setting_loading import blaming
from services.trainer.recipe.catalogue import InvalidCatalogue, load_catalogue
from services.trainer.worker import metrics
from services.trainer.worker.settings import WorkerSettings

log = get_logger(__name__)
RUNNER = "services.trainer.worker.runner"
ENGINE = "services.trainer.worker.torch_engine"
PRETENDING = "services.trainer.worker.pretending"


def build(settings: WorkerSettings) -> Service:
    """A worker needs no server to be healthy: nobody calls it, and its job outlasts an outage of any of them. It needs
    room for the files of a job."""
    with blaming("catalogue", InvalidCatalogue):
        catalogue = load_catalogue(settings.catalogue)

    async def work() -> None:
        # torch and its libraries take seconds to import; the process answers its probes meanwhile.
        if settings.metrics_listen:
            await asyncio.to_thread(metrics.watch_gpus)
        runner = await asyncio.to_thread(importlib.import_module, RUNNER)
        module = await asyncio.to_thread(importlib.import_module, PRETENDING if settings.pretend else ENGINE)
        # What was imported stays, and would be searched for garbage at the end of every job.
        gc.freeze()
        await runner.Worker(settings, catalogue, engine=module.engine(settings)).run()
        log.info("idled_long_enough", seconds=settings.idle_exit_seconds)
        signal.raise_signal(signal.SIGTERM)

    scratch = room("scratch disk", settings.scratch_dir, settings.scratch_room_mib)
    return Service(register=_serves_nothing, needs=(scratch,), background=(work,))


def _serves_nothing(_server: grpc.aio.Server) -> None:
    """A worker answers only health and reflection, which the frame adds."""


def main() -> NoReturn:
    """The process."""
    run("worker", WorkerSettings, build)


if __name__ == "__main__":
    main()
